"""Futures of futures: what comes of them, and that nothing of them stays behind."""

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from slakeeper.future import chain, failed, first_found, gather, settled, then, translated
from slakeeper.request import RequestFailed, Unavailable

Combine = Callable[[Mapping[str, Future[Any]]], Future[Any]]


def test_what_is_gathered_holds_results_and_failures() -> None:
    first: Future[int] = Future()
    error = Unavailable("away")
    outcome = gather({"one": first, "two": failed(error), "three": settled(3)})
    assert not outcome.done()
    first.set_result(1)
    assert outcome.result(0) == {"one": 1, "two": error, "three": 3}


def test_nothing_is_gathered_at_once() -> None:
    assert gather({}).result(0) == {}


def test_the_first_good_answer_is_found() -> None:
    late: Future[int] = Future()
    found = first_found({"one": failed(_nobody()), "two": late})
    assert not found.done()
    late.set_result(2)
    assert found.result(0) == 2


def test_without_a_good_answer_the_failure_that_says_most_is_told() -> None:
    refused = RuntimeError("refused")
    answers = {"one": failed(_nobody()), "two": failed(refused), "three": failed(Unavailable("away"))}
    found = first_found(answers)
    assert found.exception(0) is refused


def _nobody() -> RequestFailed:
    return RequestFailed("not_found", "nobody")


class _Batch:
    """What waits for an outcome."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "combine",
    [
        gather,
        first_found,
        lambda futures: then(futures["one"], lambda value: value),
        lambda futures: chain(futures["one"], settled),
        lambda futures: translated(futures["one"], lambda error: error),
    ],
    ids=["gather", "first_found", "then", "chain", "translated"],
)
def test_what_waited_for_an_outcome_is_let_go_with_it(combine: Combine) -> None:
    batch = _Batch()
    gone = weakref.ref(batch)
    futures: dict[str, Future[int]] = {"one": Future(), "two": Future()}
    outcome = combine(dict(futures))
    outcome.add_done_callback(lambda _, batch=batch: None)  # type: ignore[misc]
    for future in futures.values():
        future.set_result(1)
    assert outcome.done()
    del batch, future, outcome
    futures.clear()
    assert gone() is None
