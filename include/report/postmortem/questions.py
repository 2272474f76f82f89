"""What the record cannot answer, made into questions for the people who meet over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from include.report.postmortem.incident import Incident
from include.report.postmortem.marks import contradictions, drain_of_the_bad_slot
from include.report.postmortem.model import (
    How,
    Limits,
    Mark,
    Notice,
    Numbers,
    Question,
    Series,
    Stretch,
)
from include.report.text import duration

_MOST_GAPS: Final = 5
_SWITCH_SLOW: Final = timedelta(seconds=5)
_NAMES: Final = {"cutover": "Umschaltung", "detected": "Erkennung", "decided": "Entscheidung"} | {
    "switched": "Rückschaltung",
    "closed": "Abschluss",
}

FOR_PEOPLE: Final = (
    "Welche Folgen hatte es für das Geschäft und für einzelne Nutzer?",
    "Was lief gut, und soll so bleiben?",
    "Was lief schlecht?",
    "Wo hatten wir Glück?",
    "Welche Annahme hat sich als falsch erwiesen?",
    "Was muss vor dem nächsten Versuch nachgewiesen sein?",
)
"""What no machine asks better than people."""


class Asked:
    """The questions of one incident, each with why it is open.

    :param timezone: in which times are told
    """

    def __init__(self, incident: Incident, how: How, marks: Sequence[Mark], timezone: str) -> None:
        self._incident = incident
        self._how = how
        self._marks = {mark.name: mark for mark in marks}
        self._ordered = marks
        self._zone = ZoneInfo(timezone)

    def all(
        self, reason: str, series: Series, limits: Limits, numbers: Numbers, notices: Sequence[Notice]
    ) -> tuple[Question, ...]:
        """Every question, the one for the cause first."""
        return (
            *self._cause(reason),
            *self._recognition(limits),
            *self._switching(),
            *self._connections(),
            *_losses(numbers),
            *self._data(series, limits),
            *_messages(notices),
            *self._record(),
        )

    def _cause(self, reason: str) -> Iterator[Question]:
        release = self._incident.release
        known = (
            f"Festgehalten ist nur die Wirkung: {reason}."
            if reason
            else "Auch die Wirkung ist nicht festgehalten."
        )
        yield Question("Ursache", f"Welcher Fehler steckt in {release}? {known}")
        yield Question(
            "Vorher nicht gesehen",
            f"Warum haben Staging, Probelauf und die Prüfungen vor der Umschaltung den Fehler von {release} nicht "
            "gezeigt? Welche Prüfung hätte es gekonnt?",
        )
        yield Question(
            "Betroffene",
            "Wie viele Nutzer waren betroffen? Gezählt werden Anfragen, nicht Menschen. Und sind Daten, die "
            f"{release} in dieser Zeit geschrieben hat, für die alte Version richtig?",
        )

    def _recognition(self, limits: Limits) -> Iterator[Question]:
        fault, detected = self._marks.get("fault"), self._marks.get("detected")
        if detected is None:
            if self._how in ("by-hand", "order", "outside"):
                yield Question(
                    "Erkennung",
                    "Menschen haben zurückgeschaltet, bevor eine Regel auslöste: Welche Regel fehlt, oder welche "
                    "Grenze ist zu hoch?",
                )
            else:
                yield Question("Erkennung", "Wann wurde der Fehler erkannt? Der Eintrag darüber fehlt.")
        elif fault is not None:
            took, floor = detected.at - fault.at, _floor(limits)
            if took > floor:
                yield Question(
                    "Dauer der Erkennung",
                    f"Warum dauerte die Erkennung {duration(took)}? Fenster und zwei Abfragen lassen höchstens "
                    f"{duration(floor)} erwarten.",
                )

    def _switching(self) -> Iterator[Question]:
        if self._how == "blocked":
            yield Question(
                "Rückschaltung nicht möglich",
                "Eine Rückschaltung war fällig und fand nicht statt. Wer hat wann eingegriffen? Warum stand der "
                "Rückweg nicht offen?",
            )
            return
        decided, switched = self._marks.get("decided"), self._marks.get("switched")
        if switched is None:
            yield Question("Rückschaltung", "Wann und von wem wurde zurückgeschaltet? Der Eintrag darüber fehlt.")
        elif decided is None:
            yield Question("Entscheidung", f"Wann fiel die Entscheidung? {switched.actor} hat zurückgeschaltet.")
        elif switched.at - decided.at > _SWITCH_SLOW:
            took = duration(switched.at - decided.at)
            yield Question("Dauer der Rückschaltung", f"Warum vergingen von der Entscheidung an {took}?")
        if switched and "verified" not in self._marks:
            yield Question(
                "Nachweis", "Bekamen die Nutzer danach richtige Antworten? Eine Prüfung ist nicht festgehalten."
            )

    def _connections(self) -> Iterator[Question]:
        switched = self._marks.get("switched")
        if switched is None:
            return
        drain = drain_of_the_bad_slot(self._incident, switched)
        if drain is None:
            text = "Wie lange blieben Verbindungen auf der fehlerhaften Version? Es ist nicht festgehalten."
            yield Question("Offene Verbindungen", text)
        elif drain.payload.get("verdict") != "DRAINED":
            said = drain.payload.get("sentence") or "ohne Befund"
            text = f"Welche Verbindungen blieben auf der fehlerhaften Version, und wie lange? Festgehalten: {said}"
            yield Question("Offene Verbindungen", text)

    def _data(self, series: Series, limits: Limits) -> Iterator[Question]:
        if not series.points:
            yield Question(
                "Messwerte", "Wie verliefen Fehlerrate und Antwortzeit? Es wurde keine Messreihe festgehalten."
            )
        shortest = timedelta(seconds=limits.stale_seconds or 5.0)
        gaps = [gap for gap in series.gaps if gap.length > shortest]
        for gap in gaps[:_MOST_GAPS]:
            yield Question("Fehlende Messwerte", f"Warum fehlen {self._span(gap)} alle Messwerte?")
        more = len(gaps) - _MOST_GAPS
        if more > 0:
            yield Question("Fehlende Messwerte", f"Warum fehlen sie {more} weitere Male?")
        if series.unreadable:
            yield Question("Messwerte", f"Was stand in {series.unreadable} Punkt(en), die nicht lesbar sind?")

    def _record(self) -> Iterator[Question]:
        for first, second in contradictions(self._ordered):
            yield Question(
                "Widerspruch",
                f"{_NAMES[first.name]} ({self._time(first.at)}) steht nach {_NAMES[second.name]} "
                f"({self._time(second.at)}): Welche Uhr geht falsch?",
            )
        if self._marks.get("switched") and "closed" not in self._marks:
            yield Question("Abschluss", "Wurde der Rollback zu Ende geführt? Sein Eintrag fehlt.")

    def _span(self, gap: Stretch) -> str:
        start, end = (datetime.fromtimestamp(at, UTC) for at in (gap.start, gap.end))
        return f"von {self._time(start)} bis {self._time(end)} ({duration(gap.length)})"

    def _time(self, at: datetime) -> str:
        return f"{at.astimezone(self._zone):%H:%M:%S}"


def _floor(limits: Limits) -> timedelta:
    """How long finding a fault may take: one window, and two polls around it."""
    return timedelta(seconds=(limits.window_seconds or 10.0) + 2 * (limits.poll_seconds or 1.0))


def _losses(numbers: Numbers) -> Iterator[Question]:
    for loss, name in ((numbers.forward, "Umschaltung"), (numbers.back, "Rückschaltung")):
        if loss.lost is None:
            text = f"Gingen bei der {name} Anfragen verloren? Festgehalten ist: {loss.sentence}"
            yield Question(f"Verluste bei der {name}", text)
        elif loss.lost > loss.before:
            lost = loss.lost - loss.before
            text = f"Warum gingen bei der {name} {lost} von {loss.sent} Anfragen des Prüfers verloren?"
            yield Question(f"Verluste bei der {name}", text)


def _messages(notices: Sequence[Notice]) -> Iterator[Question]:
    for notice in notices:
        if notice.state == "missed":
            yield Question(
                "Versäumte Frist", f"Warum ging „{notice.name}“ nicht hinaus? Wer wurde anders benachrichtigt?"
            )
        elif notice.state == "late" and notice.delay:
            yield Question(
                "Versäumte Frist", f"Warum ging „{notice.name}“ erst nach {duration(notice.delay)} hinaus?"
            )
