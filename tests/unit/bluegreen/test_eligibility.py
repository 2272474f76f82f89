from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.bluegreen.eligibility import (
    KINDS,
    Candidate,
    Restorable,
    WayBack,
    automatic_allowed,
    chosen,
    documentation,
    rollback_options,
)

OPEN = WayBack(schema="unchanged", ready=3, required=3)
BACK = Candidate(usable=True, reason="revision 3 is brought back", revision=3)
NOTHING = Candidate(usable=False, reason="it has been uninstalled")
BACKUP = Restorable(usable=True, reason="backup b1 of 2030-05-01 08:50 UTC is verified")
NO_BACKUP = Restorable(usable=False, reason="no migration of 3.0.0 is in the database of production")
ORDER = [kind.name for kind in KINDS]

ways = st.builds(
    WayBack,
    schema=st.sampled_from(["unchanged", "rehearsed", "unproven", "restoring", "unknown"]),
    ready=st.integers(0, 5),
    required=st.integers(1, 5),
    cleaned_up=st.booleans(),
    candidate=st.sampled_from([None, BACK, NOTHING]),
    strange=st.sampled_from([(), ("erp:3.0.0",)]),
    rehearsal=st.sampled_from(["", "0123456789abcdef"]),
    restorable=st.sampled_from([None, BACKUP, NO_BACKUP]),
)
wanted = st.sampled_from(["auto", *ORDER, "teleport"])


def by_name(way):
    return {option.name: option for option in rollback_options(way)}


@given(ways)
def test_every_option_of_the_plan_has_an_answer_and_a_reason(way):
    options = rollback_options(way)
    assert [option.name for option in options] == ["auto", *ORDER]
    assert all(option.reason for option in options)


@given(ways)
def test_auto_takes_the_least_destructive_one_and_never_the_full_restore(way):
    options = by_name(way)
    taken = chosen(tuple(options.values()), "auto")
    possible = [name for name in ORDER if options[name].eligible and name != "full-restore"]
    assert (taken.name if taken else None) == (possible[0] if possible else None)
    assert options["auto"].eligible == bool(possible)


@given(ways, wanted)
def test_what_is_not_possible_is_never_taken(way, option):
    taken = chosen(rollback_options(way), option)
    assert taken is None or (taken.eligible and taken.name != "auto")
    if taken and option != "auto":
        faster = option == "helm-rollback" and taken.name == "blue-cutover"
        assert taken.name == option or faster


@given(ways, st.sampled_from(["unproven", "restoring"]))
def test_an_old_version_that_is_not_proven_on_the_live_schema_never_gets_users(way, schema):
    unproven = by_name(replace(way, schema=schema))
    assert not any(option.eligible for name, option in unproven.items() if name != "full-restore")


@given(ways)
def test_a_backup_opens_the_full_restore_and_nothing_else(way):
    without, with_one = by_name(replace(way, restorable=None)), by_name(replace(way, restorable=BACKUP))
    assert [without[name].eligible for name in ORDER[:2]] == [with_one[name].eligible for name in ORDER[:2]]
    assert without["auto"].eligible == with_one["auto"].eligible
    assert not without["full-restore"].eligible
    usable = way.candidate is not None and way.candidate.usable and way.schema != "unknown"
    assert with_one["full-restore"].eligible == usable


@given(ways)
def test_a_release_without_a_migration_goes_back_as_if_there_were_no_database(way):
    plain = replace(way, schema="unchanged", restorable=None, rehearsal="")
    here = replace(plain, restorable=NO_BACKUP)
    assert by_name(here)["full-restore"].reason == NO_BACKUP.reason
    assert [by_name(here)[name] for name in ORDER[:2]] == [by_name(plain)[name] for name in ORDER[:2]]


@given(ways)
def test_more_pods_never_close_a_way(way):
    before, after = by_name(way), by_name(replace(way, ready=way.ready + 1))
    assert all(after[name].eligible for name, option in before.items() if option.eligible)


@given(ways)
def test_the_watch_may_act_only_where_blue_cutover_is_known_to_be_right(way):
    assert automatic_allowed(way) == (by_name(way)["blue-cutover"].eligible and way.schema != "unknown")


@pytest.mark.parametrize("schema", ["unchanged", "rehearsed"])
def test_blue_cutover_while_the_old_version_is_proven_on_the_live_schema(schema):
    way = replace(OPEN, schema=schema)
    options = by_name(way)
    assert options["blue-cutover"].eligible
    assert options["auto"].reason.startswith("takes blue-cutover")
    assert automatic_allowed(way)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schema": "unproven"}, "not proven"),
        ({"ready": 0}, "no ready endpoint"),
        ({"cleaned_up": True}, "cleaned up"),
        ({"strange": ("erp:3.0.0",)}, "changed by hand: it runs erp:3.0.0"),
    ],
)
def test_no_way_back_says_why(changes, why):
    way = replace(OPEN, **changes)
    options = by_name(way)
    assert not options["blue-cutover"].eligible
    assert why in options["blue-cutover"].reason
    assert not options["auto"].eligible
    assert why in options["auto"].reason, "whoever asked for auto reads it, too"
    assert not automatic_allowed(way)


def test_fewer_pods_than_required_are_a_way_back_all_the_same():
    option = by_name(replace(OPEN, ready=1))["blue-cutover"]
    assert option.eligible
    assert "fewer than the 3 required" in option.reason


def test_without_the_ledger_the_way_back_stays_open_and_says_what_it_does_not_know():
    option = by_name(replace(OPEN, schema="unknown"))["blue-cutover"]
    assert option.eligible
    assert "not known, taken as before the cutover" in option.reason


def test_helm_rollback_where_the_old_slot_is_gone():
    options = by_name(replace(OPEN, ready=0, cleaned_up=True, candidate=BACK))
    assert options["helm-rollback"].eligible
    assert options["auto"].reason.startswith("takes helm-rollback: the schema is unchanged, revision 3")
    gone = by_name(replace(OPEN, ready=0, cleaned_up=True, candidate=NOTHING))
    assert gone["helm-rollback"].reason == "it has been uninstalled"
    assert not gone["auto"].eligible


def test_a_helm_rollback_blocks_no_faster_way():
    options = rollback_options(replace(OPEN, candidate=NOTHING))
    taken = chosen(options, "helm-rollback")
    assert taken is not None
    assert taken.name == "blue-cutover"


def test_the_rehearsal_that_proves_the_old_version_is_named():
    way = replace(OPEN, schema="rehearsed", rehearsal="0123456789abcdef", ready=0, candidate=BACK)
    assert "proven on the new schema by rehearsal 0123456789abcdef, revision 3" in by_name(way)["auto"].reason


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "nobody has looked for a backup"),
        ({"restorable": NO_BACKUP}, "no migration of 3.0.0"),
        ({"restorable": BACKUP, "schema": "unknown"}, "the ledger gives no answer"),
        ({"restorable": BACKUP, "candidate": None}, "nobody has looked what could be brought back"),
        ({"restorable": BACKUP, "candidate": NOTHING}, "the old version cannot: it has been uninstalled"),
    ],
)
def test_a_full_restore_that_is_not_possible_says_why(changes, why):
    option = by_name(
        replace(OPEN, candidate=BACK, **changes) if "candidate" not in changes else replace(OPEN, **changes)
    )
    assert not option["full-restore"].eligible
    assert why in option["full-restore"].reason


@pytest.mark.parametrize("schema", ["unchanged", "rehearsed", "unproven", "restoring"])
def test_a_full_restore_is_possible_where_the_old_version_is_not_proven_and_has_to_be_asked_for(schema):
    way = replace(OPEN, schema=schema, candidate=BACK, restorable=BACKUP, ready=0)
    options = by_name(way)
    assert options["full-restore"].eligible
    assert "a named person has to confirm" in options["full-restore"].reason
    assert chosen(tuple(options.values()), "full-restore") == options["full-restore"]
    if schema in ("unproven", "restoring"):
        assert "no option is possible but full-restore, which has to be asked for" in options["auto"].reason


def test_the_forms_documentation_is_made_from_the_options():
    text = documentation()
    for kind in KINDS:
        assert f"| `{kind.name}` | {kind.does} | {kind.when} | {kind.loses} |" in text
    assert "has to be asked for by name" in text
