"""Specs and flags, and OTP's names for what is wrong with them."""

from typing import Any

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    INFINITY,
    PERMANENT,
    REST_FOR_ONE,
    SUPERVISOR,
    TRANSIENT,
    WORKER,
    AutoShutdown,
    ChildSpec,
    Flags,
    Quarantine,
    Restart,
    SpecError,
    Strategy,
)


def reason_of(make: Any, *args: Any, **fields: Any) -> str:
    with pytest.raises(SpecError) as caught:
        make(*args, **fields)
    return caught.value.reason


def test_a_spec_needs_an_id_and_a_start_and_has_otps_defaults_for_the_rest() -> None:
    assert ChildSpec("a", 1) == ChildSpec("a", 1, PERMANENT, 5_000, WORKER, significant=False)


def test_a_supervisor_is_waited_for_without_end_by_default() -> None:
    assert ChildSpec("a", 1, type=SUPERVISOR).shutdown is INFINITY
    assert ChildSpec("a", 1, type=SUPERVISOR, shutdown=10).shutdown == 10


@pytest.mark.parametrize("shutdown", [0, 1, 5_000, BRUTAL_KILL, INFINITY, "brutal_kill", "infinity"])
def test_shutdowns_that_are_taken(shutdown: Any) -> None:
    assert ChildSpec("a", 1, shutdown=shutdown).shutdown == shutdown


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"id": ""}, "missing_id"),
        ({"id": 7}, "missing_id"),
        ({"start": None}, "missing_start"),
        ({"restart": "perm"}, "invalid_restart_type"),
        ({"restart": None}, "invalid_restart_type"),
        ({"shutdown": -1}, "invalid_shutdown"),
        ({"shutdown": True}, "invalid_shutdown"),
        ({"shutdown": "brutal"}, "invalid_shutdown"),
        ({"shutdown": 1.5}, "invalid_shutdown"),
        ({"type": "work"}, "invalid_child_type"),
        ({"significant": "yes"}, "invalid_significant"),
        ({"significant": True}, "bad_combination"),
    ],
)
def test_what_is_wrong_with_a_spec_has_otps_name(fields: dict[str, Any], reason: str) -> None:
    assert reason_of(ChildSpec, **{"id": "a", "start": 1, **fields}) == reason


def test_a_spec_is_read_from_a_mapping_and_unknown_keys_are_ignored() -> None:
    given = {"id": "a", "start": 1, "restart": "transient", "modules": ["m"]}
    assert ChildSpec.from_map(given) == ChildSpec("a", 1, TRANSIENT)
    assert reason_of(ChildSpec.from_map, {"start": 1}) == "missing_id"
    assert reason_of(ChildSpec.from_map, {"id": "a"}) == "missing_start"


def test_the_flags_have_otps_defaults() -> None:
    assert Flags() == Flags(Strategy.ONE_FOR_ONE, 1, 5, None, AutoShutdown.NEVER)


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"strategy": "one_for_two"}, "invalid_strategy"),
        ({"intensity": -1}, "invalid_intensity"),
        ({"intensity": 1.0}, "invalid_intensity"),
        ({"intensity": True}, "invalid_intensity"),
        ({"period_s": 0}, "invalid_period"),
        ({"period_s": "5"}, "invalid_period"),
        ({"auto_shutdown": "any"}, "invalid_auto_shutdown"),
        ({"quarantine": 3}, "invalid_quarantine"),
        ({"strategy": REST_FOR_ONE, "quarantine": Quarantine(1, 5, Backoff(1, 1))}, "bad_combination"),
    ],
)
def test_what_is_wrong_with_the_flags_has_otps_name(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError) as caught:
        Flags(**fields)
    assert (caught.value.reason, caught.value.where) == (reason, "supervisor_data")


def test_a_quarantine_that_could_never_be_reached_is_refused() -> None:
    assert reason_of(Quarantine, 10, 10, Backoff(1_000, 60_000)) == "bad_combination"
    assert reason_of(Quarantine, -1, 10, Backoff(1, 1)) == "invalid_intensity"
    assert reason_of(Quarantine, 1, 0, Backoff(1, 1)) == "invalid_period"
    assert reason_of(Quarantine, 1, 1, 5) == "invalid_backoff"
    Quarantine(3, 3, Backoff(1_000, 2_000, jitter_ratio=0))


def test_two_children_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        core.initial_state(Flags(), [ChildSpec("a", 1), ChildSpec("b", 1), ChildSpec("a", 2)])
    assert (caught.value.reason, caught.value.value, caught.value.where) == (
        "duplicate_child_name",
        "a",
        "start_spec",
    )


def test_a_significant_child_needs_a_supervisor_that_minds() -> None:
    significant = ChildSpec("a", 1, Restart.TEMPORARY, significant=True)
    with pytest.raises(SpecError) as caught:
        core.initial_state(Flags(), [significant])
    assert (caught.value.reason, caught.value.where) == ("bad_combination", "start_spec")
    core.initial_state(Flags(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT), [significant])
