"""Who is there for a release beside its gate, and what people look after: roles, contacts, checklists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from include.plan.prober import Text
from include.plan.rules import Misplaced, PlanModel
from include.plan.texts import MailAddress

RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
Users = Annotated[tuple[Text, ...], Field(min_length=1)]
ChecklistName = Literal[
    "preparation", "final-check", "standby", "go-no-go", "verification", "business-success", "compliance-success",
    "first-hour", "first-24-hours", "first-week", "at-once", "after-one-day", "after-one-week",
]  # fmt: skip


class Contact(PlanModel):
    """Somebody to call.

    :param phone: as it is dialled
    """

    name: Text
    role: str = ""
    phone: str = ""
    mail: MailAddress | None = None

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if not self.phone and self.mail is None:
            raise ValueError(f"{self.name} has neither phone nor mail: nobody could reach them")
        return self


class ChecklistItem(PlanModel):
    """One point of a checklist, and what settles it: exactly one of the three.

    :param text: in the words of the plan
    :param role: whose tick settles it
    :param rule: the rule of ``slo`` that judges it, for example ``criteria.error_rate``
    :param task: the task whose record is its evidence, ``<dag>.<task>``
    """

    text: Text
    role: RoleName | None = None
    rule: Text | None = None
    task: Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9_.]+$")] | None = None

    @model_validator(mode="after")
    def _settled_by_one(self) -> Self:
        if sum(by is not None for by in (self.role, self.rule, self.task)) != 1:
            raise ValueError("give exactly one of role, rule and task: who or what settles this point")
        return self


Checklists = Mapping[ChecklistName, Annotated[tuple[ChecklistItem, ...], Field(min_length=1)]]

NO_CHECKLISTS: Final[Checklists] = {}


def misplaced(checklists: Checklists, roles: frozenset[str], rules: frozenset[str]) -> Iterator[Misplaced]:
    """The points that name a role or a rule which does not exist, or a task that leaves no record."""
    for name, items in checklists.items():
        for index, item in enumerate(items):
            if item.role is not None and item.role not in roles:
                yield no_role(("checklists", name, index, "role"), item.role, roles)
            if item.rule is not None and item.rule not in rules:
                yield Misplaced(
                    ("checklists", name, index, "rule"),
                    f"there is no rule {item.rule!r}: slo has {', '.join(sorted(rules))}",
                )
            if item.task is not None and item.task not in TASKS:
                yield Misplaced(
                    ("checklists", name, index, "task"),
                    f"{item.task} leaves no record: take one of {', '.join(sorted(TASKS))}, or a role",
                )


TASKS: Final = frozenset(
    {
        "db-migration.rehearsal.verify_backup",
        "db-migration.rehearsal.rehearse",
        "db-migration.migration.verify_backup",
        "db-migration.migration.migrate",
        "db-migration.migration.verify",
        "db-migration.watch",
        "staging-deploy.complete_rehearsal",
        "production-blue-green.deploy_idle_slot",
        "production-blue-green.verify_idle_slot",
        "production-blue-green.cutover",
        "production-blue-green.watch",
        "production-blue-green.clean_up",
        "production-blue-green.final_verification",
        "production-blue-green.report",
    }
)
"""The tasks whose record can be the evidence of a point (:data:`include.gate.checklist.RECORDS`)."""


def asked_at_gate(checklists: Checklists, roles: frozenset[str]) -> Iterator[Misplaced]:
    """The points of the Go/No-Go whose role is not asked there: nobody could tick them.

    :param roles: of the gate
    """
    for index, item in enumerate(checklists.get("go-no-go", ())):
        if item.role is not None and item.role not in roles:
            yield Misplaced(
                ("checklists", "go-no-go", index, "role"),
                f"{item.role} is not asked at the gate: gate.roles has {', '.join(sorted(roles))}; name one of "
                "them, or move the point to another checklist",
            )


def no_role(place: tuple[str | int, ...], role: str, roles: frozenset[str]) -> Misplaced:
    """What is wrong where a role is named that nobody has."""
    return Misplaced(
        place, f"there is no role {role!r}: gate.roles and people have {', '.join(sorted(roles))}; add who has it"
    )
