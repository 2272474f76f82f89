"""An Airflow connection becomes a client of ``include.clients`` or the ledger."""
