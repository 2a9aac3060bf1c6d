"""Turns one file's values into models, and every error into a :class:`Problem` with its line and advice."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from slakeeper.config.document import Document
from slakeeper.config.problem import MAX_PROBLEMS, Place, Problem, one_line, show_place
from slakeeper.config.schema import Located, keys_of, locate, map_texts

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_QUOTED = re.compile(r"'([^']*)'")

# A value that is wrong as YAML is not judged again; its key is.
_ABOUT_KEYS = frozenset({"unknown_key", "duplicate_key"})

# A program's arguments may hold a shell script of their own, with that shell's variables.
_OWN_VARIABLES = "argv"

# Comparing words is slow: a file of thousands of slips must not take minutes.
_MAX_CANDIDATES = 500

_Model = TypeVar("_Model", bound=BaseModel)


def suggest(word: object, known: Collection[str], *, enumerate_known: bool = True) -> str:
    """``", did you mean 'metrics'?"``; without a likely one what is known, when it is little; or nothing."""
    few = len(known) <= _MAX_CANDIDATES and isinstance(word, str) and len(word) <= _MAX_CANDIDATES
    close = get_close_matches(str(word), known, n=1, cutoff=0.6) if few else []
    if close:
        return f", did you mean {close[0]!r}?"
    return f"; known here: {', '.join(sorted(known))}" if enumerate_known and 0 < len(known) <= 12 else ""


@dataclass
class Reading:
    """One file being read.

    Attributes:
        document: the file's values and lines.
        environ: what ``${NAME}`` in secret fields may name.
        root: where the section begins: ``()``, or below the seed's nesting key.
        moved: places of values that were given in another spelling, with the place in the file.
        problems: found so far.
    """

    document: Document
    environ: Mapping[str, str]
    root: Place = ()
    moved: dict[Place, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def section(self, nesting_key: str | None = None) -> dict[str, Any] | None:
        """The mapping at the file's top, or under the seed's ``nesting_key``; None, with a problem, if it is none."""
        value = self.document.value
        if self.document.broken:
            return None
        if isinstance(value, dict) and nesting_key is not None and nesting_key in value:
            for key in value:
                if key != nesting_key:
                    self.report(
                        (key,),
                        "unknown_key",
                        f"beside {nesting_key!r} no other key can stand, and here is {key!r}",
                    )
            value = value[nesting_key]
            self.root = (nesting_key,)
        if isinstance(value, dict):
            return value
        self.report((), "not_a_mapping", "keys with values should stand here, not a list or a single value")
        return None

    def report(self, place: Place, reason: str, message: str) -> None:
        """Notes a problem at a place counted from the section's root."""
        for length in range(len(place), 0, -1):
            origin = self.moved.get(place[:length])
            if origin is not None:
                place = origin + place[length:]
                break
        whole = self.root + place
        if self.is_full or (reason not in _ABOUT_KEYS and self.document.has_problem_at(whole)):
            return
        line = self.document.line(whole)
        if len(self.problems) == MAX_PROBLEMS - 1:
            reason, message = (
                "too_many_problems",
                f"there are {MAX_PROBLEMS} problems or more; the first are shown",
            )
        self.problems.append(Problem(self.document.file, line, show_place(whole), reason, one_line(message)))

    @property
    def is_full(self) -> bool:
        """So many problems were found that no more are looked for."""
        return len(self.problems) >= MAX_PROBLEMS

    def line(self, place: Place) -> int:
        """The line of a place counted from the section's root."""
        return self.document.line(self.root + place)

    def read(self, model: type[_Model], value: Any, place: Place = ()) -> _Model | None:
        """Validates ``value``, which stands at ``place``; None when that reported problems."""
        if self.is_full:
            return None
        before = len(self.problems)
        if self.document.has_placeholders:
            value = map_texts(model, value, lambda text, at, secret: self._expand(text, place + at, secret))
        try:
            result = model.model_validate(value)
        except ValidationError as error:
            self._report_all(error.errors(include_url=False), model, value, place)
            return None
        return result if len(self.problems) == before else None

    def _expand(self, text: str, place: Place, secret: bool) -> str:
        names = _PLACEHOLDER.findall(text)
        if not names or _OWN_VARIABLES in place:
            return text
        if not secret:
            self.report(
                place,
                "misplaced_environment",
                f"${{{names[0]}}} stands in a field that is no secret: environment variables fill only secrets, "
                "such as passwords, tokens and routing keys",
            )
            return text
        for name in names:
            if name not in self.environ:
                self.report(place, "missing_environment", f"the environment variable {name} is not set")
        return _PLACEHOLDER.sub(lambda match: self.environ.get(match[1], match[0]), text)

    def _report_all(
        self, errors: Iterable[ErrorDetails], model: type[BaseModel], value: Any, place: Place
    ) -> None:
        seen: set[Place] = set()
        known = {(problem.line, problem.path) for problem in self.problems}
        for error in errors:
            if self.is_full:
                return
            if error["type"] == "too_short" and error["input"]:
                continue  # there are items, and their own errors are reported
            located = locate(model, value, error["loc"])
            # A value that fits no member of a union is reported once for each member.
            if (
                len(located.place) < len(error["loc"])
                and located.place in seen
                and error["type"] != "extra_forbidden"
            ):
                continue
            seen.add(located.place)
            where, reason, message = explain(error, located)
            whole = self.root + place + where
            if (self.document.line(whole), show_place(whole)) not in known:
                self.report(place + where, reason, message)


# What a text has to look like, in words.
_FORMS = {r"^[\w.]+:[\w.]+$": "module:function, such as my_package.remedies:restart"}


def explain(error: ErrorDetails, located: Located) -> tuple[Place, str, str]:
    """One of pydantic's errors as (place, reason, message). Shows no value that may be secret."""
    kind, message, place = error["type"], error["msg"], located.place
    key = place[-1] if place else ""
    if kind == "extra_forbidden" and located.owner is not None:
        return place, *_explain_key(str(key), located.owner)
    if kind == "missing":
        return place, kind, f"{key!r} is missing"
    if kind == "union_tag_not_found":
        return (*place, "type"), "missing", "'type' is missing"
    if kind == "union_tag_invalid":
        context = error.get("ctx", {})
        known = _QUOTED.findall(str(context.get("expected_tags", "")))
        message = f"there is no type {context.get('tag')!r}" + suggest(context.get("tag"), known)
        return (*place, "type"), "unknown_type", message
    given = error["input"]
    if given is None:
        return place, kind, f"nothing stands after {key!r}: give a value, or leave the key out"
    if kind in {"enum", "literal_error"}:
        expected = _QUOTED.findall(str(error.get("ctx", {}).get("expected", "")))
        shown = repr(given) if isinstance(given, str) else "this"
        hint = suggest(given, expected, enumerate_known=False)
        return place, kind, f"{shown} is none of {', '.join(expected)}{hint}"
    if kind == "string_type" and isinstance(given, (int, Decimal)):
        text = str(given).lower() if isinstance(given, bool) else str(given)
        quoted = "" if located.is_secret else f', "{text}"'
        return place, kind, f"text should stand here: write it in quotes{quoted}"
    if kind in {"tuple_type", "list_type"}:
        return place, kind, "a list should stand here, each item after a dash"
    if kind in {"dict_type", "model_type"}:
        return place, kind, "keys with values should stand here"
    if kind in {"too_short", "too_long"}:
        context = error.get("ctx", {})
        least = kind == "too_short"
        number = context.get("min_length" if least else "max_length", 1)
        items = "item" if number == 1 else "items"
        return place, kind, f"{key!r} has at {'least' if least else 'most'} {number} {items}"
    if kind == "string_too_short":
        return place, kind, f"{key!r} is empty"
    if kind == "string_pattern_mismatch":
        form = _FORMS.get(str(error.get("ctx", {}).get("pattern")), "in the form it has to have")
        shown = "this" if located.is_secret else repr(given)
        return place, kind, f"{shown} is not {form}"
    if kind == "bool_type":
        return place, kind, "true or false should stand here"
    if kind == "int_type":
        return place, kind, "a whole number should stand here"
    if kind in {"decimal_type", "decimal_parsing"}:
        return place, kind, "a number should stand here"
    return place, kind, message.replace("Input should", "this should")


def _explain_key(key: str, owner: type[BaseModel]) -> tuple[str, str]:
    keys = keys_of(owner)
    if key in keys:
        others = [other for other, name in keys.items() if name == keys[key] and other != key]
        message = f"{key!r} is another spelling of {' or '.join(map(repr, others))}: give one of them"
        return "duplicate_key", message
    hint = suggest(key, [known for known in keys if known[-1] != "_"])
    return "unknown_key", f"there is no key {key!r} here{hint}"
