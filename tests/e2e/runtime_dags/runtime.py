"""The DAGs of the runtime's own tests."""

from __future__ import annotations

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, task

with DAG("runtime-trivial", schedule=None):

    @task
    def hello() -> dict[str, str]:
        """Tell where the modules that share a name with one of ours come from."""
        import importlib
        import sys

        import include.errors
        import stellwerk

        names = ("kubernetes", "helm", "ledger", "watch", "gates", "transport")
        real = {name: sys.modules[name].__file__ or "" for name in names if name in sys.modules}
        real["kubernetes"] = importlib.import_module("kubernetes").__file__ or ""
        real["stellwerk"], real["include"] = stellwerk.__file__ or "", include.errors.__file__
        return real

    hello()

with DAG("runtime-long", schedule=None):

    @task
    def sleep() -> None:
        """Run until somebody ends it, with a child of its own."""
        import subprocess

        subprocess.run(["/bin/sleep", "3600"], check=False)

    sleep()

with DAG("runtime-question", schedule=None):
    HITLOperator(
        task_id="ask",
        subject="Go?",
        options=["Go", "No-Go"],
        assigned_users=[{"id": "technical-lead", "name": "technical-lead"}],
    )
