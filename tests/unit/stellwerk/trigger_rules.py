"""How a run goes through a DAG, by the trigger rules as Airflow's scheduler evaluates them."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter
from types import SimpleNamespace
from typing import Any, cast

from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.dep_context import DepContext
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep


def states(dag: DAG, ended: Mapping[str, str]) -> dict[str, str]:
    """The state of every task when a run is over.

    :param ended: how a task ends if it runs at all; one that is not named succeeds
    """
    scheduled: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    finished: list[Any] = []
    # How many of each there are is all that is asked of the database; a mapped task is one of it here.
    session: Any = SimpleNamespace(execute=lambda _: [(task.task_id, 1) for task in before])
    upstream = {task_id: task.upstream_task_ids for task_id, task in scheduled.task_dict.items()}
    for task in map(scheduled.get_task, TopologicalSorter(upstream).static_order()):
        before = task.upstream_list
        instance = _Instance(task, dag.dag_id)
        context = DepContext(flag_upstream_failed=True, finished_tis=cast(Any, finished))
        unmet = [
            status
            for status in TriggerRuleDep()._get_dep_statuses(cast(Any, instance), context, session=session)
            if not status.passed
        ]
        if instance.state is None:
            assert not unmet, f"{task.task_id} would wait for ever: {unmet[0].reason}"
            instance.state = ended.get(task.task_id, "success")
        finished.append(instance)
    return {instance.task_id: str(instance.state) for instance in finished}


class _Instance(SimpleNamespace):
    """What a trigger rule asks of a task instance."""

    def __init__(self, task: Any, dag_id: str) -> None:
        super().__init__(task=task, task_id=task.task_id, dag_id=dag_id, run_id="r1", map_index=-1, state=None)

    def get_dagrun(self, **_: Any) -> None:
        """Nobody asks it anything: the finished tasks are given."""

    def set_state(self, state: Any, **_: Any) -> bool:
        """What the rule itself says of a task that does not run."""
        self.state = state.value
        return True
