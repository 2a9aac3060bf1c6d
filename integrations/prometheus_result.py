"""What Prometheus answers, as numbers: of an instant query one, of a range query a series."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from slakeeper.integrations.source import Gap, Reading
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.sample import Sample

# Tells the queries of one expression apart. No exporter has it.
_NUMBER_LABEL = "slakeeper_query"

# PromQL's three kinds of strings, and comments.
_TEXT_OR_COMMENT = re.compile(r"""\"(?:\\.|[^"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`[^`]*`|#[^\n]*""")
_QUOTES = frozenset("\"'`")
_CLOSING = {")": "(", "]": "[", "}": "{"}


def joined(queries: Sequence[str]) -> str:
    """One expression for several that are vectors each; :func:`parted` takes its result apart."""
    return " or ".join(
        # A query may end in a comment, which a line's end ends.
        f'label_replace((\n{query}\n), "{_NUMBER_LABEL}", "{number}", "", "")'
        for number, query in enumerate(queries)
    )


def is_whole(query: str) -> bool:
    """Whether a query stays one among others: its strings end, and its brackets do and begin before they end.

    The server says whether there is sense in it; but ``a) or (b``, which alone has none, would have some then.
    """
    text = _TEXT_OR_COMMENT.sub(" ", query)
    open_signs: list[str] = []
    for sign in text:
        if sign in _CLOSING.values():
            open_signs.append(sign)
        elif sign in _CLOSING and (not open_signs or open_signs.pop() != _CLOSING[sign]):
            return False
    return not open_signs and not _QUOTES.intersection(text)


def parted(kind: str, result: Any, count: int, wanted: str = "vector") -> list[list[Any]] | None:
    """The series of each of ``count`` joined queries; None when the result makes no sense."""
    if kind != wanted or not isinstance(result, list):
        return None
    parts: list[list[Any]] = [[] for _ in range(count)]
    for series in result:
        match series:
            case {"metric": {"slakeeper_query": str(text)}} if text.isdecimal() and int(text) < count:
                parts[int(text)].append(series)
            case _:
                return None
    return parts


def reading_of(metric: str, kind: str, result: Any) -> Reading:
    """One number from the result of an instant query."""
    match kind, result:
        case "vector", []:
            return Reading(metric, None, None, "no data: the result is empty", is_silence=True)
        case "vector", [{"value": [ts, value]}]:
            return _number(metric, ts, value)
        case "scalar", [ts, value]:
            return _number(metric, ts, value)
        case _:
            return Reading(metric, None, None, _refusal(kind, "vector", result))


def _number(metric: str, ts: Any, value: Any) -> Reading:
    try:
        # Python takes more for a number than JSON and Prometheus do.
        if isinstance(value, bool) or isinstance(ts, bool) or "_" in f"{value}{ts}":
            raise ValueError
        number, at_ms = float(value), round(float(ts) * SECOND_MS)
    except (TypeError, ValueError, OverflowError):
        return Reading(metric, None, None, f"not a number: {value!r} at {ts!r}"[:200])
    if math.isnan(number):
        return Reading(metric, None, None, "no data: the value is NaN", is_silence=True)
    if not math.isfinite(number):
        return Reading(metric, None, None, f"the value is {value}")
    return Reading(metric, number, at_ms)


def samples_of(kind: str, result: Any, gap: Gap) -> tuple[list[Sample], str | None]:
    """The samples of the one series of a range query that lie in the gap; or what is wrong.

    Those that are no number are left out. They are in the order of time, each instant once, whatever the server says.
    """
    match kind, result:
        case "matrix", []:
            return [], None
        case "matrix", [{"values": list(pairs)}]:
            samples: dict[int, float] = {}
            for pair in pairs:
                match pair:
                    case [ts, value]:
                        reading = _number("", ts, value)
                        at_ms = reading.ts_ms
                        if (
                            reading.value is not None
                            and at_ms is not None
                            and gap.from_ms <= at_ms <= gap.to_ms
                        ):
                            samples[at_ms] = reading.value
                    case _:
                        return [], _refusal(kind, "matrix", result)
            return sorted(samples.items()), None
        case _:
            return [], _refusal(kind, "matrix", result)


def _refusal(kind: str, wanted: str, result: Any) -> str:
    match kind, result:
        case _, [{"histogram": _} | {"histograms": _}]:
            return "the result is a histogram: take a quantile of it"
        case (("vector" | "matrix"), [_, _, *_]) if kind == wanted:
            return f"{len(result)} series where one number is wanted: aggregate them"
        case (("vector" | "matrix" | "string" | "scalar"), _) if kind != wanted:
            return f"the result is a {kind} where one number is wanted"
        case _:
            return f"a result that makes no sense: {json.dumps(result)[:200]}"
