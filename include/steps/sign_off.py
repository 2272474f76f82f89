"""The sign-off: the roles of ``sign_off`` say, over what the ledger holds, that the release is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from include.gate.form import Frame, framed
from include.ledger.entry import Entry
from include.ledger.store import Ledger
from include.markdown import literal
from include.plan.gate import Gate
from include.steps.gate import Question
from include.steps.record import CLEANED_UP, CUT_OVER, RELEASED, WATCH_PASSED, recorded
from include.steps.run import ReleaseRun

SUFFIX: Final = ".sign-off"
PATIENCE_SECONDS: Final = 24 * 3600.0
"""The release is live and proven by then: people have a day, whatever a Go/No-Go gives them."""


def signed_off(run: ReleaseRun) -> ReleaseRun:
    """The run as its sign-off is decided about: by other roles, in a phase of its own."""
    environment = run.environment
    gate = Gate.model_construct(
        roles={role: environment.roles[role] for role in environment.sign_off},
        timeout_seconds=PATIENCE_SECONDS,
        reminder_seconds=None,
        valid_seconds=None,
        quorum=2,
    )
    return replace(run, environment=environment.model_copy(update={"gate": gate}), phase=f"{run.phase}{SUFFIX}")


def sign_off_question(run: ReleaseRun, role: str, ledger: Ledger, frame: Frame) -> Question:
    """Compose the question of one role, from the ledger alone.

    :param run: as :func:`signed_off` binds it
    """
    release, environment = run.release, run.environment
    steps = {"cutover": CUT_OVER, "watch": WATCH_PASSED, "clean-up": CLEANED_UP, "verification": RELEASED}
    rows = [f"{name}: {_told(recorded(ledger, run, kind))}" for name, kind in steps.items()]
    head = f"**{release.version}** is what users of **{environment.name}** get. Go signs it off."
    subject = f"{release.version} in {environment.name}: sign off as {role}?"
    return Question(subject, framed(head, rows, (), frame, role))


def _told(entry: Entry | None) -> str:
    if entry is None:
        return "no record"
    sentence = str(entry.payload.get("sentence", ""))
    return f"{entry.at:%Y-%m-%d %H:%M} UTC{f', {literal(sentence)}' if sentence else ''}"
