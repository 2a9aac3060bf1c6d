"""The drivers of the conformance suite; the document says by their fixtures' names what each case ran on."""

from collections.abc import Callable

import pytest

from tests.conformance.fake_children import Family
from tests.conformance.host_family import HostFamily, Kin
from tests.conformance.light import Light, OnCore, OnHost

LIGHT: dict[str, Callable[[], Light]] = {"core": OnCore, "host": OnHost}


@pytest.fixture(params=list(LIGHT))
def light(request: pytest.FixtureRequest) -> Light:
    """Either driver, for what both can do: the test runs on each."""
    return LIGHT[request.param]()


@pytest.fixture
def core() -> Family:
    """The core over children that follow a script, for what takes time, is ignored, or the host has no use for."""
    return Family()


@pytest.fixture
def host() -> OnHost:
    """The host of a cell, for what the core knows nothing of."""
    return OnHost()


@pytest.fixture(params=["core", "host"])
def kin(request: pytest.FixtureRequest) -> Kin:
    """Either driver behind OTP's API: the test runs on each."""
    return Family() if request.param == "core" else HostFamily()
