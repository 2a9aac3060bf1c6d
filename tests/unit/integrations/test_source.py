"""What holds for every source."""

import pytest

from slakeeper.integrations.source import open_source
from slakeeper.sla.monitoring import (
    CustomSource,
    HostSource,
    HttpSource,
    InternalSource,
    PrometheusSource,
)
from tests.unit.integrations.fake_http import (
    FakeServer,
)


def test_a_source_that_is_pushed_to_is_not_polled() -> None:
    with pytest.raises(ValueError, match="source inbox is pushed to, not polled"):
        open_source("inbox", InternalSource(type="internal"))


def test_an_empty_poll_asks_nothing(server: FakeServer) -> None:
    sources = (
        PrometheusSource(type="prometheus", url=server.url),
        HttpSource(type="http", url=server.url),
        CustomSource(type="custom", url=server.url),
        HostSource(type="host"),
    )
    assert [open_source("x", source).poll({}) for source in sources] == [[], [], [], []]
    assert server.requests == []
