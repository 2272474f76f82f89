"""Who may import whom (DESIGN, architecture). Imports inside functions count, too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def sources(*folders: str, but: tuple[str, ...] = ()) -> list[Path]:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in files if not any(path.is_relative_to(ROOT / left) for left in but)]


def imports(text: str, package: str = "") -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a module imports; ``package`` is the one it lives in."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            # `from include import sandbox` names a module as much as `import include.sandbox` does.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and (name := _imported_by_call(node)):
            yield node.lineno, name


def _imported_by_call(call: ast.Call) -> str | None:
    function = call.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if called not in ("import_module", "__import__") or not call.args:
        return None
    name = call.args[0]
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def below(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offences(paths: list[Path], forbidden) -> list[str]:
    found = []
    for path in paths:
        place = path.relative_to(ROOT)
        package = ".".join(place.parts[:-1])
        for line, name in imports(path.read_text(), package):
            if forbidden(name):
                found.append(f"{place}:{line} imports {name}")
    return found


def test_the_domain_knows_neither_airflow_nor_its_plugins_nor_the_dags():
    assert offences(sources("include"), lambda name: below(name, "airflow", "stellwerk", "plugins", "dags")) == []


def test_nothing_in_the_product_imports_the_sandbox():
    files = sources("include", "plugins", "dags", but=("include/sandbox",))
    assert offences(files, lambda name: below(name, "include.sandbox", "tests")) == []


# Part of Airflow's core by nature: they stand beside the scheduler, never in a task.
CORE = (
    "plugins/stellwerk/executor.py",
    "plugins/stellwerk/deadline_reference.py",
    "plugins/stellwerk_plugin.py",
)


def test_plugins_import_no_dag_and_of_airflow_only_what_is_published():
    published = ("airflow.sdk", "airflow.providers", "airflow.triggers.base")
    private = offences(
        sources("plugins", but=CORE), lambda name: below(name, "airflow") and not below(name, *published)
    )
    assert private == []
    assert offences(sources("plugins"), lambda name: below(name, "dags", "tests")) == []


def test_dags_are_wiring_only():
    allowed = ("stellwerk", "include", "airflow.sdk", "airflow.providers", *sys.stdlib_module_names)
    assert offences(sources("dags"), lambda name: not below(name, *allowed)) == []


@pytest.mark.parametrize("layer", ["plan", "bluegreen", "slo"])
def test_decisions_are_pure(layer):
    """No clients, no clocks, no sockets: what they need is handed to them."""
    forbidden = (
        *("asyncio", "socket", "subprocess", "httpx", "time", "random", "threading", "kubernetes_asyncio"),
        *(f"include.{other}" for other in ("clients", "ledger", "messages", "report", "steps", "sandbox")),
    )
    assert offences(sources(f"include/{layer}"), lambda name: below(name, *forbidden)) == []


def test_lower_layers_do_not_know_the_upper_ones():
    order = ("plan", "bluegreen", "clients", "steps")
    for index, layer in enumerate(order):
        upper = tuple(f"include.{name}" for name in order[index + 1 :])
        assert offences(sources(f"include/{layer}"), lambda name, upper=upper: below(name, *upper)) == []


def test_there_is_something_to_look_at():
    for folder in ("include/plan", "include/bluegreen", "include/slo", "plugins/stellwerk", "dags"):
        assert sources(folder), folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b as c", ["a.b"]),
        ("from a import b, c", ["a.b", "a.c"]),
        ("def f():\n    from a.b import c", ["a.b.c"]),
        ("if TYPE_CHECKING:\n    import a", ["a"]),
        ("from . import sibling", ["include.plan.sibling"]),
        ("from ..sandbox import x", ["include.sandbox.x"]),
        ("importlib.import_module('a.b')", ["a.b"]),
        ("__import__('a')", ["a"]),
    ],
)
def test_every_way_to_import_is_seen(text, expected):
    assert [name for _, name in imports(text, "include.plan")] == expected
