"""A client that keeps its promise: what was not acknowledged is sent again."""

import http.client
import itertools
import threading
from typing import Any, Self

from slakeeper.otp import attach
from tests.system.service import Service, now_ms

SAMPLES_A_BATCH = 5


class Sender:
    """Sends batches of good samples one after the other, each until it is acknowledged, while the block lasts.

    Attributes:
        acknowledged: how many samples answers of status 202 say were accepted.
        batches: how many batches were acknowledged.
        refused: how many tries failed; the batch was sent again, under its id.
    """

    def __init__(self, service: Service, metric_name: str) -> None:
        self.acknowledged = 0
        self.batches = 0
        self.refused = 0
        self._service = service
        self._metric_name = metric_name
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)
        self._given_up.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        for number in itertools.count():
            samples = [
                {"metric": self._metric_name, "value": 1, "ts": now_ms() + place}
                for place in range(SAMPLES_A_BATCH)
            ]
            batch: dict[str, Any] = {"samples": samples, "batch_id": f"batch-{number}"}
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
            assert reply.status == 503, reply
            return False
        assert reply.document == {"accepted": SAMPLES_A_BATCH, "rejected": []}
        self.acknowledged += SAMPLES_A_BATCH
        return True
