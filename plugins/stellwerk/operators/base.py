"""What all of Stellwerk's operators share: the release run, the clients, errors that Airflow understands, kill."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.errors import HelmUnusable, MetricsError, StellwerkError
from stellwerk.runs import release_run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.clients.helm import Helm
    from include.clients.kubernetes import Cluster
    from include.clients.prometheus import Prometheus
    from include.ledger.store import Ledger
    from include.steps.run import ReleaseRun
    from include.watch.window import Watched

T = TypeVar("T")


@contextmanager
def airflow_errors(log: logging.Logger | Any) -> Iterator[None]:
    """Turn the domain's errors into Airflow's: retryable ones may be retried, the others fail the task at once."""
    try:
        yield
    except StellwerkError as error:
        log.error("%s: %s", type(error).__name__, error)  # noqa: TRY400 - Airflow logs the traceback
        kind = AirflowException if error.retryable else AirflowFailException
        raise kind(f"{type(error).__name__}: {error}") from error


class StellwerkOperator(BaseOperator):
    """A step of a release.

    ``execute`` binds the run's parameters to the plan, then calls :meth:`act`. A step observes first, does only
    what is missing and proves the result, so it may be retried or cleared at any time.
    """

    #: whether the step needs the digest of the release's image
    needs_digest: ClassVar[bool] = True
    #: whether a plan whose file is broken by now does as it was when it was last read whole
    despite_faults: ClassVar[bool] = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._cancel: Callable[[], object] | None = None
        self._ledger: Ledger | None = None

    def execute(self, context: Context) -> Any:
        """Run the step; the result is a small, printable summary for XCom."""
        with airflow_errors(self.log):
            run = release_run(context, with_digest=self.needs_digest, despite_faults=self.despite_faults)
            self.log.info("%s", run.describe())
            result = self.act(run)
            self.note_ledger_head()
            return result

    @abstractmethod
    def act(self, run: ReleaseRun) -> Any:
        """Do the step."""

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; :meth:`on_kill` cancels it, so that it can end its own child processes.

        Before and after, a kill finds nothing to cancel: what the step does then, it may be in the middle of.
        """

        async def cancellable() -> T:
            task = asyncio.ensure_future(coroutine)
            loop = asyncio.get_running_loop()
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            try:
                return await task
            finally:
                self._cancel = None

        return asyncio.run(cancellable())

    def on_kill(self) -> None:
        """End the step's own work (a running helm gets SIGTERM and leaves a clean ``failed`` revision)."""
        if self._cancel is not None:
            self._cancel()

    def with_cluster(self, run: ReleaseRun, step: Callable[[ReleaseRun, Cluster], Coroutine[Any, Any, T]]) -> T:
        """Run ``step`` with a client of the namespace, and with the run as the traffic Service binds it."""
        from include.steps.legacy import bound
        from stellwerk.hooks.kubernetes import ClusterHook

        hook = ClusterHook.read(run.environment.connections.kubernetes)

        async def call() -> T:
            async with hook.cluster(run.environment.namespace) as cluster:
                return await step(await bound(run, cluster), cluster)

        return self.wait_for(call())

    def with_metrics(
        self, run: ReleaseRun, step: Callable[[ReleaseRun, Cluster, Prometheus | None], Coroutine[Any, Any, T]]
    ) -> T:
        """Run ``step`` as :meth:`with_cluster` does, with the Prometheus that rules read where it is to be had.

        A baseline is evidence and no condition.
        """
        from stellwerk.hooks.prometheus import PrometheusHook

        hook: PrometheusHook | None = None
        try:
            hook = PrometheusHook.needed(run.environment)
        except MetricsError as error:
            self.log.warning("the watch will have no baseline of Prometheus: %s", error)

        async def call(run: ReleaseRun, cluster: Cluster) -> T:
            async with AsyncExitStack() as stack:
                prometheus = None
                try:
                    prometheus = await stack.enter_async_context(hook.client()) if hook else None
                except MetricsError as error:
                    self.log.warning("the watch will have no baseline of Prometheus: %s", error)
                return await step(run, cluster, prometheus)

        return self.with_cluster(run, call)

    def with_watched_cluster(self, config: Watched, step: Callable[[Cluster], Coroutine[Any, Any, T]]) -> T:
        """Run ``step`` with a client for a watch: all it needs is in the configuration."""
        from stellwerk.hooks.kubernetes import ClusterHook

        hook = ClusterHook.read(config.connection)

        async def call() -> T:
            async with hook.cluster(config.namespace) as cluster:
                return await step(cluster)

        return self.wait_for(call())

    def with_helm(self, run: ReleaseRun, step: Callable[[ReleaseRun, Cluster, Helm], Coroutine[Any, Any, T]]) -> T:
        """Run ``step`` as :meth:`with_cluster` does, with a helm that acts in the same namespace."""
        from stellwerk.hooks.helm import open_helm
        from stellwerk.hooks.kubernetes import ClusterHook

        hook = ClusterHook.read(run.environment.connections.kubernetes)
        with open_helm(hook, run.environment.namespace) as helm:
            return self.with_cluster(run, lambda run, cluster: step(run, cluster, helm))

    def with_helm_if_any(
        self, run: ReleaseRun, step: Callable[[ReleaseRun, Cluster, Helm | None], Coroutine[Any, Any, T]]
    ) -> T:
        """Run ``step`` with helm; without one on a worker that has none: not every step needs it."""
        try:
            return self.with_helm(run, step)
        except HelmUnusable as error:
            self.log.warning("%s", error)
            return self.with_cluster(run, lambda run, cluster: step(run, cluster, None))

    def ledger(self, run: ReleaseRun) -> Ledger:
        """Open the ledger of the environment."""
        from stellwerk.hooks.ledger import open_ledger

        self._ledger = open_ledger(run.environment.connections.ledger)
        return self._ledger

    def note_ledger_head(self) -> None:
        """Note the head of the ledger that this step wrote to, outside of it."""
        from stellwerk.hooks.ledger import note_head_outside

        if self._ledger is not None:
            note_head_outside(self._ledger)
