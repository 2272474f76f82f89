"""The Airflow provider's KubernetesJobOperator runs jobs on the cluster, waiting and deferred."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.support import IMAGE, Kubectl

SCRIPT = Path(__file__).with_name("run_job_operator.py")


def run_job(kubectl: Kubectl, home: Path, mode: str, code: int) -> tuple[dict[str, str], str]:
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubectl.kubeconfig)}}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_CLUSTER": json.dumps(connection),
    }
    argv = [sys.executable, str(SCRIPT), kubectl.namespace, IMAGE, mode, "a word from the job", str(code)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcome, done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["sync", "deferrable"])
def test_a_job_succeeds(kubectl: Kubectl, tmp_path: Path, mode: str) -> None:
    outcome, output = run_job(kubectl, tmp_path, mode, 0)
    assert outcome["outcome"] == "succeeded", output
    assert "a word from the job" in output, "the operator shows the job's log"
    conditions = kubectl.get("job", outcome["job"])["status"]["conditions"]
    assert any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)


@pytest.mark.parametrize("mode", ["sync", "deferrable"])
def test_a_failed_job_fails_the_task(kubectl: Kubectl, tmp_path: Path, mode: str) -> None:
    outcome, output = run_job(kubectl, tmp_path, mode, 3)
    assert "failed" in outcome["outcome"], output
    assert outcome["outcome"].startswith("AirflowException"), output
