"""Compensation formulas: one arithmetic expression over a violation, read once and evaluated exactly.

A formula is text from a contract, so it is data of a stranger. It is split into known tokens first, parsed with
Python's grammar and translated node by node from a short list; whatever is not on the list is refused when the
contract is loaded. Nothing is ever handed to ``eval``.

Arithmetic is exact (:mod:`slakeeper.sla.rational`): ``10 / 3 * 3`` is 10, and ``10 * (99.999 - 99.5)`` is ``4.990``.
"""

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from pydantic_core import PydanticCustomError

from slakeeper.sla.rational import (
    MAX_BITS,
    Exact,
    InexactError,
    Operation,
    add,
    divide,
    exact,
    exact_decimal,
    multiply,
    power,
    round_half_away,
    subtract,
    within,
)

NAMES = (
    "threshold",
    "actual",
    "deviation",
    "duration_s",
    "duration_min",
    "base_amount",
    "rate",
    "service_level",
    "attainment",
)
"""What a formula may name: the promise [metric unit], the worst value [same], their distance [%], how long the
violation was [s], [min], the base of a refund [currency], the rule's rate, target and attainment of the period [%]."""

LEFT_SIDES = ("credit", "refund", "service_credit")
FUNCTIONS = ("min", "max", "abs", "round", "ceil", "floor")

MAX_LENGTH = 500
MAX_DEPTH = 64
MAX_NODES = 150
MAX_EXPONENT = 32
MAX_PLACES = 20

# A formula whose values could pass MAX_BITS with names of ordinary size (28 digits) is refused at loading.
_NAME_BITS = 96

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|<=|>=|==|!=|[-+*/()<>,]))",
    re.ASCII,
)
_LEFT_SIDE = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)", re.ASCII)


class FormulaError(ValueError):
    """A formula that loads cannot be evaluated with these values: division by zero, no value for a name, too large."""


_Values = Mapping[str, Exact]


@dataclass(frozen=True, slots=True)
class _Term:
    """A translated node: how to evaluate it, a bound of its size [bits], its value when it has no names in it."""

    evaluate: Callable[[_Values], Exact]
    bits: int
    constant: Exact | None = None


def check_formula(text: str) -> None:
    """Refuses a formula that could not be evaluated when the money is due.

    Args:
        text: an expression, or ``credit = expression``, at most 500 characters.

    Raises:
        PydanticCustomError: ``invalid_formula`` with the reason.
    """
    compile_formula(text)


@lru_cache(maxsize=256)
def compile_formula(text: str) -> Callable[[Mapping[str, Decimal | Fraction | float]], Decimal]:
    """Translates a formula once.

    Args:
        text: numbers, ``+ - * / ** ( )``, comparisons (1 or 0), ``a if condition else b``, ``min max abs round ceil
            floor`` and :data:`NAMES`. ``round(x)`` and ``round(x, places)`` round halves away from zero, as invoices
            do. An exponent is a whole constant of at most 32.

    Returns:
        A function from values by name to the amount. Floats count as their shortest text. The result is exact when
        a decimal can hold it, otherwise it has 28 digits. It raises :class:`FormulaError` when the values do not
        allow a result. It takes at most a few milliseconds whatever the values are.

    Raises:
        PydanticCustomError: ``invalid_formula`` with the reason.
    """
    expression = _expression(text)
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise _refused(text, f"cannot be read: {reason}") from error
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES * 2:
        raise _refused(text, "has too many operations")
    term = _Translator(text, expression).term(tree.body, 0)
    names = formula_names(expression)

    def evaluate(values: Mapping[str, Decimal | Fraction | float]) -> Decimal:
        try:
            result = term.evaluate({name: exact(values[name]) for name in names})
        except InexactError as error:
            raise FormulaError(f"formula {expression!r} has no result: {error}") from error
        except KeyError as error:
            raise FormulaError(f"formula {expression!r} has no value for {error.args[0]}") from error
        return exact_decimal(result.value, result.places)

    return evaluate


def right_side(text: str) -> str:
    """A formula on one line without its ``credit =``."""
    line = " ".join(text.split())
    match = _LEFT_SIDE.match(line)
    return line[match.end() :].strip() if match else line


def formula_names(text: str) -> frozenset[str]:
    """Which of :data:`NAMES` a formula uses."""
    return frozenset(word for word in re.findall(r"[A-Za-z_]\w*", right_side(text)) if word in NAMES)


def _refused(text: str, reason: str) -> PydanticCustomError:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return PydanticCustomError(
        "invalid_formula", "formula {formula} {reason}", {"formula": repr(shown), "reason": reason}
    )


def _expression(text: str) -> str:
    """The right side on one line, made of known tokens only."""
    if len(text) > MAX_LENGTH:
        raise _refused(text, f"is longer than {MAX_LENGTH} characters")
    if (match := _LEFT_SIDE.match(" ".join(text.split()))) and match[1] not in LEFT_SIDES:
        raise _refused(text, f"has {match[1]!r} on its left side; write 'credit = …' or only the right side")
    line = right_side(text)
    if not line:
        raise _refused(text, "is empty")
    position = depth = 0
    while position < len(line):
        token = _TOKEN.match(line, position)
        if token is None:
            raise _refused(text, f"has {line[position:].strip()[:10]!r}, which no formula may contain")
        word = token["word"]
        if word and word not in (*NAMES, *FUNCTIONS, "if", "else"):
            raise _refused(text, f"names {word!r}; known are {', '.join(NAMES)} and {', '.join(FUNCTIONS)}")
        depth += {"(": 1, ")": -1}.get(token["sign"] or "", 0)
        if depth > MAX_DEPTH:
            raise _refused(text, "is nested too deeply")
        position = token.end()
    return line


_BINARY: dict[type[ast.operator], Operation] = {
    ast.Add: add,
    ast.Sub: subtract,
    ast.Mult: multiply,
    ast.Div: divide,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Fraction, Fraction], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}


class _Translator:
    """From Python's syntax tree to terms, refusing every node that is not listed here."""

    def __init__(self, text: str, expression: str) -> None:
        self._text = text
        self._expression = expression

    def term(self, node: ast.expr, depth: int) -> _Term:
        if depth > MAX_DEPTH:
            raise _refused(self._text, "is nested too deeply")
        match node:
            case ast.Constant():
                # The token, not the float Python made of it: 0.1 is a tenth here.
                return self._constant(self._expression[node.col_offset : node.end_col_offset])
            case ast.Name(id=name) if name in NAMES:
                return self._made(lambda values: values[name], _NAME_BITS, ())
            case ast.UnaryOp(op=ast.UAdd()):
                return self.term(node.operand, depth + 1)
            case ast.UnaryOp(op=ast.USub()):
                inner = self.term(node.operand, depth + 1)
                return self._apply(lambda a: Exact(-a[0].value, a[0].places), inner.bits, (inner,))
            case ast.BinOp(op=ast.Pow()):
                return self._pow(node, depth)
            case ast.BinOp(op=op) if type(op) in _BINARY:
                left, right = self.term(node.left, depth + 1), self.term(node.right, depth + 1)
                operate = _BINARY[type(op)]
                if operate is divide and right.constant and right.constant.value == 0:
                    raise _refused(self._text, "divides by zero")
                return self._apply(lambda a: operate(a[0], a[1]), left.bits + right.bits + 1, (left, right))
            case ast.Compare():
                return self._compare(node, depth)
            case ast.IfExp():
                return self._if(node, depth)
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS and not node.keywords:
                return self._call(name, node.args, depth)
        raise _refused(self._text, f"contains {type(node).__name__.lower()}, which no formula may contain")

    def _constant(self, token: str) -> _Term:
        try:
            number = exact(Decimal(token))
        except (ArithmeticError, InexactError) as error:
            raise _refused(self._text, f"has a number out of range: {token[:20]}") from error
        return _Term(lambda _: number, number.bits, number)

    def _made(self, evaluate: Callable[[_Values], Exact], bits: int, parts: tuple[_Term, ...]) -> _Term:
        """A term; one made of constants only is evaluated now, so that ``1 / 0`` does not wait for its day."""
        if bits > MAX_BITS:
            raise _refused(self._text, "can grow too large")
        if not parts or any(part.constant is None for part in parts):
            return _Term(evaluate, bits)
        try:
            number = evaluate({})
        except InexactError as error:
            raise _refused(self._text, f"never has a result: {error}") from error
        return _Term(lambda _: number, number.bits, number)

    def _apply(self, operate: Callable[[list[Exact]], Exact], bits: int, parts: tuple[_Term, ...]) -> _Term:
        return self._made(lambda values: within(operate([p.evaluate(values) for p in parts])), bits, parts)

    def _whole(self, node: ast.expr, depth: int, limit: int, what: str) -> int:
        constant = self.term(node, depth + 1).constant
        if constant is None or constant.value.denominator != 1 or abs(constant.value) > limit:
            raise _refused(self._text, f"needs a whole constant of at most {limit} as {what}")
        return int(constant.value)

    def _pow(self, node: ast.BinOp, depth: int) -> _Term:
        base = self.term(node.left, depth + 1)
        exponent = self._whole(node.right, depth, MAX_EXPONENT, "an exponent")
        return self._apply(lambda a: power(a[0], exponent), base.bits * max(1, abs(exponent)), (base,))

    def _compare(self, node: ast.Compare, depth: int) -> _Term:
        if any(type(op) not in _COMPARE for op in node.ops):
            raise _refused(self._text, "contains a comparison that no formula may contain")
        parts = tuple(self.term(part, depth + 1) for part in (node.left, *node.comparators))
        relations = [_COMPARE[type(op)] for op in node.ops]

        def hold(numbers: list[Exact]) -> Exact:
            pairs = zip(relations, numbers, numbers[1:], strict=False)
            return Exact(Fraction(int(all(relation(a.value, b.value) for relation, a, b in pairs))))

        return self._apply(hold, 1, parts)

    def _if(self, node: ast.IfExp, depth: int) -> _Term:
        test, then, other = (self.term(part, depth + 1) for part in (node.test, node.body, node.orelse))

        def choose(values: _Values) -> Exact:
            return (then if test.evaluate(values).value != 0 else other).evaluate(values)

        return self._made(choose, max(then.bits, other.bits), (test, then, other))

    def _call(self, name: str, nodes: list[ast.expr], depth: int) -> _Term:
        if name in ("min", "max"):
            if len(nodes) < 2:
                raise _refused(self._text, f"calls {name} with fewer than two values")
            parts = tuple(self.term(part, depth + 1) for part in nodes)
            pick = min if name == "min" else max
            return self._apply(lambda a: pick(a, key=lambda n: n.value), max(p.bits for p in parts), parts)
        if len(nodes) != 1 and not (name == "round" and len(nodes) == 2):
            raise _refused(self._text, f"calls {name} with {len(nodes)} values")
        inner = self.term(nodes[0], depth + 1)
        if name == "round":
            places = self._whole(nodes[1], depth, MAX_PLACES, "places to round to") if len(nodes) == 2 else 0
            return self._apply(lambda a: round_half_away(a[0].value, places), inner.bits + 67, (inner,))
        if name == "abs":
            return self._apply(lambda a: Exact(abs(a[0].value), a[0].places), inner.bits, (inner,))
        whole = math.ceil if name == "ceil" else math.floor
        return self._apply(lambda a: Exact(Fraction(whole(a[0].value))), inner.bits, (inner,))
