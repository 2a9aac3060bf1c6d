"""A client that keeps its promise: what was not acknowledged is sent again."""

import http.client
import itertools
import threading
from typing import Any, Self

from slakeeper.otp import attach
from tests.system.service import Reply, Service, now_ms

SAMPLES_A_BATCH = 5


class Sender:
    """Sends batches of good samples one after the other, each until it is acknowledged, while the block lasts.

    Args:
        metric_names: a batch has samples of each of them.
        name: begins the ids of its batches; senders that share a service have different ones.

    Attributes:
        acknowledged: how many samples of each metric answers of status 202 say were accepted.
        batches: how many batches were acknowledged.
        refused: how many tries failed; the batch was sent again, under its id.
        odd: answers that are neither 202 nor 503; there must be none when the block ends.
    """

    def __init__(self, service: Service, *metric_names: str, name: str = "batch") -> None:
        self.acknowledged = 0
        self.batches = 0
        self.refused = 0
        self.odd: list[Reply] = []
        self._service = service
        self._metric_names = metric_names
        self._name = name
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)
        self._given_up.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        assert kind is not None or not self.odd, self.odd

    def _run(self) -> None:
        for number in itertools.count():
            samples = [
                {"metric": name, "value": 1, "ts": now_ms() + place}
                for place in range(SAMPLES_A_BATCH)
                for name in self._metric_names
            ]
            batch: dict[str, Any] = {"samples": samples, "batch_id": f"{self._name}-{number}"}
            # Also after the end: a batch that has begun is brought to its end.
            while not self._sent(batch):
                self.refused += 1
                if self._given_up.wait(0.05):
                    return
            self.batches += 1
            if self._ended.wait(0.01):
                return

    def _sent(self, batch: dict[str, Any]) -> bool:
        try:
            reply = self._service.http("POST", "/v1/samples", batch)
        except (OSError, http.client.HTTPException, attach.NotRunning):
            return False
        if reply.status != 202:
            if reply.status != 503:
                self.odd.append(reply)
            return False
        if reply.document["rejected"]:
            # An actor is about to be there again: who has got its share does not get it twice.
            assert {each["reason"] for each in reply.document["rejected"]} == {"monitor_down"}, reply
            return False
        assert reply.document["accepted"] == len(batch["samples"])
        self.acknowledged += SAMPLES_A_BATCH
        return True
