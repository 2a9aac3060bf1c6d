"""An instant as people give it on the command line and in files of samples."""

from slakeeper.sla.duration import parse_instant

# Unix seconds of 2001 and of 2286: between them a number of seconds is an instant of our time.
LIKELY_S = (1_000_000_000, 10_000_000_000)


def read_ts(text: str) -> int:
    """A sample's time as people give it: Unix milliseconds, or ISO 8601.

    Raises:
        ValueError: neither; or a number that must have been meant as seconds.
    """
    if text.removeprefix("-").isdigit():
        at_ms = int(text)
        if at_ms < 0:
            raise ValueError(f"{text} is before 1970: give Unix milliseconds or ISO 8601")
        if LIKELY_S[0] <= at_ms < LIKELY_S[1]:
            raise ValueError(f"{text} looks like seconds; in Unix milliseconds it is {text}000")
        return at_ms
    try:
        return parse_instant(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an instant: give Unix milliseconds or ISO 8601") from error
