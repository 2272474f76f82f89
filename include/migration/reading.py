"""The files of a tree, read and rendered as SQL by one process; its env.py is not run, no database is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

from include.errors import TreeUnusable
from include.migration.process import Event, Runner, quiet_environment
from include.migration.tree import Inspection, Rendered, Step, Tree, inspection, rendered

SECONDS: Final = 120.0
"""How long the process may be silent."""


class TreeReader:
    """Reads one tree. What was read once is remembered, whatever becomes of the files: see :func:`reading`."""

    def __init__(self, tree: Tree, runner: Runner) -> None:
        self.tree: Final = tree
        self._runner = runner
        self._rendered: dict[tuple[Step, ...], tuple[Rendered, ...]] = {}

    @cached_property
    def inspection(self) -> Inspection:
        """What the tree's files say.

        :raises TreeUnusable: its Alembic cannot be run, or it has no revisions folder
        """
        return inspection(self._answers({"do": "inspect"})[-1])

    def render(self, plan: tuple[Step, ...]) -> tuple[Rendered, ...]:
        """The planned revisions as SQL, as far as that is possible without a database.

        :raises TreeUnusable: its Alembic cannot be run, or a revision is not in it
        """
        if plan and plan not in self._rendered:
            steps = [{"revision": step.revision, "up": step.up} for step in plan]
            self._rendered[plan] = rendered(self._answers({"do": "render", "plan": steps}))
        return self._rendered.get(plan, ())

    def _answers(self, request: Mapping[str, Any]) -> list[Event]:
        self._runner.ask(request)
        answers: list[Event] = []
        for event in self._runner.events(seconds=SECONDS):
            answers.append(event)
            if event["event"] in ("inspected", "rendered"):
                return answers
        code = self._runner.end()
        last = "\n".join(self._runner.tail)
        said = answers[-1].get("message") if answers else f"{last}\nexit code {code}"
        raise TreeUnusable(
            "the Alembic tree cannot be looked at",
            expected=f"Alembic in {' '.join(self.tree.interpreter)}, and revisions in {self.tree.folder}",
            seen=str(said or f"exit code {code}").strip()[-2000:],
        )


@contextmanager
def reading(tree: Tree) -> Iterator[TreeReader]:
    """A process that reads the tree until the context ends.

    Starting the application's Python is most of what a look at a tree takes, so that whatever belongs together
    shares one. A later task takes another one, and so sees what the files say then.

    :raises TreeUnusable: its Python does not start
    """
    runner = Runner(tree, quiet_environment())
    try:
        yield TreeReader(tree, runner)
    finally:
        runner.end()
