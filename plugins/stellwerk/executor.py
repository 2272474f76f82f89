"""A LocalExecutor that knows which of two reports about a task is the late one.

A task that defers or waits for a human leaves its worker and is put into the queue again when it is resumed,
under the same key. The report "the first part has ended" may arrive after that. Airflow's LocalExecutor hands
it on as it is, the scheduler sees a task that is reported finished but stands in the queue, and fails it.
Here a success is handed on only when nothing newer was started under the key (docs/adr/0002).
"""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow.executors.local_executor import LocalExecutor as AirflowLocalExecutor
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.executors.workloads import ExecutorWorkload

log = logging.getLogger(__name__)

PRELOADED = (
    "airflow.providers.cncf.kubernetes.hooks.kubernetes",
    "airflow.providers.slack.hooks.slack",
    "airflow.providers.smtp.hooks.smtp",
    "airflow.providers.standard.operators.hitl",
)
"""What takes tasks seconds to import: imported once, before the workers are forked, not in each task."""


class LocalExecutor(AirflowLocalExecutor):
    """Airflow's LocalExecutor, safe for tasks that are resumed at once."""

    _started: Counter[TaskInstanceKey]

    def start(self) -> None:
        """Import what tasks need, then fork the workers."""
        self._started = Counter()
        for module in PRELOADED:
            try:
                importlib.import_module(module)
            except ImportError:
                log.warning("Cannot import %s ahead of the tasks; a task that needs it will say why", module)
        super().start()

    def _process_workloads(self, workload_list: Sequence[ExecutorWorkload]) -> None:
        self._started.update(item.key for item in workload_list if isinstance(item.key, TaskInstanceKey))
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: Any = True) -> None:  # noqa: FBT002 - Airflow's signature
        """Take a worker's report, unless it tells the end of a part whose successor has been started."""
        if key in self._started:
            self._started[key] -= 1
            if self._started[key] <= 0:
                del self._started[key]
            elif state == TaskInstanceState.SUCCESS:
                log.info("Not handing on a late report of %s: its next part has been started", key)
                return
        super().change_state(key, state, info=info, remove_running=remove_running)
