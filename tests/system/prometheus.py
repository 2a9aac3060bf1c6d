"""What the tests with a real Prometheus need: the server, and a refusal to go without it where all is to be tried."""

import os

import pytest

from bench.prometheus import PROGRAM, is_installed


def needs_prometheus(program: str = PROGRAM) -> None:
    """Skips a test where there is no server, or not that program of its package; where all is to be tried it fails."""
    if not is_installed(program):
        message = f"the command {program} is not there; tools/servers.sh installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
