"""Our supervisor does what Erlang/OTP's does, in thousands of scripts made by chance, and so does the naive one."""

from pathlib import Path
from random import Random

import pytest

from slakeeper.otp.child_spec import ONE_FOR_ALL, TRANSIENT, Strategy
from tests.conformance.erlang import theirs
from tests.conformance.erlang.author import random_script
from tests.conformance.erlang.naive import Naive
from tests.conformance.erlang.ours import Ours
from tests.conformance.erlang.script import Exit, Script, Settings, Stop, Worker
from tests.conformance.erlang.trace import difference, trace_of

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


@pytest.mark.parametrize("strategy", list(Strategy))
def test_all_three_do_the_same(strategy: Strategy, tmp_path: Path) -> None:
    random = Random(f"{_SEED} {strategy}")
    scripts = [random_script(random, strategy) for _ in range(_SCRIPTS_EACH)]
    found = [
        one
        for script, trace in zip(scripts, theirs.run(scripts, tmp_path), strict=True)
        for name, make in (("ours", Ours), ("naive", Naive))
        if (one := difference(script, ("OTP", trace), (name, trace_of(make, script)))) is not None
    ]
    assert not found, f"{len(found)} differ of {_SCRIPTS_EACH} scripts, the first:\n{found[0]}"


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
    assert trace_of(Ours, script) == trace
    assert trace_of(Naive, script) == trace
