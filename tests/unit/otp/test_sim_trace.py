"""A line of a trace: the same for the same things, in every process."""

from slakeeper.otp.sim import SimSystem
from slakeeper.otp.sim_agenda import Agenda
from slakeeper.otp.sim_trace import Trace, plain


def test_a_line_shows_the_time_since_the_start_and_what_happened() -> None:
    lines: list[str] = []
    trace = Trace(1_000, lines.append)
    trace.line(1_000 + 90_061_005, "cell-0", "did", {"a": 1})
    assert lines == ["1d 01:01:01.005 cell-0     did {'a': 1}"]


def test_object_addresses_and_the_order_of_sets_do_not_show() -> None:
    assert plain("<thing at 0x7f00deadbeef>") == "<thing at 0x…>"
    assert plain({"names": {"b", "a", "c"}}) == "{'names': ['a', 'b', 'c']}"


def test_a_long_text_is_cut() -> None:
    assert len(plain("x" * 10_000)) < 200


def agenda() -> Agenda:
    return SimSystem(1).agenda


def test_things_happen_in_the_order_of_their_times() -> None:
    found, times = [], agenda()
    start_ms = times.now_ms()
    for delay_ms in (3, 1, 2):
        times.after(delay_ms, lambda: found.append(times.now_ms() - start_ms))
    times.run_until(start_ms + 10)
    assert found == [1, 2, 3]
    assert times.now_ms() == start_ms + 10


def test_after_a_jump_what_was_due_happens_late_and_in_order() -> None:
    found, times = [], agenda()
    start_ms = times.now_ms()
    times.after(5, lambda: times.jump(100))
    for delay_ms in (20, 10):
        times.after(delay_ms, lambda delay_ms=delay_ms: found.append((delay_ms, times.now_ms() - start_ms)))  # type: ignore[misc]
    times.run_until(start_ms + 200)
    assert found == [(10, 105), (20, 105)]
