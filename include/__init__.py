"""The domain of Stellwerk: plans, decisions, clients and the ledger. Imports neither Airflow nor its plugins."""
