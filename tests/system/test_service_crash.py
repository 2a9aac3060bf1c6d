"""Every kind of process is killed while samples come in; nothing that was promised is lost or said twice."""

import http.client
from pathlib import Path

import pytest

from slakeeper.otp import attach, posix
from slakeeper.otp.placement import owner_of, partition_of
from tests.system.configuration import contract, metric, write_config
from tests.system.receivers import Hooks, Mailbox
from tests.system.remains import until
from tests.system.sender import SAMPLES_A_BATCH, Sender
from tests.system.service import MakeService, Service, now_ms

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]

PILLARS = ("root", "thespian-admin", "thespian-logger", "launcher")
KINDS = ("cell", "gateway", "admin", *PILLARS)


@pytest.fixture
def config(tmp_path: Path, mailbox: Mailbox, hooks: Hooks) -> Path:
    # A batch that waited for a restart is late for its window only after this time.
    watched = metric("requests", 100, "lt", lateness="10m")
    return write_config(
        tmp_path / "config",
        [contract("shop", [watched, *(metric(f"{when}_{kind}") for when in ("before", "amid") for kind in KINDS)])],
        {
            "channels": {
                "mail": {"type": "email", "host": "127.0.0.1", "port": mailbox.port,
                         "recipients": ["team@example.com"]},
                "hook": {"type": "webhook", "url": hooks.url},
            },
        },
        {"alert_channels": ["mail", "hook"]},
    )  # fmt: skip


def broken(service: Service, metric_name: str) -> str:
    """Breaks a promise as soon as the service takes the sample, and returns the violation's id."""
    sample = {"metric": metric_name, "value": 500, "ts": now_ms()}
    batch = {"samples": [sample], "batch_id": f"break-{metric_name}"}

    def is_taken() -> bool:
        try:
            reply = service.http("POST", "/v1/samples", batch)
        except (OSError, http.client.HTTPException, attach.NotRunning):
            return False
        assert reply.status in (202, 503), reply
        assert reply.status == 503 or reply.document == {"accepted": 1, "rejected": []}
        return reply.status == 202

    until(is_taken, what=f"the sample of {metric_name}")
    return until(lambda: open_ids(service).get(metric_name), what=f"the violation of {metric_name}")


def open_ids(service: Service) -> dict[str, str]:
    """The ids of the open violations by metric; none while the service is away."""
    try:
        reply = service.http("GET", "/v1/violations")
    except (OSError, http.client.HTTPException, attach.NotRunning):
        return {}
    rows = reply.document if reply.status == 200 else []
    return {row["metric_name"]: row["id"] for row in rows}


def test_kill_9_of_each_process_loses_nothing_and_says_nothing_twice(
    make_service: MakeService, config: Path, mailbox: Mailbox, hooks: Hooks
) -> None:
    service = make_service(config)
    service.start()
    heart = service.pid("heart")
    cell = f"cell-{owner_of(partition_of('shop', 8), 2)}"

    def told(violation_id: str) -> bool:
        mails = mailbox.to("team@example.com", "opened", violation_id)
        return bool(mails and hooks.of("opened", violation_id))

    before: dict[str, str] = {}
    amid: dict[str, str] = {}
    with Sender(service, "requests") as sender:
        for kind in KINDS:
            begun = sender.batches
            before[f"before_{kind}"] = violation = broken(service, f"before_{kind}")
            until(lambda told_id=violation: told(told_id), what="the alerts")  # type: ignore[misc]
            until(lambda: service.actor("alert:shop")["state"]["deliveries"] == [], what="the receipts")
            until(lambda begun=begun: sender.batches > begun + 3, what="a running sender")  # type: ignore[misc]
            generation = service.run()["generation"]
            victim = service.processes()[cell if kind == "cell" else kind]
            posix.kill([victim.pid])
            # Another promise is broken while the service mends itself.
            amid[f"amid_{kind}"] = violation = broken(service, f"amid_{kind}")
            until(lambda victim=victim: not victim.alive() and service.is_whole(), what=f"{kind} to be back")  # type: ignore[misc]
            # Without one of its pillars all of the system starts again, else the lost process alone.
            assert (service.run()["generation"] > generation) is (kind in PILLARS)
            assert open_ids(service) == before | amid
            until(lambda told_id=violation: told(told_id), what="the alerts")  # type: ignore[misc]
    assert service.pid("heart") == heart
    assert open_ids(service) == before | amid

    # How it is counted: all good samples of this test are of one metric, whose monitor counts them; the counter is
    # part of its state and so lives through every crash. The sender adds up what the answers of status 202 say was
    # accepted. Each of its batches was acknowledged in the end, some after several tries under one batch id, and is
    # to be counted once.
    counted = service.metric("shop", "requests")
    assert counted["samples_accepted"] >= sender.acknowledged == sender.batches * SAMPLES_A_BATCH > 0
    assert (counted["samples_late"], sender.refused > 0) == (0, True)
    assert counted["samples_accepted"] == sender.acknowledged

    for violation_id in (*before.values(), *amid.values()):
        mails = mailbox.to("team@example.com", "opened", violation_id)
        calls = hooks.of("opened", violation_id)
        # Distinct ones: one mail and one call opened each violation.
        assert {mail.id for mail in mails} == {call.headers["idempotency-key"] for call in calls}
        assert len({mail.id for mail in mails}) == 1
        # In total as well, over all crashes. Only a message that was on its way at the very moment of a kill may be
        # sent twice, under one id: nobody can know whether it had arrived, and to be silent would be worse.
        if violation_id in before.values():
            assert (len(mails), len(calls)) == (1, 1)
    told_of = {violation for call in hooks.calls for violation in call.document["violation_ids"]}
    assert told_of == {*before.values(), *amid.values()}
    service.stop()


def test_a_batch_that_is_sent_again_counts_once_whatever_was_killed_meanwhile(
    make_service: MakeService, config: Path
) -> None:
    service = make_service(config)
    service.start()
    samples = [{"metric": "requests", "value": number, "ts": now_ms() + number} for number in range(3)]
    batch = {"samples": samples, "batch_id": "one-and-the-same"}
    for victim in ("", f"cell-{owner_of(partition_of('shop', 8), 2)}", "gateway", "root"):
        if victim:
            process = service.processes()[victim]
            posix.kill([process.pid])
            until(lambda process=process: not process.alive() and service.is_whole(), what=victim)  # type: ignore[misc]
        assert service.post("/v1/samples", batch) == {"accepted": 3, "rejected": []}
        counted = service.metric("shop", "requests")
        assert (counted["samples_accepted"], counted["value"]) == (3, 2), victim
    assert service.metric("shop", "requests")["samples_duplicate"] == 9
    service.stop()
