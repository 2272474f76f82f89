"""All that is wrong with a plan, in one list: broken files, files that do not fit together, missing charts."""

from __future__ import annotations

from datetime import datetime

from include.errors import InvalidPlan
from include.plan.loader import Plan, conflicts_of


def faults(plan: Plan, now: datetime) -> tuple[InvalidPlan, ...]:
    """What has to be corrected, each with file, line and remedy; empty for a plan that is whole.

    :param now: aware
    """
    found = [*plan.problems]
    for problems in conflicts_of(plan, now).values():
        found += problems
    for environment in plan.environments.values():
        try:
            plan.chart(environment)
        except InvalidPlan as problem:
            found.append(problem)
    return tuple(found)


def refuse_faults(plan: Plan, now: datetime) -> None:
    """Let a whole plan pass.

    :param now: aware
    :raises InvalidPlan: one error with everything that is wrong
    """
    found = faults(plan, now)
    if found:
        raise InvalidPlan(
            f"the plan in {plan.folder} has {len(found)} fault(s):\n" + "\n".join(f"  {one}" for one in found),
            remedy="`make validate` shows the same; the other releases are not affected",
        )
