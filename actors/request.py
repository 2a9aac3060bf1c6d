"""What a cell answers: the request kinds of the data plane and what each does."""

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from pydantic import ValidationError

from slakeeper.actors import query
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    DEFINITION,
    AcknowledgeViolation,
    DecideEntry,
    DefineContract,
    EnforceViolation,
    EscalateViolation,
    Observe,
    RemediateViolation,
    RemoveContract,
    ResolveViolation,
    ResumeContract,
    SuspendContract,
    contract_address,
    ledger_address,
    violation_address,
)
from slakeeper.otp.actor import ActorSpec, RequestError
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Handler
from slakeeper.otp.partition import Partition
from slakeeper.sla.contract import Sla
from slakeeper.sla.report import to_markdown
from slakeeper.sla.sample import Sample, check_sample
from slakeeper.sla.violation import Violation

# Batches remembered for each cell so that one sent again after a lost reply is not counted twice: at 100
# batches a second and a resend within seconds this is far more than can be under way.
REMEMBERED_BATCHES = 4096


def make_handlers(partition_of: Callable[[str], Partition]) -> dict[str, Handler]:
    """The handlers of a cell.

    Args:
        partition_of: finds the partition that keeps a contract; raises RequestError when it is not this cell's.
    """
    return {
        "ping": lambda host, payload: {},
        "samples": Ingest().take,
        "catalog": _catalog,
        "status": _status,
        "tree": lambda host, payload: host.tree(),
        "sla.list": lambda host, payload: {
            "slas": [query.status_line(host, each) for each in contract_ids(host)]
        },
        "sla.show": lambda host, payload: query.contract_document(host, _text(payload, "id")),
        "sla.document": lambda host, payload: query.describe_contract(
            host, _text(payload, "id")
        ).contract.to_document(),
        "sla.define": lambda host, payload: define(host, _map(payload, "document"), partition_of),
        "sla.suspend": lambda host, payload: _ask_contract(
            host, payload, SuspendContract(_text(payload, "by"))
        ),
        "sla.resume": lambda host, payload: _ask_contract(
            host, payload, ResumeContract(_text(payload, "by"))
        ),
        "sla.remove": _remove,
        "violations": _violations,
        "violation.ack": lambda host, payload: _ask_violation(
            host, payload, AcknowledgeViolation(_text(payload, "by"), _text(payload, "note", ""))
        ),
        "violation.resolve": lambda host, payload: _ask_violation(
            host, payload, ResolveViolation(_text(payload, "by"), _text(payload, "note", ""))
        ),
        "violation.escalate": lambda host, payload: _ask_violation(
            host, payload, EscalateViolation(_text(payload, "by", ""))
        ),
        "violation.enforce": lambda host, payload: _ask_violation(host, payload, EnforceViolation()),
        "violation.remediate": lambda host, payload: _ask_violation(
            host,
            payload,
            RemediateViolation(
                _text(payload, "action"), _text(payload, "by", ""), bool(payload.get("dry_run"))
            ),
        ),
        "compensation": lambda host, payload: {
            "compensation": [entry.to_document() for entry in query.entries(host, payload.get("sla"))]
        },
        "compensation.decide": _decide,
        "compensation.estimate": lambda host, payload: {
            "compensation": [entry.to_document() for entry in query.estimate(host, _text(payload, "id"))]
        },
        "report": _report,
        "actor.state": lambda host, payload: _plain(host.describe(_text(payload, "address"))),
        "actor.suspend": lambda host, payload: _operate(host, payload, host.suspend),
        "actor.resume": lambda host, payload: _operate(host, payload, host.resume),
        "actor.restart": lambda host, payload: _operate(
            host, payload, lambda each: host.kill(each, "restart")
        ),
        "actor.kill": lambda host, payload: _operate(host, payload, host.kill),
    }


class Ingest:
    """Takes sample batches; remembers the replies of recent ones by batch id."""

    def __init__(self) -> None:
        self._replies: dict[str, dict[str, Any]] = {}

    def take(self, host: Host, payload: dict[str, Any]) -> dict[str, Any]:
        """Hands a batch to the monitors.

        Args:
            payload: ``samples``: a list of [metric, value, ts_ms or None, sla or None, labels or None];
                ``batch_id``: the same for a batch that is sent again.

        Returns:
            ``accepted``: indexes; ``rejected``: [index, reason] each.
        """
        batch_id = payload.get("batch_id")
        if batch_id is not None and batch_id in self._replies:
            return self._replies[batch_id]
        environment: Environment = host.environment
        monitors_of, now_ms = environment.catalog.monitors, host.now_ms
        accepted: list[int] = []
        rejected: list[tuple[int, str]] = []
        for_monitor: dict[str, list[Sample]] = {}
        for index, (metric, value, ts_ms, sla_id, labels) in enumerate(payload["samples"]):
            at_ms = now_ms if ts_ms is None else ts_ms
            refused = check_sample(value, at_ms, now_ms)
            if refused is not None:
                rejected.append((index, refused))
                continue
            taken = False
            known_sla = False
            monitors = monitors_of(metric)
            for listed in monitors.values():
                if sla_id is not None and listed.sla_id != sla_id:
                    continue
                known_sla = True
                if listed.labels and not _has_labels(labels, listed.labels):
                    continue
                taken = True
                for_monitor.setdefault(listed.address, []).append((at_ms, float(value)))
            if taken:
                accepted.append(index)
            else:
                reason = (
                    "unknown_metric"
                    if not monitors
                    else "labels_do_not_match"
                    if known_sla
                    else "unknown_sla"
                )
                rejected.append((index, reason))
        for address, samples in for_monitor.items():
            host.cast(address, Observe(tuple(samples)))
        host.counts["samples_accepted"] += len(accepted)
        host.counts["samples_rejected"] += len(rejected)
        reply = {"accepted": accepted, "rejected": rejected}
        if batch_id is not None:
            self._replies[batch_id] = reply
            if len(self._replies) > REMEMBERED_BATCHES:
                del self._replies[next(iter(self._replies))]
        return reply


def contract_ids(host: Host) -> list[str]:
    """The ids of this cell's contracts, in the order they were defined."""
    return [address.partition(":")[2] for address in host.addresses("contract") if host.is_running(address)]


def define(host: Host, document: dict[str, Any], partition_of: Callable[[str], Partition]) -> dict[str, Any]:
    """Defines a contract, or gives it a new version; the same document again changes nothing.

    Raises:
        RequestError: ``invalid`` with every error of the document.
    """
    try:
        contract = Sla.from_document(document)
    except ValidationError as error:
        problems = [
            {"path": ".".join(map(str, each["loc"])), "reason": each["type"], "message": each["msg"]}
            for each in error.errors(include_url=False)
        ]
        raise RequestError("invalid", "the contract is not valid", errors=problems) from error
    address, partition = contract_address(contract.id), partition_of(contract.id)
    if host.is_running(address):
        host.ask(address, DefineContract(contract.to_document()))
    else:
        spec = ActorSpec(address, "contract", (contract.to_document(), host.now_ms))
        host.start_child(DEFINITION, spec, partition)
    return {"id": contract.id, "version": query.describe_contract(host, contract.id).version}


def _catalog(host: Host, payload: Any) -> dict[str, Any]:
    environment: Environment = host.environment
    return {"metrics": dict(environment.catalog.metrics()), "slas": contract_ids(host)}


def _status(host: Host, payload: Any) -> dict[str, Any]:
    return {
        "slas": [query.status_line(host, each) for each in contract_ids(host)],
        **host.stats(),
        "counts": dict(host.counts),
    }


def _ask_contract(host: Host, payload: Any, request: Any) -> dict[str, Any]:
    sla_id = _text(payload, "id")
    query.describe_contract(host, sla_id)
    host.ask(contract_address(sla_id), request)
    return query.contract_document(host, sla_id)


def _remove(host: Host, payload: Any) -> dict[str, Any]:
    sla_id = _text(payload, "id")
    query.describe_contract(host, sla_id)
    host.ask(contract_address(sla_id), RemoveContract(_text(payload, "by")))
    host.terminate_child(contract_address(sla_id))
    return {"id": sla_id}


def _violations(host: Host, payload: Any) -> dict[str, Any]:
    listed = query.violations(host, payload.get("sla"), bool(payload.get("all")))
    return {"violations": [violation.to_document() for violation in listed]}


def _ask_violation(host: Host, payload: Any, request: Any) -> dict[str, Any]:
    violation_id = _text(payload, "id")
    address = violation_address(violation_id)
    if not host.is_running(address):
        query.find_violation(host, violation_id)
        raise RequestError("conflict", f"violation {violation_id} is resolved", reason="already_resolved")
    violation: Violation = host.ask(address, request)
    return violation.to_document()


def _decide(host: Host, payload: Any) -> dict[str, Any]:
    entry_id = _text(payload, "id")
    entry = next((each for each in query.entries(host, None) if each.id == entry_id), None)
    if entry is None:
        raise RequestError("not_found", f"no ledger entry {entry_id}")
    decision = DecideEntry(
        entry_id, bool(payload.get("approve")), _text(payload, "by"), _text(payload, "reason")
    )
    decided = host.ask(ledger_address(entry.sla_id), decision)
    document: dict[str, Any] = decided.to_document()
    return document


def _report(host: Host, payload: Any) -> dict[str, Any]:
    document = query.report_document(host, _text(payload, "sla"), _text(payload, "period", "current"))
    wanted = _text(payload, "format", "json")
    if wanted == "json":
        return {"document": document}
    if wanted == "md":
        return {"text": to_markdown(document)}
    raise RequestError("invalid", f"unknown report format {wanted!r}: there are json and md")


def _operate(host: Host, payload: Any, operate: Callable[[str], None]) -> dict[str, Any]:
    address = _text(payload, "address")
    operate(address)
    host.drain()
    described: dict[str, Any] = _plain(host.describe(address))
    return described


def _has_labels(labels: Any, wanted: tuple[tuple[str, str], ...]) -> bool:
    return isinstance(labels, dict) and all(labels.get(name) == value for name, value in wanted)


def _text(payload: Any, key: str, default: str | None = None) -> str:
    value = payload.get(key, default) if isinstance(payload, dict) else None
    if value is None and default is not None:
        value = default
    if not isinstance(value, str):
        raise RequestError("invalid", f"{key} must be text")
    return value


def _map(payload: Any, key: str) -> dict[str, Any]:
    value = payload.get(key) if isinstance(payload, dict) else None
    if not isinstance(value, dict):
        raise RequestError("invalid", f"{key} must be a mapping")
    return value


def _plain(value: Any) -> Any:
    """State for people as JSON values: records become maps with their class named."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"record": type(value).__name__, **_plain(asdict(value))}
    return json.loads(json.dumps(value, default=_text_of))


def _text_of(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
