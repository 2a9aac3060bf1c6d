"""What happened in a simulated run, one line an event, the same for the same seed on every machine."""

import re
from collections.abc import Callable
from typing import Any

# Texts that come from payloads and exceptions may hold the address of an object: it differs from run to run.
_OBJECT_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")

# A payload may be a batch of thousands of samples.
_MAX_TEXT_CHARS = 160


class Trace:
    """Writes lines somewhere, or nowhere: without ``write`` nothing is formatted.

    Args:
        start_ms: the instant that is shown as 0 [Unix ms].
        write: gets each line, without its end.
    """

    def __init__(self, start_ms: int, write: Callable[[str], object] | None = None) -> None:
        self.is_on = write is not None
        self._start_ms = start_ms
        self._write = write

    def line(self, now_ms: int, where: str, what: str, *details: Any) -> None:
        """Writes one line: the time since the start, a cell or client, what happened, and details as text."""
        if self._write is None:
            return
        since_ms = now_ms - self._start_ms
        days, rest = divmod(since_ms, 86_400_000)
        hours, rest = divmod(rest, 3_600_000)
        minutes, rest = divmod(rest, 60_000)
        when = f"{days}d {hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"
        self._write(f"{when} {where:<10} {' '.join([what, *map(plain, details)])}".rstrip())


def plain(value: Any) -> str:
    """A value as one bounded line without object addresses; the same in every process, sets sorted."""
    text = value if isinstance(value, str) else repr(_ordered(value))
    text = _OBJECT_ADDRESS.sub("0x…", text).replace("\n", "\\n")
    return text if len(text) <= _MAX_TEXT_CHARS else text[:_MAX_TEXT_CHARS] + "…"


def _ordered(value: Any) -> Any:
    """Plain values with their sets as sorted lists: the order of a set differs from process to process."""
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_ordered(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_ordered, value), key=repr)
    return value
