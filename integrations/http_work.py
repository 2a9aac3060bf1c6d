"""Many questions to one server: a few connections, kept for all of them, within one deadline."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_client import HttpClient, HttpConnection, HttpError

NOT_ASKED = "not asked: the queries before it took all the time"

# So many connections in a row that come to nothing say that the server is not there: the rest are not tried.
_LOST_IN_A_ROW = 3

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class Work(Generic[_Q]):
    """Questions to one server, asked by a few threads with a connection each, all within one deadline."""

    def __init__(self, client: HttpClient, deadline: Deadline, questions: Iterable[_Q]) -> None:
        self._client = client
        self._deadline = deadline
        self._questions = list(questions)
        self._lock = threading.Lock()
        self._next = iter(self._questions)
        self._gone = ""

    def done_by(
        self, threads: int, ask: Callable[[HttpConnection, _Q, Deadline], _A | str]
    ) -> dict[_Q, _A | str]:
        """Every question with its answer, or with what is wrong as text."""
        answers: dict[_Q, _A | str] = {}

        def work() -> None:
            lost = 0
            with self._client.open(self._deadline) as connection:
                for question in self._taken():
                    if self._gone:
                        answers[question] = self._gone
                    elif self._deadline.is_over:
                        answers[question] = NOT_ASKED
                    else:
                        try:
                            answers[question] = ask(connection, question, self._deadline)
                            lost = 0
                        except (HttpError, TimeoutError) as error:
                            answers[question] = str(error)
                            lost += 1
                            if lost >= _LOST_IN_A_ROW:
                                self._gone = str(error)

        count = min(threads, len(self._questions))
        if count <= 1:
            work()
            return answers
        with ThreadPoolExecutor(count, thread_name_prefix="query") as pool:
            for each in [pool.submit(work) for _ in range(count)]:
                each.result()
        return answers

    def _taken(self) -> Iterator[_Q]:
        while True:
            with self._lock:
                try:
                    question = next(self._next)
                except StopIteration:
                    return
            yield question
