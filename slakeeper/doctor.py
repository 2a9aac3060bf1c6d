"""``slakeeper doctor``: what is the matter with a data directory, and the repair of its partitions.

The document that it shows::

    {"data", "state": "running" | "stopped", "ok", "problems": [text], "partitions": [row], "disk": {…_bytes},
     "missing": [name], "audit": [{"partition", "kind", "file", "line", "seq", "message"}],
     "audit_unknown": text, "audit_ahead": {name: entries}, "left_over": [{"file", "bytes"}], "begun_anew": [name],
     "repaired": null | {"folder", "partitions": [name]}}

A partition's row::

    {"name", "state": "sound" | "damaged" | "in_use" | "unknown", "reason", "damage": [{"file", "byte", "sequence",
     "what"}], "remarks": [the same], "fallback": [the same], "keeps": {"sequence", "snapshot", "actors"},
     "gives_up": null | {…}}

``gives_up`` is of damaged ones: ``first_sequence``, ``last_sequence``, ``commits`` (None when unknown),
``commits_readable``, ``events``, ``events_by_actor``, ``contracts``, ``from_ms``, ``to_ms`` (None when unknown),
``unreadable_bytes``, ``files``.
"""

import contextlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from slakeeper.actors.record import make_codec
from slakeeper.audit import AuditError, Heads, verify, verify_recorded
from slakeeper.audit import partitions as chains
from slakeeper.chain import AUDIT_FOLDER, cut_chain, entries_ahead, note_repair
from slakeeper.config.loader import load
from slakeeper.config.problem import ConfigError
from slakeeper.config.service import ServiceSettings
from slakeeper.disk import REPAIRED_PREFIX, disk_use, left_over
from slakeeper.layout import PARTITIONS, LayoutError, NewerData, check_meta, give_up, lost_partitions
from slakeeper.loss import loss_of
from slakeeper.otp import run_file
from slakeeper.otp.filesystem import FileSystem, Lock, OsFileSystem, write_atomically
from slakeeper.otp.journal import JournalError
from slakeeper.otp.repair import repair
from slakeeper.otp.survey import Survey, survey
from slakeeper.otp.walk import Damage
from slakeeper.reading import config_directory
from slakeeper.sla.audit_check import ProblemKind
from slakeeper.text import size_text

# In the folder of a repair: what was found, and that the audit chain knows of it.
REPORT_FILE = "report.json"
NOTED_FILE = "noted"


class Refused(Exception):
    """Nothing was looked at or repaired; the text says why and what to do."""


@dataclass(frozen=True)
class _Ward:
    """One partition: what was found, or why nothing could be."""

    name: str
    found: Survey | None = None
    state: str = "unknown"
    reason: str = ""


def examine(data: Path, now_ms: int, ask_heads: Callable[[], Heads]) -> dict[str, Any]:
    """Looks at a data directory; changes nothing.

    Args:
        ask_heads: asks the running system, if it runs, how far its audit chains are; may raise AuditError.

    Raises:
        Refused: there is none.
        PermissionError: it is another user's.
    """
    if not data.is_dir():
        raise Refused(f"there is no data directory {data}")
    is_running = run_file.holder(data) is not None
    audit = _running_audit(data, ask_heads) if is_running else _stopped_audit(data)
    with _partitions(data) as wards:
        return _document(data, wards, now_ms, audit, is_running=is_running)


def mend(data: Path, now_ms: int, by: str) -> dict[str, Any]:
    """Looks, and repairs every damaged partition; durable on return. The document is of what was found before.

    A repair is noted in the partition's audit chain, as ``by`` wanted it.

    Raises:
        Refused: there is no such directory, the system or another program is using it, or a newer version wrote it.
        OSError: it may be half done; the next repair goes on.
    """
    if not data.is_dir():
        raise Refused(f"there is no data directory {data}")
    try:
        lock = run_file.lock(data)
    except run_file.AlreadyRunning as error:
        stop = f"slakeeper --data {shlex.quote(str(data))} stop"
        raise Refused(f"{data} is in use by process {error.pid}; end it first: {stop}") from error
    try:
        _refuse_newer(data)
        audit = _stopped_audit(data)
        with _partitions(data) as wards:
            busy = [ward.name for ward in wards if ward.state == "in_use"]
            if busy:
                raise Refused(f"another program uses {', '.join(busy)} of {data}; end it first")
            document = _document(data, wards, now_ms, audit, is_running=False)
            lost = document["missing"]
            damaged = [ward for ward in wards if ward.found is not None and not ward.found.is_sound]
            if lost or damaged:
                document |= {"begun_anew": lost, "missing": []}
                document["repaired"] = _repaired(data, damaged, document, now_ms)
                give_up(data, lost)
                # What their audit files hold is set aside below.
                document["audit"] = [each for each in document["audit"] if each["partition"] not in lost]
                document["audit_ahead"] = {
                    name: count for name, count in document["audit_ahead"].items() if name not in lost
                }
                document["problems"] = _problems(data, wards, document, skipped=damaged)
                document["ok"] = not document["problems"]
        # The partitions are free again: to note something they are opened.
        for folder in sorted(data.glob(f"{REPAIRED_PREFIX}*")):
            _note(data, folder, by, now_ms)
        return document
    finally:
        os.close(lock)


def _refuse_newer(data: Path) -> None:
    try:
        check_meta(data)
    except NewerData as error:
        raise Refused(f"nothing was repaired: {error}") from error
    except LayoutError:
        pass  # damage, which the document says


def _repaired(data: Path, damaged: list[_Ward], document: dict[str, Any], now_ms: int) -> dict[str, Any]:
    fs = OsFileSystem()
    folder = _new_folder(fs, data, now_ms)
    done = {"folder": str(folder), "partitions": [ward.name for ward in damaged]}
    # What it was goes to the disk before anything is moved: it may be wanted after a crash in the middle.
    text = json.dumps({**document, "repaired": done, "at_ms": now_ms}, ensure_ascii=False, indent=1)
    write_atomically(fs, folder / REPORT_FILE, (text.encode(),)).close()
    for ward in damaged:
        if ward.found is not None:
            repair(fs, ward.found, folder / PARTITIONS / ward.name)
    codec = make_codec()
    for ward in damaged:
        after = survey(fs, data / PARTITIONS / ward.name, codec)
        if not after.is_sound:
            raise Refused(f"{ward.name} is still damaged after its repair: {after.damages[0].what}")
    return done


def _note(data: Path, folder: Path, by: str, now_ms: int) -> None:
    """Brings the audit chain to terms with a repair, once; also with one that was interrupted before this."""
    report, done = folder / REPORT_FILE, folder / NOTED_FILE
    if done.exists() or not report.exists():
        return
    try:
        document = json.loads(report.read_text())
        rows = {row["name"]: row for row in document["partitions"]}
        repaired = [*document["repaired"]["partitions"], *document["begun_anew"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{report} is damaged ({error!r}); move it away, and repair again") from error
    for name in repaired:
        taken_out = cut_chain(data, name, folder / AUDIT_FOLDER / name)
        row = rows.get(name, {})  # nothing was there of one that is begun anew
        lost = row.get("gives_up") or {}
        details = {
            "kept_sequence": (row.get("keeps") or {}).get("sequence", 0),
            "given_up_commits": lost.get("commits") or "unknown",
            "contracts": lost.get("contracts", []),
            "audit_entries_set_aside": taken_out,
        }
        note_repair(data, name, by, now_ms, folder, details)
    write_atomically(OsFileSystem(), done, (b"",)).close()


def _new_folder(fs: FileSystem, data: Path, now_ms: int) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ms / 1000))
    folder, number = data / f"{REPAIRED_PREFIX}{stamp}", 1
    while folder.exists():
        number += 1
        folder = data / f"{REPAIRED_PREFIX}{stamp}-{number}"
    fs.make_directory(folder)
    return folder


@contextlib.contextmanager
def _partitions(data: Path) -> Iterator[list[_Ward]]:
    """Every partition, looked at under its lock, which is kept meanwhile so that nobody begins to write."""
    fs, codec = OsFileSystem(), make_codec()
    folder = data / PARTITIONS
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    locks: list[Lock] = []
    wards: list[_Ward] = []
    try:
        for name in names:
            try:
                locks.append(fs.lock(folder / name / "lock"))
            except BlockingIOError:
                wards.append(_Ward(name, state="in_use"))
                continue
            try:
                found = survey(fs, folder / name, codec)
            except (JournalError, OSError) as error:
                wards.append(_Ward(name, reason=str(error)))
                continue
            wards.append(_Ward(name, found, "sound" if found.is_sound else "damaged"))
        yield wards
    finally:
        for lock in locks:
            lock.release()


def _missing(data: Path) -> list[str]:
    with contextlib.suppress(LayoutError):  # said by itself
        return lost_partitions(data)
    return []


@dataclass(frozen=True)
class _Audit:
    """The audit chains: what is wrong with them, why that is not known, how far they are ahead of the journals."""

    problems: tuple[dict[str, Any], ...] = ()
    unknown: str = ""
    ahead: Mapping[str, int] = field(default_factory=dict)


def _running_audit(data: Path, ask_heads: Callable[[], Heads]) -> _Audit:
    if not chains(data):
        return _Audit()
    try:
        return _Audit(tuple(verify(data, ask_heads).to_document()["problems"]))
    except (AuditError, OSError) as error:
        return _Audit(unknown=str(error))


def _stopped_audit(data: Path) -> _Audit:
    """Of partitions that nobody uses."""
    problems: list[dict[str, Any]] = []
    ahead: dict[str, int] = {}
    for name in chains(data):
        # A partition that is damaged, or in use, is judged otherwise.
        with contextlib.suppress(JournalError, AuditError, OSError):
            if count := entries_ahead(data, name):
                ahead[name] = count
            problems += (
                {"partition": name, **each.to_document()}
                for each in verify_recorded(data, name).problems
                # Entries that the journal does not have are said by their number.
                if not (name in ahead and each.line and each.kind is ProblemKind.FOREIGN)
            )
    return _Audit(tuple(problems), ahead=ahead)


def _document(
    data: Path, wards: list[_Ward], now_ms: int, audit: _Audit, *, is_running: bool
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "data": str(data),
        "state": "running" if is_running else "stopped",
        "ok": True,
        "problems": [],
        "partitions": [_row(ward, now_ms) for ward in wards],
        "disk": disk_use(data),
        "left_over": [{"file": str(path), "bytes": size} for path, size in left_over(data)],
        "repaired": None,
        "missing": _missing(data),
        "begun_anew": [],
        "audit": list(audit.problems),
        "audit_unknown": audit.unknown,
        "audit_ahead": dict(audit.ahead),
    }
    document["problems"] = _problems(data, wards, document)
    document["ok"] = not document["problems"]
    return document


def _row(ward: _Ward, now_ms: int) -> dict[str, Any]:
    found = ward.found
    row: dict[str, Any] = {"name": ward.name, "state": ward.state, "reason": ward.reason}
    if found is None:
        return {**row, "damage": [], "remarks": [], "fallback": [], "keeps": None, "gives_up": None}
    kept = found.kept
    row["damage"] = [_damage_row(each) for each in found.damages]
    row["remarks"] = [_damage_row(each) for each in found.remarks]
    row["keeps"] = {"sequence": kept.end.seq, "snapshot": kept.start.seq, "actors": kept.actors}
    row["fallback"] = [_damage_row(each) for each in found.fallback]
    row["gives_up"] = None if found.is_sound else _given_up(found, now_ms)
    return row


def _damage_row(damage: Damage) -> dict[str, Any]:
    return {"file": str(damage.path), "byte": damage.byte, "sequence": damage.seq, "what": damage.what}


def _given_up(found: Survey, now_ms: int) -> dict[str, Any]:
    loss = loss_of(found.lost, make_codec(), now_ms)
    return {
        "first_sequence": found.kept.end.seq + 1,
        "last_sequence": found.known_seq if found.lost_count else None,
        # Of files that are missing at the end nothing says how much was in them.
        "commits": found.lost_count or None,
        "commits_readable": len(found.lost),
        "events": loss.events.total(),
        "events_by_actor": dict(loss.events.most_common()),
        "contracts": sorted(loss.contracts),
        "from_ms": loss.from_ms,
        "to_ms": loss.to_ms,
        "unreadable_bytes": found.unreadable_bytes,
        "files": [str(path) for path in found.aside],
    }


def _problems(
    data: Path, wards: list[_Ward], document: dict[str, Any], skipped: list[_Ward] | None = None
) -> list[str]:
    found: list[str] = []
    try:
        check_meta(data)
    except LayoutError as error:
        found.append(str(error))
    for ward in wards:
        if ward in (skipped or ()):
            continue
        if ward.state == "damaged":
            found.append(f"{ward.name} is damaged: the system does not start")
        elif ward.found is not None and ward.found.fallback:
            found.append(
                f"what {ward.name} would fall back on is damaged; it is needed only if its newest snapshot gets "
                f"damaged too; two snapshots from now it is replaced"
            )
        elif ward.state == "unknown":
            found.append(f"{ward.name} cannot be judged: {ward.reason}")
        elif ward.state == "in_use" and document["state"] == "stopped":
            found.append(f"{ward.name} is in use by a program that is not the system")
    found += [
        f"{name} is missing or empty, and with it all contracts that it kept" for name in document["missing"]
    ]
    found += [
        f"{name}: its audit files hold {count} entries that its journal does not have: what was decided and "
        f"acknowledged is missing from the end of the journal"
        for name, count in document["audit_ahead"].items()
    ]
    found += _audit_problems(document)
    if data.stat().st_mode & 0o077:
        found.append(f"{data} is open to other users: chmod 700 it")
    folder, service = config_directory(None, data), ServiceSettings()
    try:
        service = load(folder, os.environ).service
    except ConfigError as error:
        check = f"slakeeper check --config {shlex.quote(str(folder))}"
        found.append(f"the configuration in {folder} has errors ({len(error.errors)}); see: {check}")
    free = document["disk"]["free_bytes"]
    if free < service.min_free_bytes:
        found.append(f"the disk of {data} is nearly full, {size_text(free)} free: samples are refused")
    return found


def _audit_problems(document: dict[str, Any]) -> list[str]:
    """One for each chain that is not intact: where it begins to be wrong."""
    found = []
    command = f"slakeeper --data {shlex.quote(document['data'])} audit verify"
    for name, listed in groupby(document["audit"], key=lambda each: each["partition"]):
        first, *more = listed
        others = f"; {len(more)} more: {command}" if more else ""
        found.append(f"{name}: its audit chain is not intact: {first['message']}{others}")
    if document["audit_unknown"]:
        found.append(f"the audit chain could not be verified: {document['audit_unknown']}")
    return found
