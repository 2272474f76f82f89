"""What a release tells whom, and when: its mails, its messages of the day, what stands in them."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from include.plan.moments import Clock, Offset
from include.plan.prober import Text
from include.plan.rules import Misplaced, PlanModel
from include.plan.texts import Channel, Url

StatusEvent = Literal[
    "deployment-started", "migration-completed", "slot-deployment-started", "cutover", "cleanup", "successful"
]
MailEvent = Literal["announcement", "completion"]
Language = Literal["de", "en"]


class Link(PlanModel):
    """A title and where it leads."""

    title: Text
    url: Url


class KnownIssue(PlanModel):
    """Something that does not work yet, so that nobody has to find out.

    :param workaround: what to do meanwhile
    :param url: where it is tracked
    """

    title: Text
    workaround: str = ""
    url: Url | None = None


class StatusMessage(PlanModel):
    """A message of T-0 in a channel.

    :param at: when it is expected; it goes out when the thing has happened
    :param channel: one of the environment's channels
    """

    event: StatusEvent
    at: Clock
    channel: Channel


class MailPlan(PlanModel):
    """A mail about the release.

    :param to: audiences, as the environment's ``messages.audiences`` names them
    """

    event: MailEvent
    at: Offset
    to: Annotated[tuple[Text, ...], Field(min_length=1)]


class Communication(PlanModel):
    """The mails and the messages of a release.

    :param language: of all of them
    """

    language: Language = "de"
    mails: tuple[MailPlan, ...] = ()
    status: tuple[StatusMessage, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name in ("mails", "status"):
            events = [one.event for one in getattr(self, name)]
            for index, event in enumerate(events):
                if event in events[:index]:
                    raise Misplaced((name, index, "event"), f"{event} is told twice: every message goes out once")
        return self

    @model_validator(mode="after")
    def _announced_before_and_completed_after(self) -> Self:
        for index, mail in enumerate(self.mails):
            before = mail.at.startswith("T-") and not mail.at.startswith("T-0")
            if (mail.event == "announcement") != before:
                when = "before T-0" if mail.event == "announcement" else "at T-0 or later"
                raise Misplaced(("mails", index, "at"), f"{mail.at}: the {mail.event} goes out {when}")
        return self


NO_COMMUNICATION: Final = Communication()
