"""The form by which a role decides at a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Param

from stellwerk.operators.question import Form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.steps.gate import Question
    from include.steps.gate_round import GateState


def decision_form(state: GateState, role: str, asked: Question) -> Form:
    """The question with its fields: why, what is shown, the role's points, who is to decide instead."""
    from include.gate.answers import COMMENT, DELEGATE, OPTIONS, SHOWN, TO, box
    from include.steps.gate_round import may_name, own_points

    shown = Param(
        state.run.fingerprint, type="string", title="Fingerprint", description="Of what is decided about"
    )
    shown.schema["enum"] = [state.run.fingerprint]
    fields = {COMMENT: Param("", type="string", title="Comment", description="Why; kept in the ledger")}
    for text in own_points(state, role):
        fields[box(text)] = Param(False, type="boolean", title=text, description="A Go needs it")
    names: Sequence[str] = may_name(state, role)
    if names:
        instead = (
            f"Only for {DELEGATE}: who speaks for {role}, too, at every gate of this release. Can be replaced, "
            "not taken back; gives no part in its watch, nor in what is asked about a loss"
        )
        fields[TO] = Param("", type="string", title="Delegate to", description=instead, enum=["", *names])
    return Form(
        question=asked,
        options=[option for option in OPTIONS if names or option != DELEGATE],
        fields={**fields, SHOWN: shown},
        people=state.holders[role],
        about=state.run.fingerprint,
        parts=state.run.parts,
    )
