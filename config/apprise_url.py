"""Whether apprise is there for channels that need it, and knows their addresses; asked only when there are any."""

import logging
from importlib.util import find_spec

from slakeeper.config.reading import Reading
from slakeeper.sla.policy import AppriseChannel, EnforcementPolicy


def check_apprise(reading: Reading, policy: EnforcementPolicy) -> None:
    """Reports channels of type apprise that can reach nobody. Shows no address: it is a secret."""
    for name, channel in policy.channels.items():
        if (
            not isinstance(channel, AppriseChannel)
            or channel.url is None
            or not channel.url.get_secret_value()
        ):
            continue
        place = ("channels", name, "url")
        if find_spec("apprise") is None:
            message = 'apprise is not installed here: pip install "slakeeper[apprise]"'
            reading.report(place, "missing_package", message)
        elif not _is_known(channel.url.get_secret_value()):
            reading.report(place, "invalid_url", "apprise does not understand this address")


def _is_known(url: str) -> bool:
    # It logs what it does not understand.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    import apprise

    return bool(apprise.Apprise.instantiate(url, suppress_exceptions=True))
