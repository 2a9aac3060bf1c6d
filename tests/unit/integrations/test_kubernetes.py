"""Scaling a deployment, against a server that behaves as the Kubernetes API does."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slakeeper.integrations.http_answer import READ_HERE_BYTES
from slakeeper.integrations.remedy import RemedyResult, run_remedy
from slakeeper.sla.policy import AutomaticAction, KubernetesRemedy
from tests.unit.integrations.fake_http import (
    CERTIFICATE,
    Behaviour,
    Cut,
    Drip,
    FakeServer,
    Hang,
    Reply,
    Request,
    json_reply,
)

PATH = "/apis/apps/v1/namespaces/shop/deployments/web/scale"


class Api:
    """One deployment's scale, as the API server keeps it."""

    def __init__(self, replicas: int, token: str = "token-1") -> None:
        self.replicas = replicas
        self.version = 7
        self.token = token

    def __call__(self, request: Request) -> Behaviour:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.status(401, "Unauthorized")
        if request.path != PATH:
            return self.status(404, 'deployments.apps "web" not found')
        if request.method == "PATCH":
            if request.headers["Content-Type"] != "application/merge-patch+json":
                return self.status(415, "the body of the request was in an unknown format")
            patch = request.json()
            version = patch.get("metadata", {}).get("resourceVersion", str(self.version))
            if version != str(self.version):
                return self.status(409, "the object has been modified; please apply your changes")
            self.replicas, self.version = patch["spec"]["replicas"], self.version + 1
        spec = {"replicas": self.replicas} if self.replicas else {}
        metadata = {"name": "web", "namespace": "shop", "resourceVersion": str(self.version)}
        return json_reply({"kind": "Scale", "metadata": metadata, "spec": spec, "status": {}})

    @staticmethod
    def status(code: int, message: str) -> Reply:
        return json_reply({"kind": "Status", "status": "Failure", "message": message, "code": code}, code)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("token-1\n")
    return file


def remedy_for(url: str, token_file: Path | None, **settings: Any) -> KubernetesRemedy:
    return KubernetesRemedy.model_validate(
        {
            "type": "kubernetes", "url": url, "namespace": "shop", "deployment": "web",
            "token_file": token_file and str(token_file), "ca_file": str(CERTIFICATE), **settings,
        }
    )  # fmt: skip


def run(remedy: KubernetesRemedy, timeout_ms: int = 20_000, *, dry_run: bool = False) -> RemedyResult:
    action = AutomaticAction.model_validate(
        {"name": "grow", "trigger_metric": "throughput", "condition": {"lt": 10_000}, "action": "add_web"}
    )
    return run_remedy(remedy, action, idempotency_key="key-1", timeout_ms=timeout_ms, dry_run=dry_run)


def test_a_number_of_replicas_is_one_patch(token_file: Path) -> None:
    api = Api(3)
    with FakeServer(api, tls=True) as server:
        result = run(remedy_for(server.url, token_file, replicas=5))
        [request] = server.requests
    assert (result.ok, result.detail) == (True, "shop/web scaled to 5 replicas")
    assert api.replicas == 5
    assert (request.method, request.path, request.query) == ("PATCH", PATH, {"fieldManager": "slakeeper"})
    assert request.headers["Authorization"] == "Bearer token-1"
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert request.json() == {"spec": {"replicas": 5}}
    assert json.loads(result.output)["spec"] == {"replicas": 5}
    assert "token-1" not in repr(result)


@pytest.mark.parametrize(
    ("before", "settings", "after"),
    [
        (3, {"add": 2, "max_replicas": 10}, 5),
        (9, {"add": 2, "max_replicas": 10}, 10),
        (0, {"add": 2, "max_replicas": 10}, 2),
        (5, {"add": -2}, 3),
        (2, {"add": -5}, 1),
        (2, {"add": -5, "min_replicas": 0}, 0),
    ],
)
def test_a_step_stays_within_its_bounds_and_patches_what_it_saw(
    before: int, settings: dict[str, Any], after: int, token_file: Path
) -> None:
    api = Api(before)
    with FakeServer(api, tls=True) as server:
        result = run(remedy_for(server.url, token_file, **settings))
        look, patch = server.requests
        assert server.connections == 1
    assert (result.ok, result.detail) == (True, f"shop/web scaled from {before} to {after} replicas")
    assert api.replicas == after
    assert (look.method, look.path) == ("GET", PATH)
    assert patch.json() == {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": after}}


@pytest.mark.parametrize(
    ("before", "settings", "detail"),
    [
        (10, {"add": 2, "max_replicas": 10}, "it has 10 replicas, and 10 is the most it may have"),
        # More than the bound, by somebody else's hand: a step up never takes any away.
        (12, {"add": 2, "max_replicas": 10}, "it has 12 replicas, and 10 is the most it may have"),
        (1, {"add": -1}, "it has 1 replicas, and 1 is the least it may have"),
        (0, {"add": -1}, "it has 0 replicas, and 1 is the least it may have"),
    ],
)
def test_at_its_bound_a_step_fails_and_changes_nothing(
    before: int, settings: dict[str, Any], detail: str, token_file: Path
) -> None:
    api = Api(before)
    with FakeServer(api, tls=True) as server:
        result = run(remedy_for(server.url, token_file, **settings))
        assert [request.method for request in server.requests] == ["GET"]
    assert (result.ok, result.detail) == (False, detail)
    assert api.replicas == before


def test_whoever_scales_in_between_is_not_overruled(token_file: Path) -> None:
    api = Api(3)

    def application(request: Request) -> Behaviour:
        answer = api(request)
        if request.method == "GET":
            api.replicas, api.version = 8, 8
        return answer

    with FakeServer(application, tls=True) as server:
        result = run(remedy_for(server.url, token_file, add=2, max_replicas=10))
    assert not result.ok
    assert result.detail == "answered 409: the object has been modified; please apply your changes"
    assert api.replicas == 8


def test_the_token_is_read_anew_for_each_run(token_file: Path) -> None:
    api = Api(3)
    with FakeServer(api, tls=True) as server:
        remedy = remedy_for(server.url, token_file, replicas=5)
        assert run(remedy).ok
        api.token = "token-2"
        assert run(remedy).detail == "answered 401: Unauthorized"
        token_file.write_text("token-2")
        assert run(remedy).ok


def test_a_server_that_the_authority_did_not_sign_for_is_not_trusted(token_file: Path) -> None:
    with FakeServer(Api(3), tls=True) as server:
        result = run(remedy_for(server.url, token_file, replicas=5, ca_file=None))
        assert not result.ok
        assert "is not trusted" in result.detail
        assert server.requests == []


def test_without_its_files_nothing_is_sent(token_file: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with FakeServer(Api(3), tls=True) as server:
        assert run(remedy_for(server.url, missing, replicas=5)).detail == (
            f"no token: {missing}: No such file or directory"
        )
        for file in (missing, token_file):
            result = run(remedy_for(server.url, token_file, replicas=5, ca_file=str(file)))
            assert not result.ok
            assert str(file) in result.detail
        assert server.requests == []


def test_a_proxy_on_this_machine_needs_no_token(server: FakeServer) -> None:
    server.then(json_reply({"spec": {"replicas": 5}}))
    assert run(remedy_for(server.url, None, replicas=5)).ok
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("behaviour", [Hang(), Drip(), Cut()], ids=["hang", "drip", "cut"])
def test_a_server_that_does_not_answer_leaves_it_open(behaviour: Behaviour, server: FakeServer) -> None:
    server.then(behaviour)
    result = run(remedy_for(server.url, None, replicas=5), timeout_ms=300)
    assert (result.ok, result.uncertain) == (False, True)
    assert result.detail.endswith("; it may have been carried out")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"hello", "answered 200: hello"),
        (b'{"spec": {"replicas": 4}}', "asked for 5 replicas, and the server says 4"),
        (b'{"spec": 1}', "asked for 5 replicas, and the server says None"),
        (
            b'{"spec": {"replicas": 4}}' + b" " * READ_HERE_BYTES,
            "asked for 5 replicas, and the server says 4",
        ),
        (b"hello" + b" " * READ_HERE_BYTES, "answered 200: hello"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_success(body: bytes, detail: str, server: FakeServer) -> None:
    server.then(Reply(200, body))
    result = run(remedy_for(server.url, None, replicas=5))
    assert (result.ok, result.detail) == (False, detail)


def test_a_dry_run_says_what_it_would_do(server: FakeServer) -> None:
    remedy = remedy_for(server.url, None, add=2, max_replicas=10)
    assert run(remedy, dry_run=True).detail == "dry run: would scale shop/web by +2 on add_web with ()"
    assert server.requests == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "one_size"),
        ({"replicas": 3, "add": 1, "max_replicas": 5}, "one_size"),
        ({"add": 0}, "no_step"),
        ({"add": 2}, "no_bound"),
        ({"add": 2, "min_replicas": 5, "max_replicas": 3}, "wrong_bounds"),
        ({"replicas": 3, "url": "http://h"}, "token_in_clear"),
        ({"replicas": 3, "namespace": "../kube-system"}, "string_pattern_mismatch"),
        ({"replicas": 3, "deployment": "web/scale?x"}, "string_pattern_mismatch"),
        ({"replicas": 3, "deployment": "web\n"}, "string_pattern_mismatch"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], reason: str) -> None:
    given = {"type": "kubernetes", "namespace": "shop", "deployment": "web", **settings}
    with pytest.raises(ValidationError) as caught:
        KubernetesRemedy.model_validate(given)
    assert [error["type"] for error in caught.value.errors()] == [reason]


@pytest.mark.parametrize("code", [200, 403])
def test_a_server_that_gives_the_token_away_is_not_quoted(token_file: Path, code: int) -> None:
    said = {"kind": "Status", "message": "Bearer token-1 may not", "spec": {"replicas": 5}, "seen": "token-1"}
    with FakeServer(lambda _: json_reply(said, code), tls=True) as server:
        result = run(remedy_for(server.url, token_file, replicas=5))
    assert result.ok == (code == 200)
    assert "***" in result.detail + result.output
    assert "token-1" not in result.detail + result.output
