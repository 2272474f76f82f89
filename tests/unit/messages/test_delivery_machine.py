"""Messages through outages of every kind: nobody hears a thing twice, no reply goes where its thread is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from include.errors import LedgerError, LedgerUnavailable, MessageError
from include.ledger.entry import Entry, NewEntry
from include.messages.deliver import deliver
from include.messages.model import Message, Receipt, Refusal
from tests.memory import MemoryLedger

T = datetime(2026, 7, 1, 12, tzinfo=UTC)
PEOPLE = ("a@x", "b@x", "c@x")
REPLIES = st.dictionaries(st.sampled_from(PEOPLE), st.sampled_from([450, 550]), max_size=2)
MAIL = Message(
    "mail", "mail", "3.0.0", "production", "run", "Text\n", sender="r@x", recipients=PEOPLE, subject="S"
)
POST = Message("post", "slack", "3.0.0", "production", "run", "Text\n", channel="#status")
KEYS = st.sampled_from(["one", "two", "three"])


class Record(MemoryLedger):
    """A ledger that can be out of reach for reading, for writing, or both."""

    out: frozenset[str] = frozenset()

    def find(self, key: str) -> Entry | None:
        self._reach("read")
        return super().find(key)

    def entries(self, **wanted: object) -> tuple[Entry, ...]:  # type: ignore[override]
        self._reach("read")
        return super().entries(**wanted)  # type: ignore[arg-type]

    def append(self, new: NewEntry) -> Entry:
        self._reach("write")
        return super().append(new)

    def _reach(self, what: str) -> None:
        if what in self.out:
            raise LedgerUnavailable(f"no {what}")


class Delivery(RuleBasedStateMachine):
    """A ledger, a mail server and Slack, all of which fail as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Record()
        self.heard: Counter[tuple[str, str]] = Counter()
        self.unrecorded: Counter[str] = Counter()
        self.refused: dict[str, int] = {}
        self.posts: list[tuple[str, str, bool]] = []
        self.deleted: set[str] = set()
        self.dead = False

    @rule(out=st.frozensets(st.sampled_from(["read", "write"])))
    def ledger_is(self, out: frozenset[str]) -> None:
        self.ledger.out = out

    @rule(dead=st.booleans(), refused=REPLIES)
    def servers_are(self, dead: bool, refused: dict[str, int]) -> None:
        self.dead, self.refused = dead, refused

    @rule()
    def somebody_deletes_all_posts(self) -> None:
        self.deleted |= {ts for ts, _, _ in self.posts}

    @rule(key=KEYS, urgent=st.booleans())
    def tell_by_mail(self, key: str, urgent: bool) -> None:
        self._tell(replace(MAIL, key=f"mail-{key}", urgent=urgent))

    @rule(
        key=KEYS,
        urgent=st.booleans(),
        threaded=st.booleans(),
        environment=st.sampled_from(["staging", "production"]),
        channel=st.sampled_from(["#status", "#alerts"]),
    )
    def tell_by_slack(self, key: str, urgent: bool, threaded: bool, environment: str, channel: str) -> None:
        place = {"environment": environment, "channel": channel}
        name = f"post-{key}-{environment}-{channel}-{threaded}"
        self._tell(replace(POST, key=name, urgent=urgent, threaded=threaded, **place))  # type: ignore[arg-type]

    def _tell(self, message: Message) -> None:
        before = sum(self.heard.values())
        try:
            recorded = deliver(self.ledger, message, self._take, T).recorded
        except MessageError:
            recorded = "write" not in self.ledger.out and "read" not in self.ledger.out
        except LedgerError:
            assert not message.urgent
            return
        if sum(self.heard.values()) > before and not recorded:
            self.unrecorded[message.key] += 1

    def _take(self, message: Message) -> Receipt:
        if self.dead:
            raise OSError("dead")
        if message.kind == "slack":
            return self._post(message)
        refused = {one: code for one, code in self.refused.items() if one in message.recipients}
        if len(refused) == len(message.recipients):
            raise OSError("nobody left")  # a server that refuses everybody takes no mail
        self.heard.update((message.key, one) for one in message.recipients if one not in refused)
        return Receipt(refused={one: Refusal(code, "no") for one, code in refused.items()})

    def _post(self, message: Message) -> Receipt:
        place, ts = f"{message.environment}{message.channel}", f"{len(self.posts) + 1}.0"
        self.heard[message.key, place] += 1
        if message.thread:
            begun = [post for post in self.posts if post[0] == message.thread]
            assert begun == [(message.thread, place, True)], "a reply goes to a thread of its own place"
        thread = "" if message.thread in self.deleted else message.thread
        self.posts.append((ts, place, message.threaded and not thread))
        return Receipt(ts=ts, thread=thread)

    @invariant()
    def nobody_hears_it_twice_unless_it_could_not_be_recorded(self) -> None:
        for (key, _), times in self.heard.items():
            assert times <= 1 + self.unrecorded[key]


TestDelivery = Delivery.TestCase
