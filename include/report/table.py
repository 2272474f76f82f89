"""Evidence as tables for the terminal."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from include.report.evidence import Evidence, Measure, Value


def tables(evidence: Sequence[Evidence]) -> str:
    """One table for each evidence, its verdict in the heading; without colours when NO_COLOR is set."""
    out = io.StringIO()
    console = Console(file=out, width=120, no_color=True, force_terminal=False, highlight=False)
    if "FORCE_COLOR" in os.environ and "NO_COLOR" not in os.environ:
        console = Console(file=out, width=120, force_terminal=True, highlight=False)
    for each in evidence:
        console.print(_heading(each))
        console.print(_table(each))
    return out.getvalue().rstrip()


def _heading(evidence: Evidence) -> Text:
    verdict = Text("ok", style="bold green") if evidence.ok else Text("MISSED", style="bold red")
    machine = evidence.machine
    where = f"{machine.cpus} CPUs, {machine.memory_bytes / 2**30:.1f} GiB, Linux {machine.kernel}"
    when = f"{evidence.taken_at:%Y-%m-%d %H:%M} UTC, commit {_short(evidence.commit)}, {where}"
    return Text.assemble((evidence.name, "bold"), ": ", verdict, f"  ({when})")


def _table(evidence: Evidence) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for column in ("measure", "value", "unit", "goal", "", "reference", "n"):
        table.add_column(column, justify="right" if column in ("value", "n") else "left", overflow="fold")
    for measure in evidence.measures:
        reference = measure.reference
        table.add_row(
            Text(measure.name),
            Text(_figure(measure.value)),
            Text(measure.unit),
            Text(f"{measure.comparator} {_figure(measure.goal)}" if measure.comparator else ""),
            _verdict(measure),
            Text(f"{reference.name}: {_figure(reference.value)}" if reference else ""),
            Text(str(len(measure.samples)) if measure.samples else ""),
        )
    return table


def _verdict(measure: Measure) -> Text:
    if measure.comparator is None:
        return Text("")
    return Text("ok", style="green") if measure.ok else Text("MISSED", style="bold red")


def _figure(value: Value) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return f"{value:,.0f}" if isinstance(value, float) else (f"{value:,}" if isinstance(value, int) else value)


def _short(commit: str) -> str:
    name, plus, changes = commit.partition("+")
    return f"{name[:10]}{plus}{changes}"
