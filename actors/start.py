"""How the host of a cell comes up: its contracts and their monitors may sleep, and are known by their records."""

from slakeeper.actors.address import monitor_names
from slakeeper.actors.environment import Environment
from slakeeper.otp.host import Host


def start(host: Host) -> None:
    """Starts a host with an :class:`Environment`.

    Raises:
        ActorStopped: as :meth:`Host.start`.
    """
    environment: Environment = host.environment
    environment.look = host.asleep
    environment.began_at_ms = host.now_ms
    host.start()
    environment.catalog.expect(map(monitor_names, host.addresses("monitor")), environment.known)
