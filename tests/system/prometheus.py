"""What the tests with a real Prometheus need: the server, and a refusal to go without it where all is to be tried."""

import os

import pytest

from bench.prometheus import PROGRAM, is_installed


def needs_prometheus() -> None:
    """Skips a test where there is no server; where everything is to be tried it fails."""
    if not is_installed():
        message = f"the command {PROGRAM} is not there; tools/servers.sh installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
