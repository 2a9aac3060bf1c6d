"""Our supervisor does what Erlang/OTP's does, in thousands of scripts made by chance."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from slakeeper.otp.child_spec import ONE_FOR_ALL, TRANSIENT, Strategy
from tests.conformance.erlang import theirs
from tests.conformance.erlang.author import random_script
from tests.conformance.erlang.our_supervisor import Line
from tests.conformance.erlang.ours import Ours
from tests.conformance.erlang.script import Exit, Script, Settings, Stop, Worker

_SCRIPTS_EACH = 1_000
"""For each strategy."""
_SEED = 2025

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not theirs.is_here(), reason="Erlang (erlang-base) is not installed; it is a second opinion"
    ),
]


def comparable(script: Script, trace: list[Line]) -> list[Line]:
    """A trace without what neither side promises.

    Under simple_one_for_one children have no order: what is listed, and those that end together, may come in any.
    OTP reports what its children ended with there as a sum, we one by one.
    """
    lines = [line for line in trace if line != ["nobody"]]
    if not script.settings.simple:
        return lines
    return [[word, *_without_order(word, rest)] for word, *rest in lines]


def _without_order(word: str, rest: list[Any]) -> list[Any]:
    if word == "which":
        return sorted(rest)
    if word != "events":
        return rest
    events: list[Line] = []
    together: list[Line] = []
    for event in rest:
        if event[0] == "down":
            together.append(event)
        elif event[:2] != ["report", "shutdown_error"]:
            events += [*sorted(together), event]
            together = []
    return [*events, *sorted(together)]


def difference(script: Script, otp: list[Line], ours: list[Line]) -> str:
    """The script, and where the two part."""
    first = next(
        (at for at, (a, b) in enumerate(zip(otp, ours, strict=False)) if a != b), min(len(otp), len(ours))
    )
    return (
        f"{script.erlang()}\nboth: {json.dumps(otp[:first])}\nOTP:  {json.dumps(otp[first:])}\n"
        f"ours: {json.dumps(ours[first:])}"
    )


@pytest.mark.parametrize("strategy", list(Strategy))
def test_both_do_the_same(strategy: Strategy, tmp_path: Path) -> None:
    random = Random(f"{_SEED} {strategy}")
    scripts = [random_script(random, strategy) for _ in range(_SCRIPTS_EACH)]
    pairs = zip(scripts, theirs.run(scripts, tmp_path), strict=True)
    found = [
        difference(script, otp, ours)
        for script, trace in pairs
        if (otp := comparable(script, trace)) != (ours := comparable(script, Ours(script).run()))
    ]
    assert not found, f"{len(found)} of {_SCRIPTS_EACH} differ, the first:\n{found[0]}"


def test_the_traces_tell_what_happened(tmp_path: Path) -> None:
    workers = (Worker("a"), Worker("b", TRANSIENT, starts=("up", "error")))
    script = Script(Settings(ONE_FOR_ALL, 2), workers, ((Exit("a", "boom"),), (Stop(),)))
    (trace,) = theirs.run([script], tmp_path)
    assert trace[4] == ["step"]
    assert trace[5] == [
        "events",
        ["down", "a#1", "boom"],
        ["report", "child_terminated", "a", "boom"],
        ["down", "b#1", "shutdown"],
        ["start", "a"],
        ["up", "a#2"],
        ["start", "b"],
        ["report", "start_error", "b", "no_luck"],
        ["down", "a#2", "shutdown"],
        ["start", "a"],
        ["up", "a#3"],
        ["start", "b"],
        ["up", "b#2"],
    ]
    assert trace[6:] == [
        ["which", ["b", "b#2"], ["a", "a#3"]],
        ["count", 2, 2, 0, 2],
        ["step"],
        ["events", ["down", "b#2", "shutdown"], ["down", "a#3", "shutdown"]],
        ["ended", "shutdown"],
    ]
    assert Ours(script).run() == trace
