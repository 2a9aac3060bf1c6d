"""Regular expressions whose cost is bounded: for what people type into a running system.

Python's own can take for ever on a short text: ``(a+)+b`` against thirty ``a``. Here a pattern becomes a small machine
whose states are all followed at once (K. Thompson, "Regular Expression Search Algorithm", CACM 11(6), 1968), so that a
match costs at most the machine's size times the length of the text, both of which are limited.

Understood are the parts that RE2, Alertmanager's engine, and Python have in common and that names need: literals,
``.``, ``[a-z]``, ``[^a-z]``, ``\\d \\w \\s`` and their capitals, escaped punctuation, ``( )``, ``(?: )``, ``|``, ``*``,
``+``, ``?`` and ``{m,n}``. A pattern has to match the whole text. Everything else is refused by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

MAX_PATTERN_CHARS = 200

MAX_TEXT_CHARS = 500
"""Longer texts match no pattern."""

# With MAX_TEXT_CHARS: a bound of a quarter of a million steps for one match: some 50 ms.
MAX_STATES = 500

# Groups in groups; each costs a few calls of the reader.
_MAX_DEPTH = 20

_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
# As RE2 has them: of ASCII alone.
_CLASSES = {"d": frozenset("0123456789"), "w": frozenset(_WORD), "s": frozenset(" \t\n\r\f\v")}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}


class PatternError(ValueError):
    """It is no pattern, or one of more than is allowed; the text says what is wrong and where."""


_Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _State:
    """One state of the machine: it takes a character that passes ``test``, or (None) is all of ``to`` at once."""

    test: _Test | None
    to: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern ready to match; made by :func:`compile_pattern`."""

    _states: tuple[_State, ...]
    _start: int
    _end: int

    def matches(self, text: str) -> bool:
        """Whether all of ``text`` matches; False for one of more than MAX_TEXT_CHARS."""
        if len(text) > MAX_TEXT_CHARS:
            return False
        here = self._closure({self._start})
        for character in text:
            reached: set[int] = set()
            for number in here:
                state = self._states[number]
                if state.test is not None and state.test(character):
                    reached.update(state.to)
            if not reached:
                return False
            here = self._closure(reached)
        return self._end in here

    def _closure(self, numbers: set[int]) -> set[int]:
        """These states and all that are reached from them without a character."""
        seen, left = set(numbers), list(numbers)
        while left:
            state = self._states[left.pop()]
            if state.test is None:
                for number in state.to:
                    if number not in seen:
                        seen.add(number)
                        left.append(number)
        return seen


@lru_cache(maxsize=1_000)
def compile_pattern(source: str) -> Pattern:
    """Reads a pattern.

    Raises:
        PatternError: it cannot be read, is longer than MAX_PATTERN_CHARS, or needs more than MAX_STATES.
    """
    if len(source) > MAX_PATTERN_CHARS:
        raise PatternError(f"a pattern has at most {MAX_PATTERN_CHARS} characters")
    reader = _Reader(source)
    tree = reader.alternatives(0)
    if reader.at < len(source):
        raise PatternError(f"there is a ) too many at {reader.at + 1} of {source!r}")
    machine = _Machine()
    end = machine.state(None, ())
    start = machine.build(tree, end)
    return Pattern(tuple(machine.states), start, end)


@dataclass(frozen=True, slots=True)
class _One:
    test: _Test


@dataclass(frozen=True, slots=True)
class _All:
    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Any:
    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: "_Node"
    least: int
    most: int | None


_Node = _One | _All | _Any | _Repeat
"""What a pattern is read into."""


def _literal(wanted: str) -> _One:
    return _One(lambda character: character == wanted)


class _Machine:
    """Builds states from the end to the start, since each names those it leads to."""

    def __init__(self) -> None:
        self.states: list[_State] = []
        self._parts = 0

    def state(self, test: _Test | None, to: tuple[int, ...]) -> int:
        if len(self.states) >= MAX_STATES:
            raise PatternError(f"the pattern is too large: it needs more than {MAX_STATES} states")
        self.states.append(_State(test, to))
        return len(self.states) - 1

    def build(self, node: _Node, end: int) -> int:
        """The state from which ``node`` leads to ``end``."""
        self._parts += 1
        if self._parts > 4 * MAX_STATES:  # nothing at all, repeated again and again, needs no states
            raise PatternError("the pattern is too large")
        match node:
            case _One(test):
                return self.state(test, (end,))
            case _All(parts):
                for part in reversed(parts):
                    end = self.build(part, end)
                return end
            case _Any(parts):
                return self.state(None, tuple(self.build(part, end) for part in parts))
            case _Repeat(part, least, most):
                return self._repeat(part, least, most, end)

    def _repeat(self, part: _Node, least: int, most: int | None, end: int) -> int:
        if most is None:
            loop = self.state(None, ())
            self.states[loop] = _State(None, (self.build(part, loop), end))
            end = loop
        else:
            last = end
            for _ in range(most - least):
                end = self.state(None, (self.build(part, end), last))
        for _ in range(least):
            end = self.build(part, end)
        return end


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def alternatives(self, depth: int) -> _Node:
        if depth > _MAX_DEPTH:
            raise PatternError(f"groups are more than {_MAX_DEPTH} deep")
        parts = [self._sequence(depth)]
        while self._take("|"):
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else _Any(tuple(parts))

    def _sequence(self, depth: int) -> _Node:
        parts: list[_Node] = []
        while self.at < len(self.source) and self.source[self.at] not in "|)":
            parts.append(self._repeated(self._atom(depth)))
        return _All(tuple(parts))

    def _repeated(self, node: _Node) -> _Node:
        sign = self.source[self.at : self.at + 1]
        if sign in _REPEATS:
            self.at += 1
            least, most = _REPEATS[sign]
        elif sign == "{":
            least, most = self._counts()
        else:
            return node
        if self.source[self.at : self.at + 1] in ("*", "+", "?", "{"):
            raise self._error("a repetition cannot be repeated, or be lazy or possessive: use a group")
        return _Repeat(node, least, most)

    def _counts(self) -> tuple[int, int | None]:
        close = self.source.find("}", self.at)
        least, comma, most = self.source[self.at + 1 : close].partition(",")
        if close < 0 or not least.isdecimal() or (most and not most.isdecimal()):
            raise self._error("a number of repetitions is written {2}, {2,} or {2,5}; a brace itself \\{")
        counts = int(least), int(most) if most else (None if comma else int(least))
        if (counts[1] is not None and counts[1] < counts[0]) or counts[0] > MAX_STATES:
            raise self._error("this is no number of repetitions")
        self.at = close + 1
        return counts

    def _atom(self, depth: int) -> _Node:
        sign = self._next()
        match sign:
            case "(":
                if self._take("?") and not self._take(":"):
                    raise self._error("of groups with ? there is only (?: )")
                node = self.alternatives(depth + 1)
                if not self._take(")"):
                    raise self._error("a ) is missing")
                return node
            case "[":
                return _One(self._class())
            case ".":
                return _One(lambda character: character != "\n")
            case "\\":
                found = self._escaped()
                if isinstance(found, str):
                    return _literal(found)
                return _One(found)
            case "^" | "$":
                raise self._error(f"a pattern matches the whole text by itself, {sign} is not needed")
            case "*" | "+" | "?" | "{":
                raise self._error(f"there is nothing before {sign} to be repeated")
            case "]" | "}":
                raise self._error(f"a {sign} by itself is written \\{sign}")
            case _:
                return _literal(sign)

    def _class(self) -> _Test:
        negated = self._take("^")
        single: set[str] = set()
        ranges: list[tuple[str, str]] = []
        tests: list[_Test] = []
        first = True
        while first or not self._take("]"):
            first = False
            low = self._member()
            if not isinstance(low, str):
                tests.append(low)
                continue
            if self.source[self.at : self.at + 1] == "-" and self.source[self.at + 1 : self.at + 2] not in (
                "]",
                "",
            ):
                self.at += 1
                high = self._member()
                if not isinstance(high, str) or high < low:
                    raise self._error("this is no range of characters")
                ranges.append((low, high))
            else:
                single.add(low)

        def test(character: str) -> bool:
            found = (
                character in single
                or any(low <= character <= high for low, high in ranges)
                or any(each(character) for each in tests)
            )
            return found is not negated

        return test

    def _member(self) -> str | _Test:
        sign = self._next()
        if sign == "[":
            raise self._error("a [ within [ ] is written \\[")
        return self._escaped() if sign == "\\" else sign

    def _escaped(self) -> str | _Test:
        sign = self._next()
        members = _CLASSES.get(sign.lower())
        if members is not None:
            wanted = sign.islower()
            return lambda character: (character in members) is wanted
        if sign in _ESCAPES:
            return _ESCAPES[sign]
        if sign.isascii() and not sign.isalnum():
            return sign
        raise self._error(f"\\{sign} is not understood")

    def _next(self) -> str:
        if self.at >= len(self.source):
            raise self._error("the pattern is not complete")
        self.at += 1
        return self.source[self.at - 1]

    def _take(self, sign: str) -> bool:
        if not self.source.startswith(sign, self.at):
            return False
        self.at += len(sign)
        return True

    def _error(self, why: str) -> PatternError:
        return PatternError(f"{why}, at {self.at} of {self.source!r}")
