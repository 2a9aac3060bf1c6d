"""What a cell answers: the request kinds of the data plane and what each does."""

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from pydantic import ValidationError

from slakeeper.actors import neighbour, query, restraint_request, silence_request
from slakeeper.actors.address import (
    DEFINITION,
    MONITORING,
    alert_address,
    contract_address,
    ingest_address,
    ledger_address,
    report_address,
    violation_address,
)
from slakeeper.actors.audit import note_act, recorded_chain
from slakeeper.actors.environment import Environment
from slakeeper.actors.ingest import Ingest
from slakeeper.actors.message import (
    AcknowledgeViolation,
    DecideEntry,
    DefineContract,
    DescribeIncident,
    EnforceViolation,
    EscalateViolation,
    NewestTerms,
    RemediateViolation,
    RemoveContract,
    ResolveViolation,
    ResumeContract,
    SettleEntry,
    SuspendContract,
)
from slakeeper.actors.payload import flag, mapping, optional_number, optional_text, text
from slakeeper.actors.period_report import report_document
from slakeeper.actors.trial import begin_trial, trial_document
from slakeeper.integrations.messenger import Messenger
from slakeeper.otp.actor import ActorSpec, RequestError
from slakeeper.otp.host import Host
from slakeeper.otp.line import GroupHandler, Handler
from slakeeper.otp.partition import Partition
from slakeeper.sla.alert import GROUP_PREFIX
from slakeeper.sla.audit import What
from slakeeper.sla.contract import Sla
from slakeeper.sla.on_call import next_change, on_call
from slakeeper.sla.policy import EnforcementPolicy
from slakeeper.sla.report import to_markdown
from slakeeper.sla.report_csv import to_csv
from slakeeper.sla.report_html import to_html
from slakeeper.sla.silence import SilenceState
from slakeeper.sla.violation import Violation


def make_groups(partition_of: Callable[[str], Partition]) -> dict[str, GroupHandler]:
    """Those of :func:`make_handlers` that take all that came in a turn together, which is less work for each."""
    return {"samples": Ingest(partition_of).take_all}


# A sample's monitor, and what follows from a bad one: its contract, a violation, whom it tells.
FEW_SAMPLES = 5


# They wake nobody, and samples wait in the gateway for what it asks.
_WAKING_NOBODY = frozenset({"ping", "catalog", neighbour.QUESTION})


# They are about one thing, wake few, and change no account: what came before and is served after counts the same.
_ABOUT_ONE = frozenset({"violation.ack", "sla.show", "sla.document", "actor.state"})


def is_light(kind: str, payload: Any) -> bool:
    """Whether a request wakes few, and may come before others: while actors sleep, many samples have many made."""
    if kind in _WAKING_NOBODY or kind in _ABOUT_ONE:
        return True
    if not isinstance(payload, dict):
        return False
    if kind == "violations":
        return bool(payload.get("sla"))
    samples = payload.get("samples") if kind == "samples" else None
    return isinstance(samples, (list, tuple)) and len(samples) <= FEW_SAMPLES


def make_handlers(partition_of: Callable[[str], Partition]) -> dict[str, Handler]:
    """The handlers of a cell.

    Args:
        partition_of: finds the partition that keeps a contract; raises RequestError when it is not this cell's.
    """
    handlers: dict[str, Handler] = {
        "ping": lambda host, payload: {},
        "samples": Ingest(partition_of).take,
        "catalog": _catalog,
        "status": _status,
        "sources": _sources,
        "tree": lambda host, payload: host.tree.describe(),
        "sla.list": _lines,
        "sla.show": lambda host, payload: query.contract_document(host, text(payload, "id")),
        "sla.document": lambda host, payload: query.describe_contract(
            host, text(payload, "id")
        ).contract.to_document(),
        "sla.define": lambda host, payload: define(
            host, mapping(payload, "document"), partition_of, text(payload, "by", "")
        ),
        "sla.suspend": lambda host, payload: _ask_contract(
            host, payload, SuspendContract(text(payload, "by"))
        ),
        "sla.resume": lambda host, payload: _ask_contract(host, payload, ResumeContract(text(payload, "by"))),
        "sla.remove": _remove,
        "violations": _violations,
        "violation.show": lambda host, payload: query.violation_document(host, text(payload, "id")),
        "violation.ack": lambda host, payload: _ask_violation(host, payload, _acknowledgement(payload)),
        "incident": _incident,
        "on_call": _on_call,
        "channels": _channels,
        "channel.test": lambda host, payload: begin_trial(
            host, text(payload, "name"), optional_text(payload, "to"), text(payload, "by", "")
        ),
        "channel.tested": lambda host, payload: trial_document(host, text(payload, "test")),
        "violation.resolve": lambda host, payload: _ask_violation(
            host, payload, ResolveViolation(text(payload, "by"), text(payload, "note", ""))
        ),
        "violation.escalate": _escalate,
        "violation.enforce": lambda host, payload: _ask_violation(host, payload, EnforceViolation()),
        "violation.remediate": lambda host, payload: _ask_violation(
            host,
            payload,
            RemediateViolation(
                text(payload, "action"), text(payload, "by", ""), flag(payload, "dry_run", False)
            ),
        ),
        "compensation": lambda host, payload: {
            "compensation": query.entry_rows(host, _known_sla(host, payload))
        },
        "compensation.decide": _decide,
        "compensation.settle": _settle,
        "compensation.estimate": lambda host, payload: {
            "compensation": [entry.to_document() for entry in query.estimate(host, text(payload, "id"))]
        },
        "silences": silence_request.silences,
        "silence.add": silence_request.add,
        "silence.expire": silence_request.expire,
        "silence.learn": neighbour.learn,
        "remediation.turn": restraint_request.turn,
        "remediation.learn": restraint_request.learn,
        neighbour.QUESTION: neighbour.answer,
        "sla.dependencies": _dependencies,
        "report": _report,
        "backup": _backup,
        "actor.state": lambda host, payload: _plain(host.inspector.describe(text(payload, "address"))),
        "actor.suspend": lambda host, payload: _operate(
            host, payload, host.inspector.suspend, What.ACTOR_SUSPENDED
        ),
        "actor.resume": lambda host, payload: _operate(
            host, payload, host.inspector.resume, What.ACTOR_RESUMED
        ),
        "actor.restart": lambda host, payload: _operate(
            host, payload, lambda each: host.inspector.kill(each, "restart"), What.ACTOR_RESTARTED
        ),
        "actor.kill": lambda host, payload: _operate(host, payload, host.inspector.kill, What.ACTOR_KILLED),
        "actor.trace": lambda host, payload: host.inspector.trace(
            [text(payload, "address")], optional_number(payload, "since")
        ),
        "actor.crashes": lambda host, payload: {"crashes": host.inspector.crashes()},
        "actor.dead_letters": lambda host, payload: {"dead_letters": host.inspector.letters()},
        "actor.redeliver": _redeliver,
        "audit.heads": _audit_heads,
        "audit.note": _note_process,
    }
    return {kind: _said_by(handler) if kind in ACTS else handler for kind, handler in handlers.items()}


# Nobody is on call in 2500 by what is configured today, and years end at 9999.
LAST_AT_MS = 16_725_225_600_000


ACTS = frozenset(
    {
        "sla.define", "sla.suspend", "sla.resume", "sla.remove", "violation.ack", "violation.resolve",
        "violation.escalate", "violation.remediate", "compensation.decide", "compensation.settle",
        "silence.add", "silence.expire", "remediation.turn",
        "actor.suspend", "actor.resume",
        "actor.restart", "actor.kill", "actor.redeliver", "audit.note",
        "channel.test",
    }
)  # fmt: skip
"""Requests by which somebody does something: the audit chain says who, and ``via`` what it came in."""


def _said_by(handler: Handler) -> Handler:
    """The same, with what the request came in by known to whoever notes it meanwhile."""

    def handle(host: Host, payload: Any) -> Any:
        environment: Environment = host.environment
        environment.via = text(payload, "via", "")
        try:
            return handler(host, payload)
        finally:
            environment.via = ""

    return handle


def contract_ids(host: Host) -> list[str]:
    """The ids of this cell's contracts, in the order they were defined; of those too whose actor is down."""
    return [address.partition(":")[2] for address in host.addresses("contract")]


def define(
    host: Host, document: dict[str, Any], partition_of: Callable[[str], Partition], by: str = "configuration"
) -> dict[str, Any]:
    """Defines a contract, or gives it a new version, as ``by`` wants it; the same document again changes nothing.

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
    if host.exists(address):
        query.require_running(host, address)
        host.ask(address, DefineContract(contract.to_document(), by))
    else:
        newest, _ = query.ask(host, ledger_address(contract.id), NewestTerms()) or (0, None)
        batches = ingest_address(partition.directory.name)
        if not host.exists(batches):
            host.start_child(MONITORING, ActorSpec(batches, "ingest"), partition)
        spec = ActorSpec(address, "contract", (contract.to_document(), host.now_ms, newest + 1))
        host.start_child(DEFINITION, spec, partition)
        note_act(
            host, partition.directory.name, What.CONTRACT_DEFINED, sla_id=contract.id, subject=contract.id,
            who=by or "operator", version=newest + 1, document=contract.to_document(),
        )  # fmt: skip
    return {"id": contract.id, "version": query.describe_contract(host, contract.id).version}


def _catalog(host: Host, payload: Any) -> dict[str, Any]:
    environment: Environment = host.environment
    version = environment.catalog.version
    if isinstance(payload, dict) and payload.get("version") == version:
        return {"version": version}
    return {"version": version, "metrics": dict(environment.catalog.metrics()), "slas": contract_ids(host)}


def _sources(host: Host, payload: Any) -> dict[str, Any]:
    environment: Environment = host.environment
    return {"sources": list(environment.sources.values())}


def _lines(host: Host, payload: Any) -> dict[str, Any]:
    """``{"slas": [...], "next"}``: a line for each contract, of ``payload``'s page alone if it asks for pages.

    A page begins ``after`` a contract's id and ends with the contract that brings its metrics to ``page`` of them;
    ``next`` is that one's id while there are more, None otherwise. Between two pages others have their turn. Without
    ``metrics`` the lines say nothing of each metric.
    """
    room, after = optional_number(payload, "page"), optional_text(payload, "after")
    with_metrics = flag(payload, "metrics", True)
    ids = contract_ids(host)
    if room is not None:
        ids = sorted(each for each in ids if after is None or each > after)
    environment: Environment = host.environment
    lines: list[dict[str, Any]] = []
    for sla_id in ids:
        if room is not None and room <= 0:
            return {"slas": lines, "next": lines[-1]["id"]}
        lines.append(query.status_line(host, sla_id, with_metrics=with_metrics))
        if room is not None:
            known = environment.known(sla_id)
            room -= 1 if known is None else len(known.definition.document["metrics"])
    return {"slas": lines, "next": None}


def _status(host: Host, payload: Any) -> dict[str, Any]:
    environment: Environment = host.environment
    return {
        **_lines(host, payload),
        **host.stats(),
        "counts": dict(host.counts),
        "silences": sum(
            each.state(host.now_ms) is SilenceState.ACTIVE for each in environment.muting.silences
        ),
        "sources": list(environment.sources.values()),
        "sources_failing": dict(environment.sources_failing),
        "channels_failing": {sender.name: sender.trouble for sender in _messengers(host) if sender.trouble},
        "audit_failing": dict(environment.audit_failing),
        "held": environment.held,
        "remediation": restraint_request.state(host),
        "low_on_room": str(environment.room)
        if environment.room is not None and environment.room.is_low
        else None,
    }


def _ask_contract(host: Host, payload: Any, request: Any) -> dict[str, Any]:
    sla_id = text(payload, "id")
    query.describe_contract(host, sla_id)
    host.ask(contract_address(sla_id), request)
    return query.contract_document(host, sla_id)


def _remove(host: Host, payload: Any) -> dict[str, Any]:
    sla_id = text(payload, "id")
    query.describe_contract(host, sla_id)
    address, request = contract_address(sla_id), RemoveContract(text(payload, "by"))
    try:
        host.ask(address, request)
    except RequestError as error:
        if error.code != "unavailable" or not host.is_running(address):
            raise
        # It is on record, and waits for monitors that are down. Asked once more it says for which.
        try:
            host.ask(address, request)
        except RequestError as waits:
            raise RequestError("unavailable", str(waits), reason=query.DOWN) from error
    host.terminate_child(address)
    return {"id": sla_id}


def _violations(host: Host, payload: Any) -> dict[str, Any]:
    listed = query.violations(host, _known_sla(host, payload), flag(payload, "all", False))
    return {"violations": [query.violation_row(host, violation) for violation in listed]}


def _known_sla(host: Host, payload: Any) -> str | None:
    """The contract asked for, which may be removed but must have been; None for all."""
    sla_id = optional_text(payload, "sla")
    if sla_id is not None and not host.exists(report_address(sla_id)):
        raise RequestError("not_found", f"no contract {sla_id}")
    return sla_id


def _ask_violation(host: Host, payload: Any, request: Any) -> dict[str, Any]:
    violation_id = text(payload, "id")
    address = violation_address(violation_id)
    if host.exists(address):
        query.require_running(host, address)
    else:
        query.find_violation(host, violation_id)
        raise RequestError("conflict", f"violation {violation_id} is resolved", reason="already_resolved")
    violation: Violation = host.ask(address, request)
    return query.as_of_now(host, violation).to_document()


def _acknowledgement(payload: Any) -> AcknowledgeViolation:
    by, note = text(payload, "by"), text(payload, "note", "")
    return AcknowledgeViolation(by, note, flag(payload, "takes_over", True))


def _incident(host: Host, payload: Any) -> dict[str, Any]:
    """The violations of this cell that messages with a dedup key were about; the key of one alone is its id."""
    key = text(payload, "dedup_key")
    if host.exists(violation_address(key)):
        return {"violation_ids": [key]}
    if not key.startswith(GROUP_PREFIX):  # it may have ended: then it is still known
        return {"violation_ids": [query.find_violation(host, key).id]}
    for sla_id in contract_ids(host):
        address = alert_address(sla_id)
        found = query.ask(host, address, DescribeIncident(key)) if host.exists(address) else ()
        if found:
            return {"violation_ids": list(found)}
    raise RequestError("not_found", f"no message that is known had the key {key}")


def _on_call(host: Host, payload: Any) -> dict[str, Any]:
    """Who is on call, and who is next; of one rotation or of all, now or at ``at_ms``."""
    environment: Environment = host.environment
    policy, wanted = environment.enforcement, optional_text(payload, "name")
    at_ms = optional_number(payload, "at_ms")
    if at_ms is not None and at_ms > LAST_AT_MS:
        raise RequestError("invalid", "at_ms is beyond what a calendar is kept for")
    if wanted is not None and wanted not in policy.on_call:
        known = ", ".join(sorted(policy.on_call)) or "there are none"
        raise RequestError("not_found", f"no rotation {wanted}; known here: {known}")
    names = [wanted] if wanted is not None else sorted(policy.on_call)
    return {"on_call": [_duty_document(policy, each, at_ms or host.now_ms) for each in names]}


def _channels(host: Host, payload: Any) -> dict[str, Any]:
    environment: Environment = host.environment
    return {
        "channels": [
            {**sender.to_document(), "waiting": environment.waiting(sender.name)}
            for sender in _messengers(host)
        ]
    }


def _messengers(host: Host) -> list[Messenger]:
    environment: Environment = host.environment
    return [each for each in environment.senders.values() if isinstance(each, Messenger)]


def _duty_document(policy: EnforcementPolicy, name: str, at_ms: int) -> dict[str, Any]:
    rotation = policy.on_call[name]
    duty = on_call(rotation, policy.responders, at_ms)
    change = next_change(rotation, policy.responders, at_ms)
    responder = policy.responders.get(duty.person)
    return {
        "name": name,
        "at": at_ms,
        "timezone": rotation.timezone,
        "person": duty.person,
        "reason": duty.reason.value,
        "instead_of": duty.instead_of,
        "addresses": dict(responder.addresses) if responder is not None else {},
        "next": None if change is None else {"at": change.at_ms, "person": change.duty.person},
    }


def _escalate(host: Host, payload: Any) -> dict[str, Any]:
    """Tells the next level; the violation with ``told``: the levels that are being told because of this request."""
    before = query.find_violation(host, text(payload, "id"))
    _ask_violation(host, payload, EscalateViolation(text(payload, "by", "")))
    # The walk has made its step only when what it sends is durable.
    host.drain()
    after = query.find_violation(host, before.id)
    known = {record.key for record in before.escalations}
    told = [record.to_document() for record in after.escalations if record.key not in known]
    return {**after.to_document(), "told": told}


def _decide(host: Host, payload: Any) -> dict[str, Any]:
    entry_id, approve = text(payload, "id"), flag(payload, "approve", None)
    return _ask_ledger(host, entry_id, DecideEntry(entry_id, approve, *_by_and_why(payload)))


def _settle(host: Host, payload: Any) -> dict[str, Any]:
    entry_id = text(payload, "id")
    return _ask_ledger(host, entry_id, SettleEntry(entry_id, *_by_and_why(payload)))


def _by_and_why(payload: Any) -> tuple[str, str]:
    return text(payload, "by"), text(payload, "reason")


def _ask_ledger(host: Host, entry_id: str, request: DecideEntry | SettleEntry) -> dict[str, Any]:
    entry = next((each for each in query.entries(host, None) if each.id == entry_id), None)
    if entry is None:
        raise RequestError("not_found", f"no ledger entry {entry_id}")
    changed = host.ask(ledger_address(entry.sla_id), request)
    document: dict[str, Any] = changed.to_document()
    return document


def _dependencies(host: Host, payload: Any) -> dict[str, Any]:
    """``{"slas": [{"id", "depends_on"}]}`` of this cell."""
    environment: Environment = host.environment
    found = [(each, environment.known(each)) for each in contract_ids(host)]
    return {
        "slas": [
            {"id": each, "depends_on": list(known.definition.depends_on)}
            for each, known in found
            if known is not None
        ]
    }


def _report(host: Host, payload: Any) -> dict[str, Any]:
    document = report_document(host, text(payload, "sla"), text(payload, "period", "current"))
    wanted = text(payload, "format", "json")
    if wanted == "json":
        return {"document": document}
    write = _REPORT_WRITERS.get(wanted)
    if write is None:
        known = ", ".join(("json", *_REPORT_WRITERS))
        raise RequestError("invalid", f"unknown report format {wanted!r}: there are {known}")
    return {"text": write(document)}


_REPORT_WRITERS = {"md": to_markdown, "html": to_html, "csv": to_csv}


def _backup(host: Host, payload: Any) -> dict[str, Any]:
    """What a copy of each partition is made of: everything that was acknowledged before this was asked is in it."""
    return {
        "partitions": [
            {"name": name, "sequence": partition.seq, "files": partition.copy_of()}
            for name, partition in host.partitions.items()
        ]
    }


def _operate(host: Host, payload: Any, operate: Callable[[str], None], what: What) -> dict[str, Any]:
    address, by = text(payload, "address"), text(payload, "by", "")
    is_released = what is What.ACTOR_RESUMED and _is_quarantined(host, address)
    operate(address)
    _note_about(host, address, What.ACTOR_RELEASED if is_released else what, by)
    host.drain()
    described: dict[str, Any] = _plain(host.inspector.describe(address))
    return described


def _is_quarantined(host: Host, address: str) -> bool:
    return bool(host.inspector.describe(address)["status"] == "quarantined")


def _note_about(host: Host, address: str, what: What, by: str, **details: Any) -> None:
    """Notes an act on an actor where the actor is recorded; one that is recorded nowhere, in the first partition."""
    partition = host.partition_of(address) or next(iter(host.partitions))
    note_act(host, partition, what, subject=address, who=by or "operator", **details)


def _redeliver(host: Host, payload: Any) -> dict[str, Any]:
    letter = host.inspector.redeliver(text(payload, "id"))
    _note_about(
        host, letter["address"], What.LETTER_REDELIVERED, text(payload, "by", ""), letter=letter["id"]
    )
    return letter


def _audit_heads(host: Host, payload: Any) -> dict[str, Any]:
    """``{"heads": [{"partition", "seq", "hash", "filed_seq", "filed_hash"}]}``: of each chain, and its files."""
    heads = []
    for name in host.partitions:
        chain = recorded_chain(host.partitions[name], name, host.codec)
        heads.append(
            {
                "partition": name,
                "seq": chain.head_seq,
                "hash": chain.head_hash,
                "filed_seq": chain.filed_seq,
                "filed_hash": chain.filed_hash,
            }
        )
    return {"heads": heads}


_OF_PROCESSES = {"kill": What.PROCESS_KILLED, "restart": What.PROCESS_RESTARTED}


def _note_process(host: Host, payload: Any) -> dict[str, Any]:
    """Notes what an operator is about to do to a process: it has no partition, so any cell's first keeps it."""
    what = _OF_PROCESSES.get(text(payload, "operation"))
    if what is None:
        raise RequestError("invalid", f"operation must be one of: {', '.join(_OF_PROCESSES)}")
    who = text(payload, "by", "") or "operator"
    note_act(host, next(iter(host.partitions)), what, subject=text(payload, "name"), who=who)
    return {}


def _plain(value: Any) -> Any:
    """State for people as JSON values: records become maps with their class named."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"record": type(value).__name__, **_plain(asdict(value))}
    return json.loads(json.dumps(value, default=_text_of))


def _text_of(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
