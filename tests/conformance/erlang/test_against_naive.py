"""Our supervisor does what the naive one does, in thousands of scripts made by chance; this needs no Erlang."""

from random import Random

import pytest

from slakeeper.otp.child_spec import Strategy
from tests.conformance.erlang.author import random_script
from tests.conformance.erlang.naive import Naive
from tests.conformance.erlang.ours import Ours
from tests.conformance.erlang.trace import difference, trace_of


def _assert_both_do_the_same(seed: str, strategy: Strategy, count: int) -> None:
    random = Random(f"{seed} {strategy}")
    for number in range(count):
        script = random_script(random, strategy)
        found = difference(script, ("naive", trace_of(Naive, script)), ("ours", trace_of(Ours, script)))
        assert found is None, f"script {number} of seed {seed}:\n{found}"


@pytest.mark.parametrize("strategy", list(Strategy))
def test_both_do_the_same(strategy: Strategy) -> None:
    _assert_both_do_the_same("fast", strategy, 300)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", list(Strategy))
def test_both_do_the_same_in_many_more_scripts(strategy: Strategy) -> None:
    _assert_both_do_the_same("slow", strategy, 1_500)
