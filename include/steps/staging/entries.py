"""What the steps of a rehearsal write to the ledger, and the modes in which they run."""

from __future__ import annotations

from typing import Final, Literal

DEPLOYED_ALREADY: Final = "staging.deployed-already"
URLS_VERIFIED: Final = "staging.urls-verified"
SMOKE_FAILED: Final = "staging.smoke-failed"
SERVED: Final = "staging.served"
LOAD_MEASURED: Final = "staging.load-measured"
UAT_ASKED: Final = "uat.asked"
UAT_ANSWERED: Final = "uat.answered"
UAT_NOT_COUNTED: Final = "uat.not-counted"
UAT_SILENT: Final = "uat.not-tested"
UAT_CONCLUDED: Final = "uat.concluded"
REHEARSAL_COMPLETED: Final = "rehearsal-completed"

Mode = Literal["rehearsal", "final"]

#: what the form offers → what it means
MODES: Final[dict[Mode, str]] = {
    "rehearsal": "T-3: migrate, deploy, measure, and let key users test",
    "final": "T-0: deploy what is not deployed yet, and run the smoke tests",
}
