"""One YAML file as plain values, with the line of each, and without YAML's surprises.

PyYAML's C parser (libyaml) supplies events; the values are built here, because its constructors follow YAML
1.1, where ``NO`` is false, ``1:30`` is 90, ``010`` is 8 and the last of two equal keys wins in silence. All of
these are problems here. Dates stay text, and numbers with a point become exact decimals.

No message shows a value, which may be a secret, and no bare word but yes, no, on and off.

The builder keeps its own stack: neither nesting nor aliases can exhaust the interpreter's, and the number of
values is bounded as if every alias were written out.
"""

import re
import stat
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from slakeeper.config.problem import MAX_PROBLEMS, Place, Problem, one_line, show_place

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_VALUES: Final = 500_000
MAX_DEPTH: Final = 64
MAX_NUMBER_LENGTH: Final = 64
MAX_EXPONENT: Final = 40

# libyaml is optional in PyYAML's own builds; its wheels have it.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What YAML does not allow in a file, and a byte order mark that is not at its beginning.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_NUMBERLIKE = re.compile(r"[-+]?(0[0-9_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*_[0-9_.]*)")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAYBE_SPECIAL = frozenset("0123456789+-.~nNtTfFyYoO")
_PLAIN_STRING_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read.

    Attributes:
        file: its name as given.
        value: dict, list, str, int, Decimal, bool or None; shared where the file has aliases, so not to be changed.
        problems: what is wrong with it as YAML.
        broken: nothing of it can be used; ``value`` is None.
        has_placeholders: somewhere in it stands ``${``.
    """

    file: str
    value: Any = None
    problems: tuple[Problem, ...] = ()
    broken: bool = False
    has_placeholders: bool = False
    _line: int = 1
    _lines: dict[int, Any] = field(default_factory=dict, repr=False)
    _places: frozenset[Place] = frozenset()

    def line(self, place: Place) -> int:
        """The line (from 1) of the value at ``place``, or of the deepest value on the way that exists.

        A value under a key has the key's line.
        """
        line, container = self._line, self.value
        for step in place:
            try:
                line, container = self._lines[id(container)][step], container[step]
            except (KeyError, IndexError, TypeError):
                break
        return line

    def has_problem_at(self, place: Place) -> bool:
        """Whether the value at ``place``, or one around it, is already among ``problems``."""
        return any(place[: len(known)] == known for known in self._places)


def read_document(path: Path) -> Document:
    """Reads a YAML file. Never raises for what stands in it, nor for its absence.

    A missing or unreadable file is a broken document with one problem: ``missing_file``, ``unreadable_file``,
    ``not_a_file``, ``file_too_large``.
    """
    data = _bytes_of(path)
    return data if isinstance(data, Document) else parse_document(data, str(path))


def _bytes_of(path: Path) -> bytes | Document:
    """What stands in a file; a broken document when it cannot be read."""
    file = str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return _broken(file, "not_a_file", "this is not a regular file")
        if status.st_size > MAX_BYTES:
            return _too_large(file)
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)  # it may have grown since
    except FileNotFoundError:
        return _broken(file, "missing_file", "there is no such file")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return _broken(file, "unreadable_file", f"the file cannot be read: {reason}")
    return _too_large(file) if len(data) > MAX_BYTES else data


def read_documents(path: Path) -> tuple[Document, ...]:
    """Reads a YAML file in which several documents may stand; empty ones are left out.

    Returns:
        At least one; a file that cannot be used is a single broken document, as of :func:`read_document`.
    """
    data = _bytes_of(path)
    return (data,) if isinstance(data, Document) else parse_documents(data, str(path))


def parse_document(data: bytes, file: str) -> Document:
    """Reads YAML text (UTF-8) that came from ``file``; as :func:`read_document`."""
    return _parse(data, file, one_only=True)[0]


def parse_documents(data: bytes, file: str) -> tuple[Document, ...]:
    """Reads YAML text (UTF-8) that came from ``file``; as :func:`read_documents`."""
    documents = _parse(data, file, one_only=False)
    filled = tuple(each for each in documents if each.broken or each.problems or each.value is not None)
    return filled or (_empty(file),)


def _parse(data: bytes, file: str, *, one_only: bool) -> tuple[Document, ...]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return (_broken(file, "not_utf8", f"byte 0x{data[error.start]:02x} is not UTF-8 text", line),)
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        line = text.count("\n", 0, forbidden.start()) + 1
        if forbidden[0] == "\0":
            return (_broken(file, "nul_byte", "there is a NUL byte in the file", line),)
        message = f"there is a control character (U+{ord(forbidden[0]):04X}) in the file"
        return (_broken(file, "control_character", message, line),)
    builder = _Builder(file)
    documents: list[Document] = []
    try:
        for event in yaml.parse(text, _LOADER):
            if type(event) is yaml.DocumentStartEvent and builder.begun and not one_only:
                documents.append(builder.document(text))
                builder = _Builder(file, builder.count)
            builder.take(event)
    except _Unusable as error:
        builder.report(error.reason, error.message, error.line)
        return (Document(file, problems=tuple(builder.problems), broken=True),)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        message = getattr(error, "problem", None) or " ".join(str(error).split())
        if _indented_by_tab(text, line):
            message = "a tab at the start of a line: YAML wants spaces"
        builder.report("invalid_yaml", f"this is not YAML: {message}", line)
        return (Document(file, problems=tuple(builder.problems), broken=True),)
    if one_only and (not builder.begun or (builder.value is None and not builder.problems)):
        return (_empty(file),)
    return (*documents, builder.document(text))


def _indented_by_tab(text: str, line: int) -> bool:
    """Whether the blanks that line ``line`` (from 1) begins with have a tab among them."""
    lines = text.split("\n", line)
    begin = lines[line - 1] if line <= len(lines) else ""
    return "\t" in begin[: len(begin) - len(begin.lstrip())]


def _broken(file: str, reason: str, message: str, line: int = 1) -> Document:
    return Document(file, problems=(Problem(file, line, "", reason, message),), broken=True)


def _empty(file: str) -> Document:
    return _broken(file, "empty_file", "there is nothing in the file")


def _too_large(file: str) -> Document:
    return _broken(file, "file_too_large", f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB")


class _Unusable(Exception):
    """The rest of the file is not looked at."""

    def __init__(self, reason: str, message: str, line: int) -> None:
        super().__init__(message)
        self.reason, self.message, self.line = reason, message, line


class _Frame:
    """A mapping or list being filled; ``key`` is the mapping's key that waits for its value."""

    __slots__ = ("anchor", "begin", "container", "dropped", "key", "key_line", "line", "lines")

    def __init__(self, container: Any, line: int, anchor: str | None, begin: int) -> None:
        self.container = container
        self.lines: Any = {} if isinstance(container, dict) else []
        self.line = line
        self.anchor = anchor
        self.begin = begin
        self.key: str | None = None
        self.key_line = line
        self.dropped = False


class _Builder:
    """Builds the value of one document from parser events; ``count`` values stood before it in the file."""

    def __init__(self, file: str, count: int = 0) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.places: list[Place] = []
        self.value: Any = None
        self.line = 1
        self.lines: dict[int, Any] = {}
        self.begun = False
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self.count = count

    def document(self, text: str) -> Document:
        """What was built, of a file that holds ``text``."""
        return Document(
            self.file,
            self.value,
            tuple(self.problems),
            has_placeholders="${" in text,
            _line=self.line,
            _lines=self.lines,
            _places=frozenset(self.places),
        )

    def take(self, event: yaml.Event) -> None:
        """Handles one event.

        Raises:
            _Unusable: a limit is passed, or nothing sensible can follow.
        """
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent:
            self._open(event, {})
        elif kind is yaml.SequenceStartEvent:
            self._open(event, [])
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._close()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            if self.begun:
                raise _Unusable("several_documents", "only one document may stand in a file", _line(event))
            self.begun = True

    def report(self, reason: str, message: str, line: int, *, at_value: bool = False) -> None:
        """Notes a problem; with ``at_value`` the value there will not be judged again."""
        place = self._place()
        if at_value and not any(frame.dropped for frame in self._stack):
            self.places.append(place)
        self.problems.append(Problem(self.file, line, show_place(place), reason, one_line(message)))
        if len(self.problems) == MAX_PROBLEMS:
            raise _Unusable("too_many_problems", f"there are {MAX_PROBLEMS} problems up to here", line)

    def _place(self) -> Place:
        return tuple(
            (frame.key or "?") if isinstance(frame.container, dict) else len(frame.container)
            for frame in self._stack
            if not isinstance(frame.container, dict) or frame.key is not None
        )

    def _add_count(self, number: int, line: int) -> None:
        self.count += number
        if self.count > MAX_VALUES:
            raise _Unusable(
                "too_many_values",
                f"there are more than {MAX_VALUES} values, counting aliases as often as used",
                line,
            )

    def _scalar(self, event: Any) -> None:
        line = _line(event)
        plain = event.tag is None and event.implicit[0]
        if self._awaits_key():
            self._key(event.value, plain, line)
            return
        value: Any = event.value
        begin = self.count
        self._add_count(1, line)
        if plain:
            if not value or value[0] in _MAYBE_SPECIAL:
                value = self._plain(value, line)
        elif event.tag is not None and event.tag not in _PLAIN_STRING_TAGS:
            self._refuse_tag(line)
        if isinstance(value, str) and "\0" in value:
            self.report("nul_byte", "there is a NUL in this text", line, at_value=True)
        self._attach(value, line, event.anchor, begin)

    def _plain(self, text: str, line: int) -> Any:
        """The value of unquoted text that may be more than text."""
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _INTEGER.fullmatch(text):
            return int(text) if self._is_short(text, line) else 1
        if _DECIMAL.fullmatch(text):
            if not self._is_short(text, line):
                return Decimal(1)
            number = Decimal(text)
            if abs(number.adjusted()) <= MAX_EXPONENT:
                return number
            self.report("number_out_of_range", "this number is too large or too small", line, at_value=True)
            return Decimal(1)
        advice = None
        if text.lower() in _WORDS:
            advice = f'{text} is a word here and a truth there: write {_WORDS[text.lower()]}, or "{text}" in quotes'
        elif _SEXAGESIMAL.fullmatch(text):
            advice = "some read this as a number to base 60: write it in quotes, or a span such as 90s"
        elif _NUMBERLIKE.fullmatch(text):
            advice = "some read this as octal, hexadecimal or binary: write it in quotes, or as a plain decimal number"
        elif _NOT_FINITE.fullmatch(text):
            advice = "this is no finite number: write one, or the text in quotes"
        if advice:
            self.report("ambiguous_value", advice, line, at_value=True)
        return text

    def _is_short(self, text: str, line: int) -> bool:
        if len(text) <= MAX_NUMBER_LENGTH:
            return True
        self.report(
            "number_out_of_range", f"a number may have {MAX_NUMBER_LENGTH} characters", line, at_value=True
        )
        return False

    def _awaits_key(self) -> bool:
        return (
            bool(self._stack) and isinstance(self._stack[-1].container, dict) and self._stack[-1].key is None
        )

    def _key(self, text: str, plain: bool, line: int) -> None:
        frame = self._stack[-1]
        self._add_count(1, line)
        if "\0" in text:
            raise _Unusable("nul_byte", "there is a NUL in this key", line)
        frame.key, frame.key_line = text, line
        frame.dropped = text in frame.container
        if frame.dropped:
            first = frame.lines[text]
            self.report("duplicate_key", f"{text!r} stands here twice, first in line {first}", line)
        elif plain and text == "<<":
            frame.dropped = True
            self.report("merge_key", "'<<' is not understood here: write the keys out", line)
        elif plain and (text in _NULLS or text in _BOOLEANS or text.lower() in _WORDS or _is_number(text)):
            self.report("invalid_key", f'a key must be text: write "{text}" in quotes', line)

    def _open(self, event: Any, container: Any) -> None:
        line = _line(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _Unusable("too_deep", f"values are nested more than {MAX_DEPTH} deep", line)
        if self._awaits_key():
            raise _Unusable("invalid_key", "a key must be text, not a list or mapping", line)
        if event.tag is not None and event.tag != "!":
            self._refuse_tag(line)
        begin = self.count
        self._add_count(1, line)
        self._stack.append(_Frame(container, line, event.anchor, begin))
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)

    def _close(self) -> None:
        frame = self._stack.pop()
        self.lines[id(frame.container)] = frame.lines
        self._attach(frame.container, frame.line, frame.anchor, frame.begin)

    def _alias(self, event: Any) -> None:
        line = _line(event)
        if self._awaits_key():
            raise _Unusable("invalid_key", "a key must be text, not an alias", line)
        known = self._anchors.get(event.anchor)
        if known is None:
            inside = any(frame.anchor == event.anchor for frame in self._stack)
            what = "stands inside the value it names" if inside else "names no anchor above it"
            advice = f"this alias {what}: write text that begins with * in quotes"
            self.report("unknown_anchor", advice, line, at_value=True)
            known = (None, 1)
        begin = self.count
        self._add_count(known[1], line)
        self._attach(known[0], line, None, begin)

    def _attach(self, value: Any, line: int, anchor: str | None, begin: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, self.count - begin)
        if not self._stack:
            self.value, self.line = value, line
            return
        frame = self._stack[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
            frame.lines.append(line)
            return
        if not frame.dropped:
            frame.container[frame.key] = value
            frame.lines[frame.key] = frame.key_line
        frame.key, frame.dropped = None, False

    def _refuse_tag(self, line: int) -> None:
        advice = "tags are not understood here: leave it out, or write text that begins with ! in quotes"
        self.report("unknown_tag", advice, line, at_value=True)


def _is_number(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text) or _NUMBERLIKE.fullmatch(text))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
