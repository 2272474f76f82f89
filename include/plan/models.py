"""What a plan consists of: releases and environments, as frozen models of their YAML files.

Units are in the names (``_seconds``, ``_bytes``, ``_ratio`` between 0 and 1). Connection fields are ids of Airflow
connections, never credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from include.plan.accounts import doubtful, mistakable
from include.plan.database import DatabasePlan
from include.plan.deadlines import MessageDeadlines, PostMortem
from include.plan.gate import Gate
from include.plan.legacy import Legacy
from include.plan.people import (
    NO_CHECKLISTS,
    Checklists,
    Contact,
    RoleName,
    Users,
    asked_at_gate,
    misplaced,
    no_role,
)
from include.plan.prober import Prober, SmokeCheck, Text, UrlPath, distinct
from include.plan.quorum import most_people
from include.plan.release import ImageRef, Release
from include.plan.rules import Criteria, Misplaced, PlanModel, Ratio, Seconds, SloRules, Triggers, Watch
from include.plan.slots import SLOTS, Slot
from include.plan.staging import Acceptance, LoadTest, UrlCheck
from include.plan.texts import Channel, MailAddress, Name, Url
from include.plan.timeline import EnvironmentName

__all__ = [
    "FROM_FILE", "SLOTS", "Connections", "Criteria", "DatabasePlan", "Environment", "Gate", "ImageRef", "Legacy",
    "MessageDeadlines", "Messages", "PlanModel", "PostMortem", "Prober", "Ratio", "Release", "Seconds", "SloRules",
    "Slot", "SmokeCheck", "Traffic", "Triggers", "Watch",
]  # fmt: skip

# The validation context of what users wrote, as opposed to what Stellwerk observed and passes on.
FROM_FILE: Final = "a file of the plan"


class Connections(PlanModel):
    """Ids of the Airflow connections an environment uses.

    :param registry: the registry of the release's image; its tag is then resolved to a digest by the preflight
    :param prometheus: the Prometheus that scrapes the application; needed where a rule reads from it
    """

    kubernetes: Text
    ledger: Text
    slack: Text
    smtp: Text
    registry: Text | None = None
    prometheus: Text | None = None


class Traffic(PlanModel):
    """How users reach the application.

    :param service: the traffic Service; it belongs to no Helm release
    :param preview_service: the Service that points at the idle slot
    :param port: name of the Service port that serves users
    :param selector: the part of the Services' selector that never changes
    :param slot_label: the label that tells the slots apart
    :param legacy: the slot that is an adopted installation; bound from the Service, never written in a file
    :param health_paths: paths that are no traffic and count in no rate
    """

    service: Name
    preview_service: Name
    port: Name = "http"
    selector: Mapping[str, str]
    slot_label: Text = "version"
    public_url: Url
    preview_url: Url
    health_paths: tuple[UrlPath, ...] = ("/healthz", "/readyz", "/metrics")
    metrics_path: UrlPath = "/metrics"
    legacy: SkipJsonSchema[Legacy | None] = None

    @field_validator("legacy")
    @classmethod
    def _observed(cls, value: Legacy | None, info: ValidationInfo) -> Legacy | None:
        if value is not None and info.context == FROM_FILE:
            raise ValueError("an adopted installation is observed in the cluster, never planned: remove it")
        return value

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.service == self.preview_service:
            raise ValueError(
                f"service and preview_service are both {self.service!r}: users would see the idle slot"
            )
        if not self.selector:
            raise ValueError("selector is empty: without a constant part it would match every application's pods")
        if self.slot_label in self.selector:
            raise ValueError(f"selector must not contain the slot label {self.slot_label!r}: a cutover sets it")
        return self

    def selector_for(self, slot: Slot) -> dict[str, str]:
        """The whole selector that sends traffic to ``slot``."""
        if self.legacy and self.legacy.slot == slot:
            return dict(self.legacy.selector)
        return {**self.selector, self.slot_label: slot}


class Messages(PlanModel):
    """Where an environment's messages go.

    :param escalation: who gets a mail when Slack did not take an alert in time; the stakeholders where it is empty
    :param audiences: who the mails of a release go to, by name
    :param support: whom users turn to
    """

    status_channel: Channel
    alerts_channel: Channel
    mail_from: MailAddress
    stakeholders: tuple[MailAddress, ...]
    escalation: tuple[MailAddress, ...] = ()
    audiences: Mapping[Text, Annotated[tuple[MailAddress, ...], Field(min_length=1)]] = Field(default_factory=dict)
    support: tuple[Contact, ...] = ()
    deadlines: MessageDeadlines = MessageDeadlines()
    post_mortem: PostMortem = PostMortem()


class Environment(PlanModel):
    """Where releases go: namespace, chart, Services, rules, roles and channels of one environment.

    :param chart: folder of the Helm chart, absolute or relative to the plan's folder
    :param values: Helm values of both slots
    :param slots: Helm values of single slots, laid over ``values``
    :param helm_release: stem of the Helm releases' names; a slot's is ``<stem>-<slot>``
    :param replicas: pods that have to be ready before a slot may take traffic
    :param prober: how closely the public URL is observed while the traffic moves, by the first smoke check
    :param drain: what happens to connections that stay open on the slot that was left
    :param cleanup: what happens to that slot once the watch has passed
    :param chart_accept: rule or object (``hook``, ``Job/erp-migrate``) to the reason why preflight's finding is
        only a warning here
    :param database: the application's database; None where Stellwerk leaves it alone
    :param urls: further addresses of the application that a deployment verifies, by name
    :param load: the load test of a rehearsal; None where there is none
    :param uat: what key users test in a rehearsal
    :param people: who has a role beside those of the gate, for example the key users
    :param accounts: person → the id under which Airflow's auth manager knows them, where that is not their name
    :param contacts: whom to call in an emergency
    :param checklists: what is looked after, and who or what settles each point
    :param sign_off: the roles that sign a release off
    """

    name: EnvironmentName
    application: Name
    namespace: Name
    chart: Text
    values: Mapping[str, Any] = Field(default_factory=dict)
    slots: Mapping[Slot, Mapping[str, Any]] = Field(default_factory=dict)
    # "-green" and helm's own limit of 53 characters leave 47 for the stem.
    helm_release: Annotated[Name, Field(max_length=47)]
    connections: Connections
    traffic: Traffic
    replicas: Annotated[int, Field(ge=1)] = 3
    deploy_timeout_seconds: Seconds = 600.0
    smoke: tuple[SmokeCheck, ...]
    slo: SloRules = SloRules()
    watch: Watch = Watch()
    prober: Prober = Prober()
    gate: Gate
    messages: Messages
    drain: Literal["restart", "leave"] = "restart"
    cleanup: Literal["scale-to-zero", "uninstall"] = "scale-to-zero"
    chart_accept: Mapping[str, Text] = Field(default_factory=dict)
    database: DatabasePlan | None = None
    urls: Mapping[Text, UrlCheck] = Field(default_factory=dict)
    load: LoadTest | None = None
    uat: Acceptance | None = None
    people: Mapping[RoleName, Users] = Field(default_factory=dict)
    accounts: Mapping[Text, Text] = Field(default_factory=dict)
    contacts: tuple[Contact, ...] = ()
    checklists: Checklists = NO_CHECKLISTS
    sign_off: tuple[RoleName, ...] = ()

    @field_validator("smoke")
    @classmethod
    def _some_with_distinct_names(cls, value: tuple[SmokeCheck, ...]) -> tuple[SmokeCheck, ...]:
        if not value:
            raise ValueError("there is no smoke check: a slot without any would count as verified")
        return distinct(value, "smoke checks")

    @model_validator(mode="after")
    def _prometheus_is_named(self) -> Self:
        if "prometheus" in self.slo.sources and self.connections.prometheus is None:
            raise ValueError("slo reads from prometheus and connections.prometheus names no connection: add it")
        return self

    @model_validator(mode="after")
    def _watch_can_judge(self) -> Self:
        watch, criteria = self.watch, self.slo.criteria
        if (criteria.sse_connections or criteria.sse_reconnect_ratio) and watch.seconds <= watch.sse_grace_seconds:
            raise ValueError(
                f"watch.seconds ({watch.seconds:g}) ends within watch.sse_grace_seconds "
                f"({watch.sse_grace_seconds:g}): event streams would never be judged and no watch could pass"
            )
        if criteria.memory_growth_ratio and watch.seconds < 20 * watch.poll_seconds:
            raise ValueError("memory_growth_ratio needs a watch of at least 20 polls: no trend could be seen")
        return self

    @model_validator(mode="after")
    def _migrations_can_be_decided(self) -> Self:
        if self.database is None:
            return self
        if unknown := sorted(set(self.database.gate_roles) - set(self.gate.roles)):
            raise Misplaced(
                ("database", "gate_roles"), f"names {', '.join(unknown)}, which is no role of gate.roles"
            )
        self.gate.only(self.database.gate_roles)
        if self.database.watch_seconds < self.watch.window_seconds:
            raise ValueError(
                f"database.watch_seconds ({self.database.watch_seconds:g}) is shorter than watch.window_seconds "
                f"({self.watch.window_seconds:g}): a watch has to last at least one window"
            )
        return self

    @model_validator(mode="after")
    def _roles_exist(self, info: ValidationInfo) -> Self:
        if info.context != FROM_FILE:
            return self  # a watch that is under way must not end because of a checklist
        if twice := sorted(set(self.people) & set(self.gate.roles)):
            raise Misplaced(("people", twice[0]), f"{twice[0]} is a role of the gate: name its users there")
        roles_of_all = self.roles
        roles = frozenset(roles_of_all)
        rules = frozenset(name for name, _ in self.slo.named())
        for index, role in enumerate(self.sign_off):
            if role not in roles:
                raise no_role(("sign_off", index), role, roles)
        signers = most_people({role: roles_of_all[role] for role in self.sign_off})
        if self.sign_off and signers < self.gate.quorum:
            raise Misplaced(
                ("sign_off",),
                f"{signers} distinct user(s) could sign, one for each role, and quorum is {self.gate.quorum}: "
                "nobody signs a release off alone",
            )
        for wrong in mistakable({"gate.roles": self.gate.roles, "people": self.people}):
            raise wrong
        for wrong in misplaced(self.checklists, roles, rules):
            raise wrong
        for wrong in asked_at_gate(self.checklists, frozenset(self.gate.roles)):
            raise wrong
        for wrong in doubtful(self.accounts, self.everybody):
            raise wrong
        return self

    @model_validator(mode="after")
    def _only_staging_is_rehearsed_in(self) -> Self:
        if self.name == "staging":
            return self
        if self.gate.automatic is not None:
            raise Misplaced(("gate", "automatic"), f"{self.name} is never changed without people: remove it")
        for name in ("load", "uat"):
            if getattr(self, name) is not None:
                raise Misplaced(
                    (name,), f"{self.name} is where users work: staging is tested instead, move it there"
                )
        return self

    @model_validator(mode="after")
    def _key_users_exist(self, info: ValidationInfo) -> Self:
        if info.context == FROM_FILE and self.uat is not None and self.uat.role not in self.roles:
            raise no_role(("uat", "role"), self.uat.role, frozenset(self.roles))
        if info.context == FROM_FILE and self.uat is not None:
            known = self.roles[self.uat.role]
            for index, case in enumerate(self.uat.cases):
                if strangers := sorted(set(case.users) - set(known)):
                    place = ("uat", "cases", index, "users")
                    raise Misplaced(place, f"{strangers[0]} is no {self.uat.role}: that are {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _autoscaler_reaches_size(self) -> Self:
        for place, values in (("values", self.values), *((f"slots.{slot}", v) for slot, v in self.slots.items())):
            scaling = values.get("autoscaling")
            largest = scaling.get("maxReplicas") if isinstance(scaling, Mapping) else None
            if isinstance(largest, int) and largest < self.replicas:
                raise ValueError(
                    f"{place}.autoscaling.maxReplicas is {largest} and replicas is {self.replicas}: "
                    "no slot could ever be large enough to take the traffic"
                )
        return self

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """Every role with its users: those of the gate and the others."""
        return {**self.gate.roles, **self.people}

    @property
    def everybody(self) -> frozenset[str]:
        """Everybody who has a role."""
        return frozenset(user for users in self.roles.values() for user in users)

    @property
    def probes(self) -> tuple[SmokeCheck, ...]:
        """What the prober asks in every round of the watch."""
        return self.prober.checks or self.smoke

    def slot_release(self, slot: Slot) -> str:
        """Name of the Helm release (and of the Deployment) of ``slot``; an adopted slot has only a Deployment."""
        legacy = self.traffic.legacy
        if legacy and legacy.slot == slot:
            return legacy.deployment
        return f"{self.helm_release}-{slot}"

    def without_lists(self) -> Environment:
        """This environment without what only people read: a watch carries it through Airflow's database."""
        read: dict[str, Any] = {
            "urls": {},
            "load": None,
            "uat": None,
            "people": {},
            "contacts": (),
            "checklists": {},
            "sign_off": (),
        }
        return self.model_copy(update=read)

    def adopting(self, legacy: Legacy | None) -> Environment:
        """This environment with ``legacy`` as one of its slots; None for two slots of its own."""
        return self.model_copy(update={"traffic": self.traffic.model_copy(update={"legacy": legacy})})
