from __future__ import annotations

import pytest

from include.bluegreen.recovery import good_revision, recovery_action
from include.bluegreen.state import HelmRevision


def history(*lines):
    return [HelmRevision(n, status, text) for n, (status, text) in enumerate(lines, 1)]


GOOD = ("deployed", "Upgrade complete")
OLD = ("superseded", "Install complete")
RELABELLED = ("superseded", 'Upgrade "erp" failed: context deadline exceeded')
FAILED = ("failed", 'Release "erp" failed: context canceled')


@pytest.mark.parametrize(
    ("lines", "kind", "revision"),
    [
        ([], "none", None),
        ([GOOD], "none", None),
        ([OLD, FAILED], "none", None),
        ([("pending-install", "Initial install underway")], "uninstall", None),
        ([OLD, GOOD, ("pending-upgrade", "Preparing upgrade")], "rollback", 2),
        ([OLD, FAILED, ("pending-upgrade", "Preparing upgrade")], "rollback", 1),
        ([OLD, RELABELLED, ("pending-rollback", "Rollback to 1")], "rollback", 1),
        ([FAILED, ("pending-upgrade", "Preparing upgrade")], "uninstall", None),
        ([OLD, ("uninstalled", "Uninstallation complete")], "uninstall", None),
        ([("uninstalling", "Deletion in progress")], "uninstall", None),
    ],
)
def test_the_way_out_of_each_state(lines, kind, revision):
    action = recovery_action(history(*lines))
    assert (action.kind, action.revision) == (kind, revision)
    assert recovery_action(history(*lines)[::-1]) == action
    assert action.reason


def test_the_newest_good_revision_is_never_one_that_failed():
    assert good_revision(history(OLD, GOOD, FAILED)) == 2
    assert good_revision(history(OLD, RELABELLED, FAILED)) == 1
    assert good_revision(history(RELABELLED, FAILED)) is None
    assert good_revision([]) is None
