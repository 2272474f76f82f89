"""From a folder of YAML files to a plan: ``releases/*.yaml``, ``environments/*.yaml``, the chart beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from include.errors import InvalidPlan, PlanError, UnknownEnvironment, UnknownRelease
from include.plan.checks import conflicts
from include.plan.files import plan_folder
from include.plan.models import FROM_FILE, Environment, PlanModel, Release
from include.plan.remedies import words
from include.plan.rules import Misplaced
from include.plan.source import Source

__all__ = ["Plan", "conflicts_of", "load_plan", "plan_folder"]

Model = TypeVar("Model", bound=PlanModel)


@dataclass(frozen=True)
class Plan:
    """The releases by version, the environments by name, and what is wrong with the files that are neither.

    One broken file makes its own release unusable and no other.
    """

    folder: Path
    releases: Mapping[str, Release]
    environments: Mapping[str, Environment]
    problems: tuple[InvalidPlan, ...] = ()

    def release(self, version: str) -> Release:
        """The release of this version.

        :raises InvalidPlan: its file is broken
        :raises UnknownRelease: there is none
        """
        if version in self.releases:
            return self.releases[version]
        raise self._absent(UnknownRelease, "releases", version, self.releases)

    def environment(self, name: str) -> Environment:
        """The environment of this name.

        :raises InvalidPlan: its file is broken
        :raises UnknownEnvironment: there is none
        """
        if name in self.environments:
            return self.environments[name]
        raise self._absent(UnknownEnvironment, "environments", name, self.environments)

    def chart(self, environment: Environment) -> Path:
        """The folder of the environment's chart.

        :raises InvalidPlan: it holds no chart
        """
        folder = self.folder / environment.chart  # an absolute path stays as it is
        if not (folder / "Chart.yaml").is_file():
            raise InvalidPlan(
                f"environment {environment.name}: {folder} is not a Helm chart",
                expected="a folder with a Chart.yaml",
                seen="no Chart.yaml" if folder.is_dir() else "no such folder",
                remedy=f"correct `chart` in {self.folder / 'environments' / environment.name}.yaml",
            )
        return folder

    def _absent(self, kind: type[PlanError], folder: str, name: str, known: Mapping[str, object]) -> PlanError:
        file = self.folder / folder / f"{name}.yaml"
        for problem in self.problems:
            if problem.what.startswith(f"{file}:"):
                return problem
        broken = f" ({len(self.problems)} file(s) of the plan are broken)" if self.problems else ""
        return kind(
            f"{folder.removesuffix('s')} {name!r} is not in the plan",
            expected=f"one of {', '.join(sorted(known))}" if known else f"a file in {self.folder / folder}",
            seen=f"no {file}{broken}",
            remedy=f"name one that exists, or write {file}",
        )


def load_plan(folder: Path) -> Plan:
    """Read every release and environment below ``folder``.

    Broken files are collected in :attr:`Plan.problems`; asking for what they describe raises what is wrong.

    :raises InvalidPlan: ``folder`` has neither releases nor environments
    """
    missing = [name for name in ("releases", "environments") if not (folder / name).is_dir()]
    if missing:
        raise InvalidPlan(
            f"{folder} is not a plan",
            expected="a folder with releases/ and environments/",
            seen=f"no {' and no '.join(missing)}",
            remedy="set STELLWERK_PLAN to the plan's folder, or unset it to use the one that ships",
        )
    problems: list[InvalidPlan] = []
    releases = _load(folder / "releases", Release, "version", problems)
    environments = _load(folder / "environments", Environment, "name", problems)
    return Plan(folder, releases, environments, tuple(problems))


def conflicts_of(
    plan: Plan, now: datetime, begun: frozenset[str] | None = None
) -> dict[str, tuple[InvalidPlan, ...]]:
    """Version to what does not fit together with the plan's other files (:mod:`include.plan.checks`).

    :param now: aware
    :param begun: the releases of which a phase has begun; None when nobody can say
    """
    found: dict[str, tuple[InvalidPlan, ...]] = {}
    for conflict in conflicts(plan.releases, plan.environments, now, begun):
        source = Source(plan.folder / "releases" / f"{conflict.release}.yaml")
        name = ".".join(str(step) for step in conflict.place)
        problem = source.problem(source.line(conflict.place), f"{name}: {conflict.why}")
        found[conflict.release] = (*found.get(conflict.release, ()), problem)
    return found


def _load(folder: Path, model: type[Model], key: str, problems: list[InvalidPlan]) -> dict[str, Model]:
    loaded: dict[str, Model] = {}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            source = Source(path)
            item = _validated(source, model)
            name = getattr(item, key)
            if name != path.stem or path.suffix != ".yaml":
                raise source.problem(source.line([key]), _misnamed(key, name, folder))
        except InvalidPlan as problem:
            problems.append(problem)
        else:
            loaded[name] = item
    return loaded


def _misnamed(key: str, name: str, folder: Path) -> str:
    why = f"{key} is {name!r}: the file has to be called {name}.yaml"
    taken = (folder / f"{name}.yaml").is_file()
    return f"{why}, and there is one already: each {key} is described once" if taken else why


def _validated(source: Source, model: type[Model]) -> Model:
    # As JSON, strictly: "3" is no number, yes is no 1, and a list is still a tuple.
    try:
        content = json.dumps(source.content, allow_nan=False)
    except ValueError:
        raise source.problem(1, "a number in it is too large, or is none") from None
    try:
        return model.model_validate_json(content, strict=True, context=FROM_FILE)
    except ValidationError as error:
        lines = []
        for detail in error.errors(include_url=False, include_input=False):
            cause = detail.get("ctx", {}).get("error")
            below = cause.place if isinstance(cause, Misplaced) else ()
            place = [step for step in (*detail["loc"], *below) if step != "[key]"]
            name = ".".join(str(step) for step in place)
            why = words(model, detail["type"], detail["msg"], place)
            lines.append((source.line(place), f"{name}: {why}" if name else why))
        lines.sort()
        rest = "".join(f"; line {line}: {why}" for line, why in lines[1:])
        raise source.problem(lines[0][0], lines[0][1] + rest) from error
