"""Sources: what is asked for samples, one file a source, opened here by its settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, assert_never, runtime_checkable

from slakeeper.sla.monitoring import (
    AnySource,
    CustomSource,
    HostSource,
    HttpSource,
    InternalSource,
    McpSource,
    ProcessSource,
    PrometheusSource,
)
from slakeeper.sla.sample import Sample


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to one query: a value or an error.

    Attributes:
        metric: the name under which the query was asked.
        value: finite; None with an error.
        ts_ms: when the source measured it [Unix ms]; None means now.
        error: why there is no value, None with a value.
        is_silence: the source did answer, that there is no value now. Then ``error`` says so in its words, and the
            contract's ``no_data`` what it means; it is no error of the source.
    """

    metric: str
    value: float | None
    ts_ms: int | None = None
    error: str | None = None
    is_silence: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples that are missing: of a query, from one instant to another, both included [Unix ms]."""

    query: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Filling:
    """What a source still knows of a gap: samples, oldest first, maybe none; or why that could not be asked."""

    metric: str
    samples: tuple[Sample, ...]
    error: str | None = None


class Poller(Protocol):
    """An open source. Any thread may poll; one poll at a time."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """Asks every query, blocking for at most the source's ``timeout`` in all.

        Args:
            queries: query by an opaque name, which comes back as ``Reading.metric``.

        Returns:
            One reading for each name, in the order of ``queries``. A query that fails is a reading with an error;
            the others are not disturbed by it.
        """
        ...


@runtime_checkable
class Catching(Protocol):
    """A poller whose source can also be asked what was."""

    def fetch(self, gaps: Mapping[str, Gap], step_ms: int) -> list[Filling]:
        """Asks for what is missing, blocking for at most the source's ``timeout`` in all.

        Args:
            gaps: by an opaque name, which comes back as ``Filling.metric``.
            step_ms: the distance of two samples [ms].

        Returns:
            One filling for each gap, in the order of ``gaps``.
        """
        ...


def open_source(name: str, settings: AnySource) -> Poller:
    """The poller of a source; nothing is asked before the first poll.

    Raises:
        ValueError: an internal source, which is pushed to and never polled.
    """
    match settings:
        case HostSource():
            from slakeeper.integrations.host import HostPoller

            return HostPoller(name)
        case ProcessSource():
            from slakeeper.integrations.process import ProcessPoller

            return ProcessPoller(name, settings)
        case PrometheusSource():
            from slakeeper.integrations.prometheus import PrometheusPoller

            return PrometheusPoller(name, settings)
        case HttpSource():
            from slakeeper.integrations.probe import ProbePoller

            return ProbePoller(name, settings)
        case CustomSource():
            from slakeeper.integrations.json_document import JsonDocumentPoller

            return JsonDocumentPoller(name, settings)
        case McpSource():
            from slakeeper.integrations.mcp import McpPoller

            return McpPoller(name, settings)
        case InternalSource():
            raise ValueError(f"source {name} is pushed to, not polled")
        case _:
            assert_never(settings)
