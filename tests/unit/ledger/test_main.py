"""What ``verify`` says of each kind of damage: which entry, which head shows it, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.ledger.__main__ import main
from include.ledger.chain import head_of
from include.ledger.entry import Entry
from include.ledger.examination import REMEDIES
from include.ledger.export import exported
from tests.unit.ledger.tampering import CASES, WAYS
from tests.unit.ledger.test_tampering import written

CHAIN = written(["same"] * 6)


def export(folder: Path, entries: list[Entry]) -> str:
    file = folder / "ledger.jsonl"
    file.write_text("".join(f"{exported(entry)}\n" for entry in entries))
    return str(file)


@pytest.mark.parametrize(("name", "at"), [case for case in CASES if case[0] != "changed-payload-spaced"])
def test_every_damage_is_named_with_its_entry_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, at: int
) -> None:
    way = WAYS[name]
    heads = [f"--head={head_of(CHAIN[:length]).short}" for length in range(1, 7)]
    assert main(["verify", "--export", export(tmp_path, way.tamper(CHAIN, at)), *heads]) == 1
    told = capsys.readouterr().out
    lines = told.splitlines()
    index = next(number for number, line in enumerate(lines) if line.startswith(f"{way.shows}: "))
    assert lines[index + 1] == f"  do: {REMEDIES[way.shows]}"
    assert "BROKEN" in lines[-1]
    if way.anchored:
        assert "(given by --head)" in lines[index]


def test_an_untouched_ledger_is_intact_and_what_no_head_covers_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = export(tmp_path, CHAIN)
    assert main(["verify", "--export", file, "--head", head_of(CHAIN[:4]).short]) == 0
    assert capsys.readouterr().out == (
        f"6 entries, head {head_of(CHAIN).short}, 1 noted heads compared: intact\n"
        "no head vouches for entries 5 to 6: note one (`head --heads-folder`)\n"
    )
    assert main(["verify", "--export", file, "--head", head_of(CHAIN).short]) == 0
    assert "no head vouches" not in capsys.readouterr().out
    assert main(["verify", "--export", file]) == 0
    assert "shows only against a head noted outside" in capsys.readouterr().out


def test_heads_that_messages_and_reports_quote_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report-3.0.0.md"
    report.write_text(f"# Release-Bericht\n\nLedger-Kopf: `6:{CHAIN[-1].hash}`\n")
    file = export(tmp_path, CHAIN[:4])
    assert main(["verify", "--export", file, "--quoted-in", str(report)]) == 1
    told = capsys.readouterr().out
    assert "cut-off: the ledger ends at entry 4" in told
    assert "entries 5 to 6 are missing at its end" in told
    assert f"(quoted in {report})" in told


def test_what_cannot_be_read_is_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--export", str(tmp_path / "none")]) == 2
    assert (
        main(["verify", "--export", export(tmp_path, CHAIN), "--quoted-in", str(tmp_path / "ledger.jsonl")]) == 2
    )
    assert "no head is quoted" in capsys.readouterr().err
