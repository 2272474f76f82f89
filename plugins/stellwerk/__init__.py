"""Airflow adapters of Stellwerk: thin operators, sensors, triggers and hooks around the domain in ``include``."""
