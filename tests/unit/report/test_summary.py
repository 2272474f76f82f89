from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import LedgerError
from include.ledger.chain import GENESIS, sealed
from include.ledger.entry import Entry, canonical
from include.report.summary import durations, main, outcome, summarise
from include.report.text import cell, duration

T = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)


def entries(*facts: tuple[float, str, dict[str, Any]], **fields: str) -> list[Entry]:
    chain: list[Entry] = []
    for seconds, kind, payload in facts:
        at = T + timedelta(seconds=seconds)
        entry = Entry(
            sequence=len(chain) + 1,
            kind=kind,
            release="3.0.0",
            environment="production",
            run_id=fields.get("run_id", "manual__1"),
            actor=payload.get("user", "stellwerk"),
            key=None,
            at=at,
            recorded_at=at,
            payload_json=canonical(payload),
            previous=chain[-1].hash if chain else GENESIS,
            hash="",
        )
        chain.append(sealed(entry))
    return chain


def decided(role: str, user: str, choice: str = "Go", comment: str = "") -> dict[str, str]:
    return {"role": role, "user": user, "choice": choice, "comment": comment, "fingerprint": "sha256:" + "a" * 64}


BEGINNING: list[tuple[float, str, dict[str, Any]]] = [
    (0, "release.started", {"from": "blue", "to": "green"}),
    (60, "gate.decision", decided("technical-lead", "tina", comment="sieht | gut <b>aus</b>")),
    (90, "gate.decision", decided("business-owner", "bert")),
    (91, "gate.approved", {"people": ["bert", "tina"]}),
    (121, "deploy.done", {"slot": "green", "revision": 1}),
    (125.5, "verify.passed", {"slot": "green"}),
    (129, "cutover.intended", {}),
    (130, "cutover.done", {"from": "blue", "to": "green", "at": (T + timedelta(seconds=129.7)).isoformat()}),
    (131, "message.sent", {"message": "cutover"}),
    (132, "watch.baseline", {}),
]
RELEASED: list[tuple[float, str, dict[str, Any]]] = [
    *BEGINNING,
    (3732, "watch.ended", {"result": "PASSED"}),
    (3732, "watch.passed", {"result": "PASSED"}),
    (3740, "cleanup.done", {"slot": "blue", "policy": "scale-to-zero"}),
    (3745, "release.verified", {"slot": "green"}),
]
BACK: list[tuple[float, str, dict[str, Any]]] = [
    *BEGINNING,
    (140, "watch.ended", {"result": "ROLLED_BACK"}),
    (141, "switch.back", {"reason": "error rate 31 %", "at": (T + timedelta(seconds=138)).isoformat()}),
    (142, "message.failed", {"message": "alert", "error": "OSError: connection refused"}),
    (150, "rollback.done", {"reason": "error rate 31 %"}),
]


def test_the_report_of_a_release() -> None:
    chain = entries(*RELEASED)
    report = summarise(chain, timezone="Europe/Berlin")
    assert report.startswith("# Release-Bericht: 3.0.0 in production\n\n**Erfolgreich ausgeliefert**\n")
    assert "Von 01.07.2026, 11:30:00 Uhr (Europe/Berlin) bis 01.07.2026, 12:32:25 Uhr" in report
    assert ", 1 h 02 min. Lauf: `manual__1`\n" in report
    assert (
        "| 11:31:00 | technical-lead | tina | Go | sieht \\| gut &lt;b&gt;aus&lt;/b&gt; | sha256:aaaaaaaaaaaa |"
    ) in report
    assert "| 11:32:09 | 2 min 10 s | Verkehr umgeschaltet | stellwerk | von: blue; nach: green |" in report
    assert "- Bereitstellung: 30,0 s\n- Prüfung vor der Umschaltung: 4,5 s\n- Umschaltung: 4,2 s\n" in report
    assert "- Beobachtung: 1 h 00 min\n" in report
    assert "\nGesendet: 1; gescheiterte Versuche: 0\n\nLedger" in report
    assert "cutover.intended" not in report
    assert report.endswith(f"\nLedger {len(chain)}:{chain[-1].hash[:12]}\n")


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    lines = [line.replace("\\|", "") for line in summarise(entries(*BACK), timezone="UTC").splitlines()]
    tables = [index for index, line in enumerate(lines) if line.startswith("|---")]
    assert len(tables) == 2
    for index in tables:
        rows = lines[index - 1 :]
        rows = rows[: next(number for number, row in enumerate([*rows, ""]) if not row.startswith("|"))]
        assert len({row.count("|") for row in rows}) == 1
        assert len(rows) > 3


def test_the_report_of_a_rollback() -> None:
    report = summarise(entries(*BACK), timezone="UTC")
    assert "**Zurückgerollt: error rate 31 %**" in report
    assert "- Umschaltung bis Rückschaltung: 8,3 s" in report
    assert "gescheiterte Versuche: 1\n\n- 09:32:22: alert: OSError: connection refused\n" in report


def test_the_outcome_before_the_end() -> None:
    assert outcome(entries(*BEGINNING)) == "Nicht abgeschlossen, letzter Schritt: Beobachtung begonnen"
    no_go = (65.0, "gate.decision", decided("on-call", "otto", "No-Go"))
    assert outcome(entries(*BEGINNING[:3], no_go)) == "Nicht freigegeben: No-Go von otto (on-call)"
    changed = (70.0, "gate.decision", decided("on-call", "otto"))
    assert "Nicht abgeschlossen" in outcome(entries(*BEGINNING[:3], no_go, changed))
    assert outcome(entries((0, "message.sent", {}))) == "Nicht abgeschlossen, letzter Schritt: keiner"


def test_the_last_attempt_decides() -> None:
    assert outcome(entries(*BACK, *RELEASED)) == "Erfolgreich ausgeliefert"
    assert outcome(entries(*RELEASED, *BACK)).startswith("Zurückgerollt")


def test_steps_stand_in_the_order_they_happened() -> None:
    report = summarise(entries(*BACK), timezone="UTC")
    assert report.index("Verkehr zurückgeschaltet") < report.index("Beobachtung beendet")


def test_a_phase_without_an_end_has_no_duration() -> None:
    assert [name for name, _ in durations(entries(*BEGINNING[:5]))] == ["Freigabe", "Bereitstellung"]


@pytest.mark.parametrize("told", ["gestern", "2026-07-01T09:00:00", 17.5, None])
def test_a_time_that_cannot_be_read_is_the_entrys_own(told: object) -> None:
    assert "| 09:30:05 | 5,0 s |" in summarise(
        entries((0, "release.started", {}), (5, "cutover.done", {"at": told})), timezone="UTC"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0,0 s"), (59.94, "59,9 s"), (60, "1 min 00 s"), (3599.4, "59 min 59 s"), (3660, "1 h 01 min")],
)
def test_durations_are_told_like_people_tell_them(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_a_cell_holds_no_markdown() -> None:
    assert cell("a|b\n*c* <d> `e` [f](g)") == "a\\|b \\*c\\* &lt;d&gt; \\`e\\` \\[f\\](g)"


def test_entries_of_no_or_several_releases_are_refused() -> None:
    with pytest.raises(LedgerError, match="none"):
        summarise([], timezone="UTC")


def test_the_command_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STELLWERK_LEDGER_URL", raising=False)
    assert main(["3.0.0", "production"]) == 2
    assert "the ledger's URL cannot be read" in capsys.readouterr().err
