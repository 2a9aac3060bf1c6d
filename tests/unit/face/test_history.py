"""A history is read from what people have: CSV, NDJSON, gzipped, with mistakes in it."""

import gzip
import io
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slakeeper.history import LISTED, Addressee, Block, History, HistoryError

T0_MS = 1_767_225_600_000

Read = list[tuple[Addressee, int, int, float]]


def read(data: bytes, from_ms: int | None = None, to_ms: int | None = None) -> tuple[History, Read]:
    history = History(io.BytesIO(data), from_ms, to_ms)
    return history, [row for block in history.blocks() for row in rows(block)]


def rows(block: Block) -> Read:
    addressees: Sequence[Addressee] = (
        [block.addressees] * len(block.ts_ms) if isinstance(block.addressees, Addressee) else block.addressees
    )
    return list(zip(addressees, block.clock_ms, block.ts_ms, block.values, strict=True))


LATENCY = Addressee("latency")
PLAIN = f"ts,metric,value\n{T0_MS},latency,1.5\n{T0_MS + 10},latency,2\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.removesuffix("\n"),
        "\ufeff" + PLAIN,
        f"Value , metric,TS\n1.5,latency,{T0_MS}\n2, latency ,{T0_MS + 10}\n",
        f'"ts","metric","value"\n"{T0_MS}","latency","1.5"\n{T0_MS + 10},latency,2\n',
        f"ts,metric,value\n\n{T0_MS},latency,1.5\n\n{T0_MS + 10},latency,2\n\n",
        "ts,metric,value\n2026-01-01T00:00:00Z,latency,1.5\n2026-01-01 01:00:00.010+01:00,latency,2\n",
        (
            f'{{"ts": {T0_MS}, "metric": "latency", "value": 1.5}}\n\n'
            f'{{"ts": {T0_MS + 10}, "metric": "latency", "value": 2}}\n'
        ),
        f"metric,ts,value,host\nlatency,{T0_MS},1.5,a\nlatency,{T0_MS + 10},2,b",
    ],
)
def test_every_way_to_write_a_history_reads_the_same(text: str) -> None:
    expected = [(LATENCY, T0_MS, T0_MS, 1.5), (LATENCY, T0_MS + 10, T0_MS + 10, 2.0)]
    for data in (text.encode(), gzip.compress(text.encode())):
        history, found = read(data)
        assert (found, history.refused, history.count) == (expected, 0, 2)


def test_a_contract_and_labels_say_for_whom_a_sample_is() -> None:
    _, found = read(f"ts,metric,value,sla\n{T0_MS},latency,1,api\n{T0_MS},latency,1,\n".encode())
    assert [each[0] for each in found] == [Addressee("latency", "api"), LATENCY]
    line = f'{{"ts": {T0_MS}, "metric": "latency", "value": 1, "sla": "api", "labels": {{"region": "eu"}}}}'
    _, found = read(line.encode())
    assert [each[0] for each in found] == [Addressee("latency", "api", (("region", "eu"),))]


def test_the_clock_is_the_greatest_instant_so_far() -> None:
    text = f"ts,metric,value\n{T0_MS + 50},latency,1\n{T0_MS},latency,2\n{T0_MS + 70},latency,3\n"
    history, found = read(text.encode())
    assert [(clock, ts) for _, clock, ts, _ in found] == [
        (T0_MS + 50, T0_MS + 50),
        (T0_MS + 50, T0_MS),
        (T0_MS + 70, T0_MS + 70),
    ]
    assert (history.first_ms, history.clock_ms) == (T0_MS + 50, T0_MS + 70)


BAD_LINES = {
    "x,latency,1": "not an instant",
    f"{T0_MS},latency,fast": "not_a_number: 'fast'",
    f"{T0_MS},latency,nan": "not_finite",
    f"{T0_MS},latency,inf": "not_finite",
    f"{T0_MS},,1": "missing_metric",
    f"{T0_MS // 1000},latency,1": "looks like seconds",
    "-5,latency,1": "before 1970",
    f"{T0_MS},latency": "it has 2 of 3 columns",
    f"{T0_MS},latency,1,2": "it has 4 of 3 columns",
    f"{T0_MS + 10**13},latency,1": "future",
    f"{T0_MS - 401 * 86_400_000},latency,1": "too_old",
}


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize(("bad", "reason"), BAD_LINES.items())
def test_a_bad_line_is_refused_with_its_number_and_spoils_no_other(
    bad: str, reason: str, quoted: bool
) -> None:
    good = [
        f"{T0_MS + number},{'latency' if not quoted else chr(34) + 'latency' + chr(34)},1"
        for number in range(6)
    ]
    history, found = read("\n".join(["ts,metric,value", *good[:3], bad, *good[3:]]).encode())
    assert len(found) == 6
    [(line, said)] = history.listed
    assert (line, history.refused) == (5, 1)
    assert reason in said


def test_bad_lines_of_ndjson_keep_their_numbers() -> None:
    good = f'{{"ts": {T0_MS}, "metric": "latency", "value": 1}}'
    lines = [good, "", "{", good, '{"metric": "latency", "value": 1}', '{"ts": 1, "value": 1}', good]
    history, found = read("\n".join(lines).encode())
    assert len(found) == 3
    assert sorted(history.listed) == [(3, "not_json"), (5, "missing_ts"), (6, "missing_metric")]


def test_the_list_of_refused_lines_is_bounded_and_their_number_is_not() -> None:
    history, _ = read(("ts,metric,value\n" + "x,latency,1\n" * 1_000).encode())
    assert (len(history.listed), history.refused) == (LISTED, 1_000)


@pytest.mark.parametrize(
    "data", [b"", b"time,value\n1,2\n", b"\x00\x01\x02", gzip.compress(PLAIN.encode(), mtime=0)[:-12]]
)
def test_what_is_no_history_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(HistoryError):
        read(data)


def test_samples_outside_the_wanted_time_are_counted_and_left_out() -> None:
    text = "ts,metric,value\n" + "".join(f"{T0_MS + number},latency,{number}\n" for number in range(10))
    history, found = read(text.encode(), T0_MS + 3, T0_MS + 7)
    assert [value for *_, value in found] == [3, 4, 5, 6]
    assert (history.count, history.outside, history.first_ms) == (4, 6, T0_MS + 3)


CELLS = st.text(alphabet='0123456789.,-e "\n\ralx', max_size=12)


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(st.one_of(CELLS, st.just(f"{T0_MS},latency,1")), max_size=30))
def test_no_text_breaks_the_reader(lines: list[str]) -> None:
    history, found = read(("ts,metric,value\n" + "\n".join(lines)).encode())
    assert history.count == len(found)


NUMBERS = st.sampled_from(
    ["1.5", "2", " 3", "4\r", "-0.0", ".5", "1.", "01", "+7", "1_0", "1e3", "1E400", "nan", "NaN", "Infinity", "null",
     "true", "[1]", "", "9" * 400, "0.1000000000000000055511151231257827", "1],[2", "5,null,6"]
)  # fmt: skip
LINES = st.one_of(
    st.builds(
        "{},latency,{}".format, st.sampled_from([T0_MS, T0_MS + 5, f" {T0_MS}", f"{T0_MS}.0"]), NUMBERS
    ),
    st.builds("{},latency,{:.17g}".format, st.just(T0_MS), st.floats(allow_nan=False)),
    st.builds("{},{},{}".format, NUMBERS, st.sampled_from(["latency", "1", "", "null", "]"]), NUMBERS),
    st.sampled_from(["", f"{T0_MS},1.5", f"{T0_MS},latency,1,latency,2", "1,null,2"]),
)


@pytest.mark.parametrize("plain_count", [0, 3])
@settings(max_examples=150, deadline=None)
@example(lines=[f"{T0_MS},latency,-0"], end="")
@given(lines=st.lists(LINES, min_size=1, max_size=4), end=st.sampled_from(["", "\n", "\n\n"]))
def test_numbers_taken_from_the_text_as_a_whole_are_those_of_its_fields(
    lines: list[str], end: str, plain_count: int
) -> None:
    text = "ts,metric,value\n" + "\n".join([f"{T0_MS},latency,1.25"] * plain_count + lines) + end
    history, found = read(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slakeeper.history._of_one_metric", lambda chunk: None)
        expected_history, expected = read(text.encode())
    assert found == expected
    assert [str(value) for *_, value in found] == [str(value) for *_, value in expected]
    assert (history.listed, history.refused) == (expected_history.listed, expected_history.refused)


def test_a_history_of_one_metric_is_not_cut_into_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this nothing above would be tested."""

    def never(chunk: bytes, width: int) -> None:
        raise AssertionError("cut")

    monkeypatch.setattr("slakeeper.history._split", never)
    text = "ts,metric,value\r\n" + "".join(
        f"{T0_MS + number},latency,{number / 8}\r\n" for number in range(9)
    )
    _, found = read(text.encode())
    assert [value for *_, value in found] == [number / 8 for number in range(9)]
