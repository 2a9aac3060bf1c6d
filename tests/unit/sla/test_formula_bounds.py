"""No formula gets out of the allow-list, and none takes long: what it does is counted, not timed.

A formula of the largest size allowed, with the largest values allowed, does fewer than 300 operations on numbers of
at most 4096 bits each, which is a matter of a few milliseconds on any machine.
"""

import ast
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from slakeeper.sla import formula
from slakeeper.sla.formula import FUNCTIONS, MAX_LENGTH, MAX_NODES, NAMES, FormulaError, compile_formula
from slakeeper.sla.rational import MAX_BITS, Exact, within

ALLOWED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.UAdd, ast.USub, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.Pow, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.IfExp, ast.Call,
)  # fmt: skip

MAX_OPERATIONS = 2 * MAX_NODES


class Work:
    """Counts what is computed while a formula is read and evaluated, and how large it gets."""

    def __init__(self) -> None:
        self.operations = 0
        self.bits = 0

    def within(self, number: Exact) -> Exact:
        self.operations += 1
        self.bits = max(self.bits, number.bits)
        return _within(number)


_within = within


@pytest.fixture(scope="module")
def work() -> Iterator[Work]:
    counted = Work()
    patch = pytest.MonkeyPatch()
    patch.setattr(formula, "within", counted.within)
    yield counted
    patch.undo()


VALUES = [99.999, 1e308, 5e-324, 1.7976931348623157e308, 3.141592653589793, -1e-300]


def outcome(text: str, value: float, work: Work) -> Decimal | str:
    """The amount, or why there is none; fails when it took more work than is allowed."""
    compile_formula.cache_clear()
    work.operations = work.bits = 0
    result: Decimal | str
    try:
        result = compile_formula(text)(dict.fromkeys(NAMES, value))
    except PydanticCustomError as error:
        result = error.type
    except FormulaError:
        result = "no result"
    assert work.operations <= MAX_OPERATIONS
    # Before it is refused a product is as large as its two factors, and a sum of two quotients as all of it.
    assert work.bits <= 2 * MAX_BITS + 1
    return result


atoms = st.sampled_from([*NAMES, "0", "1", "2.5", "1e300", "9", "x", "None", "'a'", "0x1f", "1j", "..."])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    operators = [
        "+",
        "-",
        "*",
        "/",
        "**",
        "//",
        "%",
        "@",
        "<<",
        "|",
        "<",
        ">=",
        "==",
        "!=",
        "is",
        "in",
        "and",
        ":=",
    ]
    return st.one_of(
        st.tuples(inner, st.sampled_from(operators), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(["-", "+", "~", "not ", "await ", "*", "yield "]), inner).map("".join),
        st.tuples(
            st.sampled_from([*FUNCTIONS, "eval", "getattr", "__import__"]), st.lists(inner, max_size=3)
        ).map(lambda p: f"{p[0]}({', '.join(p[1])})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.tuples(inner, st.sampled_from(["real", "__class__", "as_integer_ratio()"])).map(
            lambda p: f"{p[0]}.{p[1]}"
        ),
        two.map(lambda p: f"{p[0]}[{p[1]}]"),
        two.map(lambda p: f"[{p[0]} for x in {p[1]}]"),
        two.map(lambda p: f"(lambda: {p[0]})({p[1]})"),
        two.map(lambda p: f"{{{p[0]}: {p[1]}}}"),
        inner.map(lambda p: f"f'{{{p}}}'"),
    )


expressions = st.recursive(atoms, _larger, max_leaves=25)


@given(
    text=expressions,
    value=st.sampled_from(VALUES),
    side=st.sampled_from(["", "credit = ", "x = ", "import os = "]),
)
@settings(max_examples=600, deadline=None)
def test_of_every_expression_python_knows_only_arithmetic_is_evaluated(
    work: Work, text: str, value: float, side: str
) -> None:
    result = outcome(side + text, value, work)
    if result == "invalid_formula":
        return
    # It was read, so all of it is on the list.
    for node in ast.walk(ast.parse(text, mode="eval")):
        assert isinstance(node, ALLOWED), ast.dump(node)
        if isinstance(node, ast.Name):
            assert node.id in (*NAMES, *FUNCTIONS)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            assert node.func.id in FUNCTIONS
        if isinstance(node, ast.Constant):
            assert type(node.value) in (int, float)
    if isinstance(result, Decimal):
        assert result.is_finite()


ordinary = st.recursive(
    st.sampled_from([*NAMES, "2", "1e30", "0.1"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]}{p[1]}{p[2]})"),
        st.tuples(inner, st.integers(-32, 32)).map(lambda p: f"({p[0]})**({p[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]},{p[2]})"),
        inner.map(lambda p: f"round({p},20)"),
    ),
    max_leaves=40,
)


@given(text=ordinary, value=st.sampled_from(VALUES))
@settings(max_examples=400, deadline=None)
def test_arithmetic_of_any_shape_does_bounded_work(work: Work, text: str, value: float) -> None:
    outcome(text, value, work)


WORST = [
    "threshold ** 32",
    "*".join(["threshold"] * 42),
    "/".join(["actual"] * 42),
    "+".join(["1/actual"] * 30),
    "min(" + ", ".join(["(actual + rate) ** 16"] * 20) + ")",
    "max(" + ", ".join(["actual ** 20 / rate ** 20"] * 16) + ")",
    "(actual ** 20 < rate ** 20) + " * 15 + "1",
    "round(" * 30 + "actual" + ")" * 30,
    " < ".join(["actual ** 9"] * 30),
    "1 if " * 20 + "actual" + " else 0" * 20,
]

BOMBS = [
    "9**9**9",
    "9**9**9**9",
    "(((9**32)**32)**32)**32",
    "10**1000000",
    "1e999999999",
    "1e-999999999",
    "9" * 495,
    "9" * 10_000_000,
    "0." + "0" * 490 + "1",
    "1/" * 200 + "3",
    "(" * 240 + "1" + ")" * 240,
    "(" * 5_000_000,
    "-" * 490 + "1",
    "+-" * 240 + "1",
    "abs(" * 120 + "1" + ")" * 120,
    "1 if 1 else " * 40 + "1",
    "1<" * 240 + "1",
    "min(" + "1," * 240 + "1)",
    "round(1, 10**9)",
    "round(actual, 99999999999999999999)",
    "2**-10**9",
    "credit = " * 60 + "1",
    "\x00" * 100,
    "١+٢",
    "1\u2028+1",
]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("text", WORST)
def test_the_worst_that_is_allowed_does_bounded_work(work: Work, text: str, value: float) -> None:
    outcome(text, value, work)


@pytest.mark.parametrize("text", BOMBS, ids=[f"{text[:12]!r}x{len(text)}" for text in BOMBS])
def test_a_bomb_is_refused_or_harmless(work: Work, text: str) -> None:
    result = outcome(text, 99.9, work)
    assert result == "invalid_formula" or isinstance(result, Decimal)


def test_a_long_text_is_refused_before_it_is_read(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*_: object, **__: object) -> ast.AST:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(ast, "parse", parsed)
    assert outcome("1 + " * MAX_LENGTH + "1", 1.0, work) == "invalid_formula"


def test_a_value_beyond_the_bound_is_refused_when_it_comes_in() -> None:
    huge = Fraction(1 << (MAX_BITS + 1))
    with pytest.raises(FormulaError, match="too large"):
        compile_formula("actual + 1")({"actual": huge})
