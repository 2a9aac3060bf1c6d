"""Billing, against a counterpart that checks what it is told."""

import dataclasses

import pytest
from pydantic import SecretStr

from slakeeper.integrations.billing import BillingSender
from slakeeper.integrations.channel import DeliveryError, Recipient
from slakeeper.sla.notification import Notification
from slakeeper.sla.policy import BillingWebhook
from slakeeper.sla.signature import sign
from tests.unit.integrations.fake_http import CERTIFICATE, Cut, FakeServer, Reply

ENTRY = {"id": "c1-5", "amount": "4.990", "currency": "EUR", "status": "approved"}


@pytest.fixture
def bill(notification: Notification) -> Notification:
    return dataclasses.replace(notification, id="c1-5", details=ENTRY)


def sender(server: FakeServer, **changes: object) -> BillingSender:
    settings = {"url": f"{server.url}/credits", "secret": SecretStr("s3cret"), **changes}
    return BillingSender(BillingWebhook.model_validate(settings))


def test_the_entry_itself_is_posted_signed_and_under_its_own_id(
    server: FakeServer, bill: Notification
) -> None:
    assert sender(server).send(bill, Recipient()) == "billing answered 200"
    [request] = server.requests
    assert (request.method, request.path, request.json()) == ("POST", "/credits", ENTRY)
    assert request.headers["Idempotency-Key"] == "c1-5"
    timestamp = request.headers["X-Slakeeper-Timestamp"]
    assert request.headers["X-Slakeeper-Signature"] == sign("s3cret", timestamp, "c1-5", request.body)


@pytest.mark.parametrize(
    ("answer", "retryable", "uncertain"),
    [(Reply(503), True, False), (Reply(422), False, False), (Reply(302), False, False), (Cut(), True, True)],
)
def test_anything_but_2xx_takes_nothing(
    server: FakeServer, bill: Notification, answer: Reply | Cut, retryable: bool, uncertain: bool
) -> None:
    server.then(answer)
    with pytest.raises(DeliveryError) as failed:
        sender(server).send(bill, Recipient())
    assert (failed.value.retryable, failed.value.uncertain) == (retryable, uncertain)


def test_a_receiver_that_does_not_look_at_the_key_is_not_asked_twice(server: FakeServer) -> None:
    assert sender(server).idempotent
    assert not sender(server, on_uncertain="hold").idempotent


def test_no_secret_is_in_what_went_wrong(server: FakeServer, bill: Notification) -> None:
    server.then(Reply(400, b"bad token t0ken for s3cret"))
    with pytest.raises(DeliveryError) as failed:
        sender(server, headers={"Authorization": SecretStr("t0ken")}).send(bill, Recipient())
    assert "t0ken" not in str(failed.value)
    assert "s3cret" not in str(failed.value)


def test_a_key_in_the_address_is_not_in_what_went_wrong(server: FakeServer, bill: Notification) -> None:
    server.then(Reply(404, b"Cannot POST /hooks/T0PSECRETKEY"))
    with pytest.raises(DeliveryError, match=r"answered 404: Cannot POST /\*\*\*$"):
        sender(server, url=f"{server.url}/hooks/T0PSECRETKEY").send(bill, Recipient())


def test_billing_with_a_private_authority_is_trusted_by_its_own_file(bill: Notification) -> None:
    with FakeServer(tls=True) as secure:
        assert sender(secure, ca_file=str(CERTIFICATE)).send(bill, Recipient()) == "billing answered 200"
