"""Scaling a Kubernetes deployment as a remedy: one PATCH of its ``scale`` subresource.

A step (``add``) looks first how many replicas are wanted now, and patches that very version: when somebody else
scales in between, the server refuses and nothing is changed.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer, masked
from slakeeper.integrations.http_client import HttpClient, HttpConnection, HttpError, Tls, to_json
from slakeeper.integrations.json_apart import NotRead, read_abridged
from slakeeper.integrations.remedy import OUTPUT_LIMIT, RemedyResult
from slakeeper.sla.policy import KubernetesRemedy

_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


class _Undone(Exception):
    """It was not scaled; the text says why."""


def scale(remedy: KubernetesRemedy, *, timeout_ms: int) -> RemedyResult:
    """Scales; done when the server has taken the new number.

    See :func:`slakeeper.integrations.remedy.run_remedy`.
    """
    began_s = time.monotonic()
    output, uncertain = "", False
    try:
        deadline = Deadline(timeout_ms)
        with _client(remedy).open(deadline) as connection:
            detail, output = _scale(remedy, connection, deadline)
        ok = True
    except _Undone as error:
        ok, detail = False, str(error)
    except HttpError as error:
        ok, uncertain = False, error.sent
        detail = f"{error}; it may have been carried out" if uncertain else str(error)
    duration_ms = round((time.monotonic() - began_s) * 1000)
    return RemedyResult(ok, detail, output, None, duration_ms, uncertain)


def _client(remedy: KubernetesRemedy) -> HttpClient:
    """With token and certificate as they stand in their files now: a cluster changes both while we run."""
    headers: dict[str, str] = {}
    token = ""
    if remedy.token_file is not None:
        try:
            token = Path(remedy.token_file).read_text("ascii").strip()
        except OSError as error:
            raise _Undone(f"no token: {remedy.token_file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise _Undone(f"no token: {remedy.token_file} holds none") from None
        headers["Authorization"] = f"Bearer {token}"
    return HttpClient(remedy.url, headers, [token], Tls(ca_file=remedy.ca_file))


def _scale(remedy: KubernetesRemedy, connection: HttpConnection, deadline: Deadline) -> tuple[str, str]:
    """What was done, in words and as the server said it."""
    path = f"/apis/apps/v1/namespaces/{remedy.namespace}/deployments/{remedy.deployment}/scale"
    patch: dict[str, Any] = {}
    before, wanted = "", remedy.replicas
    if remedy.add is not None:
        looked = _document(connection.request("GET", path), deadline)
        match looked:
            case {"metadata": {"resourceVersion": str(version)}, "spec": dict()}:
                now = _replicas(looked)
            case _:
                raise _Undone("what the server says of the deployment's scale makes no sense")
        wanted = _bounded(remedy, now)
        patch["metadata"] = {"resourceVersion": version}
        before = f" from {now}"
    patch["spec"] = {"replicas": wanted}
    target = f"{path}?fieldManager=slakeeper"
    answer = connection.request("PATCH", target, body=to_json(patch), headers=_MERGE_PATCH)
    taken = _replicas(_document(answer, deadline))
    if taken != wanted:
        raise _Undone(f"asked for {wanted} replicas, and the server says {taken}")
    detail = f"{remedy.namespace}/{remedy.deployment} scaled{before} to {wanted} replicas"
    said = masked(answer.body.decode("utf-8", "replace"), answer.secrets)
    return detail, said.encode()[:OUTPUT_LIMIT].decode("utf-8", "ignore")


def _replicas(document: Mapping[str, Any]) -> Any:
    """How many a ``Scale`` asks for; Kubernetes leaves a zero out."""
    spec = document.get("spec")
    return spec.get("replicas", 0) if isinstance(spec, Mapping) else None


def _bounded(remedy: KubernetesRemedy, now: Any) -> int:
    if not isinstance(now, int) or remedy.add is None:
        raise _Undone("what the server says of the deployment's scale makes no sense")
    if remedy.add > 0:
        most = now if remedy.max_replicas is None else remedy.max_replicas
        wanted, bound = min(now + remedy.add, most), "most"
        is_step = wanted > now
    else:
        wanted, bound = max(now + remedy.add, remedy.min_replicas), "least"
        is_step = wanted < now
    if not is_step:
        raise _Undone(f"it has {now} replicas, and {wanted} is the {bound} it may have")
    return wanted


def _document(answer: Answer, deadline: Deadline) -> Mapping[str, Any]:
    """The answer's document.

    Raises:
        _Undone: the server refused, or says nothing that makes sense.
    """
    document: Any = None
    if not answer.broken:
        try:
            document = read_abridged(answer.body, deadline)
        except (ValueError, NotRead):
            document = None
    if answer.is_success and isinstance(document, Mapping):
        return document
    said = answer.broken or answer.excerpt()
    match document:
        case {"kind": "Status", "message": str(message)}:
            said = masked(message, answer.secrets)[:OUTPUT_LIMIT]
        case _:
            pass
    raise _Undone(f"answered {answer.status}{f': {said}' if said else ''}")
