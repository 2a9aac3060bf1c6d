"""What a cell answers about silences: listed, added, ended."""

from typing import Any

from slakeeper.actors import query
from slakeeper.actors.address import silences_address
from slakeeper.actors.environment import Environment
from slakeeper.actors.payload import flag, optional_number, sequence, text
from slakeeper.actors.silence_message import AddSilence, ExpireSilence, LearnSilences
from slakeeper.otp.actor import RequestError
from slakeeper.otp.host import Host
from slakeeper.sla import silence
from slakeeper.sla.silence import SilenceError, SilenceState


def silences(host: Host, payload: Any) -> dict[str, Any]:
    """Silences that are or will be in force; with ``all`` also those that are over and still kept."""
    environment: Environment = host.environment
    wanted = flag(payload, "all", False)
    return {
        "silences": [
            each.to_document(host.now_ms)
            for each in environment.muting.silences
            if wanted or each.state(host.now_ms) is not SilenceState.EXPIRED
        ]
    }


def add(host: Host, payload: Any) -> dict[str, Any]:
    """Makes a silence of ``matchers`` (texts or documents) from ``start`` (default now) to ``end`` [Unix ms]."""
    given = sequence(payload, "matchers")
    ends_at_ms = optional_number(payload, "end")
    if ends_at_ms is None:
        raise RequestError("invalid", "end must be a whole number")
    starts_at_ms = optional_number(payload, "start")
    try:
        made = silence.make(
            [_matcher(each) for each in given[: silence.MAX_MATCHERS + 1]],
            host.now_ms if starts_at_ms is None else starts_at_ms,
            ends_at_ms,
            text(payload, "by"),
            text(payload, "reason"),
            host.now_ms,
        )
    except SilenceError as error:
        raise RequestError("invalid", str(error), reason=error.reason) from error
    return _share_silence(host, _ask_keeper(host, AddSilence(made)))


def _matcher(given: Any) -> silence.Matcher:
    if isinstance(given, str):
        return silence.read_matcher(given)
    relations = [each.value for each in silence.Relation]
    name, relation, value = text(given, "name"), text(given, "relation", "="), text(given, "value")
    if relation not in relations:
        raise RequestError("invalid", f"relation must be one of: {' '.join(relations)}")
    return silence.check_matcher(silence.Matcher(name, silence.Relation(relation), value))


def expire(host: Host, payload: Any) -> dict[str, Any]:
    return _share_silence(host, _ask_keeper(host, ExpireSilence(text(payload, "id"), text(payload, "by"))))


def _ask_keeper(host: Host, request: Any) -> silence.Silence:
    """Asks the keeper of this cell's first partition that is there; any of them keeps all silences."""
    keepers = [silences_address(name) for name in host.partitions]
    address = next((each for each in keepers if host.takes(each)), keepers[0])
    query.require_running(host, address)
    answered: silence.Silence = host.ask(address, request)
    return answered


def _share_silence(host: Host, kept: silence.Silence) -> dict[str, Any]:
    """Every partition of this cell keeps it too."""
    for name in host.partitions:
        host.cast(silences_address(name), LearnSilences((kept,)))
    return kept.to_document(host.now_ms)
