"""That a human takes the responsibility for what is lost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class LossConfirmation(BaseModel):
    """Somebody has seen a statement of what is lost, and wants it all the same.

    :param digest: of the statement
    :param by: who
    :param reason: why
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    by: str
    reason: str

    @property
    def signed(self) -> bool:
        """Whether it says who and why; without that nobody has taken the responsibility."""
        return bool(self.by.strip() and self.reason.strip())
