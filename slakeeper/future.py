"""Futures of futures: `concurrent.futures` has no way to go on with a result, or to wait for many at once."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from slakeeper.request import RequestFailed

T = TypeVar("T")
R = TypeVar("R")


def settled(value: T) -> Future[T]:
    """A future that has its result already."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


def failed(error: BaseException) -> Future[Any]:
    """A future that has failed already."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def then(future: Future[T], go_on: Callable[[T], R]) -> Future[R]:
    """The future of ``go_on(result)``, run on the thread that settles ``future``."""
    outer: Future[R] = Future()
    outer.set_running_or_notify_cancel()

    def settle(inner: Future[T]) -> None:
        try:
            outer.set_result(go_on(inner.result()))
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever holds the future
            outer.set_exception(error)

    future.add_done_callback(settle)
    return outer


def chain(future: Future[T], go_on: Callable[[T], Future[R]]) -> Future[R]:
    """The future of the future that ``go_on(result)`` returns."""
    outer: Future[R] = Future()
    outer.set_running_or_notify_cancel()

    def settle(inner: Future[R]) -> None:
        error = inner.exception()
        if error is None:
            outer.set_result(inner.result())
        else:
            outer.set_exception(error)

    def begin(first: Future[T]) -> None:
        try:
            second = go_on(first.result())
        except Exception as error:  # noqa: BLE001 - as above
            outer.set_exception(error)
        else:
            second.add_done_callback(settle)

    future.add_done_callback(begin)
    return outer


def translated(future: Future[T], translate: Callable[[BaseException], BaseException]) -> Future[T]:
    """The same future, but that a failure is what ``translate`` makes of it."""
    outer: Future[T] = Future()
    outer.set_running_or_notify_cancel()

    def settle(inner: Future[T]) -> None:
        error = inner.exception()
        if error is None:
            outer.set_result(inner.result())
        else:
            outer.set_exception(translate(error))

    future.add_done_callback(settle)
    return outer


def gather(futures: Mapping[str, Future[Any]]) -> Future[dict[str, Any]]:
    """Waits for all; the result holds for each key what came of it: a result, or the exception itself."""
    outer: Future[dict[str, Any]] = Future()
    outer.set_running_or_notify_cancel()
    lock = threading.Lock()
    left = len(futures)
    waits = dict(futures)

    def settle(_: Future[Any]) -> None:
        nonlocal left
        with lock:
            left -= 1
            if left:
                return
        results = {key: future.exception() or future.result() for key, future in waits.items()}
        # A future keeps its callbacks when they have run, so it has this one, which has it: a circle, and what waits
        # for the outcome (a batch of samples) would hang on it until the collector comes by.
        waits.clear()
        outer.set_result(results)

    if not futures:
        outer.set_result({})
    for future in futures.values():
        future.add_done_callback(settle)
    return outer


def first_found(futures: Mapping[str, Future[Any]]) -> Future[Any]:
    """The first good answer. Without one, the failure that says most: anything before "away" before "not found"."""
    outer: Future[Any] = Future()
    outer.set_running_or_notify_cancel()
    lock = threading.Lock()
    errors: list[BaseException] = []
    done = False
    count = len(futures)  # not of the futures themselves: as in `gather`, that would be a circle

    def settle(future: Future[Any]) -> None:
        nonlocal done
        error = future.exception()
        with lock:
            if done:
                return
            if error is not None:
                errors.append(error)
                if len(errors) < count:
                    return
            done = True
        if error is None:
            outer.set_result(future.result())
        else:
            outer.set_exception(min(errors, key=_vagueness))

    if not futures:
        outer.set_exception(RequestFailed("not_found", "there is no cell"))
    for future in futures.values():
        future.add_done_callback(settle)
    return outer


def _vagueness(error: BaseException) -> int:
    code = error.code if isinstance(error, RequestFailed) else "internal"
    return {"not_found": 2, "unavailable": 1}.get(code, 0)
