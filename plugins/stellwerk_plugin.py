"""What Airflow's own processes have to know by name, and find as a plugin."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from stellwerk.deadline_reference import RunAsked


class StellwerkPlugin(AirflowPlugin):
    """Registers what a serialized DAG refers to."""

    name = "stellwerk"
    deadline_references = [RunAsked]  # noqa: RUF012 - as Airflow's base class declares it
