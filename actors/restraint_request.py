"""What a cell answers about its automatic remediation: switched off, on, and what is left alone."""

from typing import Any

from slakeeper.actors import query
from slakeeper.actors.address import restraint_address
from slakeeper.actors.environment import Environment
from slakeeper.actors.payload import flag, mapping, text
from slakeeper.actors.restraint import from_document
from slakeeper.actors.restraint_message import LearnSwitch, TurnRemediation
from slakeeper.otp.host import Host
from slakeeper.sla import restraint
from slakeeper.sla.restraint import Switch


def state(host: Host) -> dict[str, Any]:
    """``{"switch", "left_alone", "breakers_open"}`` for a cell's status; ``switch`` None while it was not touched."""
    environment: Environment = host.environment
    switch = environment.restraint.switch
    left_alone = restraint.recurrences(
        environment.restraint.helped, environment.enforcement.remediation, host.now_ms
    )
    resting = [
        {"action": name, "failures": breaker.failures, "message": refusal}
        for name, breaker in sorted(environment.breakers.items())
        if (refusal := breaker.refusal(environment.enforcement.remediation, host.now_ms))
    ]
    return {
        "switch": None if switch is None else switch.to_document(),
        "left_alone": [each.to_document() for each in left_alone],
        "breakers_open": resting,
    }


def turn(host: Host, payload: Any) -> dict[str, Any]:
    """Switches automatic remediation ``on`` (true or false); every partition of this cell has it on return."""
    addresses = [restraint_address(name) for name in host.partitions]
    first = next((each for each in addresses if host.takes(each)), addresses[0])
    query.require_running(host, first)
    wanted = TurnRemediation(flag(payload, "on", None), text(payload, "by"), text(payload, "reason"))
    switch: Switch = host.ask(first, wanted)
    _keep(host, switch)
    return switch.to_document()


def learn(host: Host, payload: Any) -> dict[str, Any]:
    """Takes in what was switched in another cell a moment ago, sooner than by asking for it."""
    switch = from_document(mapping(payload, "switch"))
    if switch is not None:
        _keep(host, switch)
    return {}


def _keep(host: Host, switch: Switch) -> None:
    """Keepers that are down learn it when they start; until then the cell goes by what the others say."""
    for name in host.partitions:
        query.ask(host, restraint_address(name), LearnSwitch(switch))
