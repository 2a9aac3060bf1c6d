"""What is watched and how (``monitoring.yaml`` as values)."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from slakeeper.sla.duration import DAY_MS, SECOND_MS, DurationMs, SpanMs
from slakeeper.sla.field import Flag, Number, Url, Whole


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Source(_Value):
    """Common keys of a polled source (times in ms).

    ``metrics`` binds metric names to queries; a contract's metric with ``source:`` binds itself, asking its
    own ``query`` or, without one, its name.
    """

    interval: SpanMs | None = None
    timeout: SpanMs = 10 * SECOND_MS
    jitter: DurationMs = 0
    metrics: dict[str, str] = Field(default_factory=dict)


class InternalSource(_Value):
    """Samples that are pushed: HTTP, ``slakeeper observe``, ``app.observe``. Nothing is polled."""

    type: Literal["internal"]
    collector: str = ""


class HostSource(Source):
    """psutil: cpu_usage, memory_usage, disk_usage[:PATH] in percent, process_up:NAME as 1 or 0."""

    type: Literal["host"]


class PrometheusSource(Source):
    """PromQL instant queries against ``url``; a token, or a username with its password, when it asks for one."""

    type: Literal["prometheus"]
    url: Url
    token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    enabled: Flag = True

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if self.token is not None and self.username is not None:
            raise PydanticCustomError("two_logins", "give a token or a username, not both")
        return self


class CustomSource(Source):
    """A JSON document at ``url``; a query is a JSON pointer (RFC 6901) into it."""

    type: Literal["custom"]
    url: Url
    token: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    enabled: Flag = True


class HttpSource(Source):
    """A GET of ``url``; queries: ``up`` (100 or 0 percent), ``status``, ``latency`` [ms], ``error`` (0 or 100)."""

    type: Literal["http"]
    url: Url
    expect_status: tuple[Whole, ...] = (200,)
    enabled: Flag = True


AnySource = Annotated[
    InternalSource | HostSource | PrometheusSource | CustomSource | HttpSource, Discriminator("type")
]


class Retention(_Value):
    """How long what has ended is kept [ms]."""

    violations: SpanMs = 10 * DAY_MS
    status: SpanMs = 3 * DAY_MS
    reports: SpanMs = 30 * DAY_MS


class MonitoringPolicy(_Value):
    """The whole of ``monitoring.yaml``.

    Attributes:
        check_interval: how often a source is polled that gives no ``interval`` of its own [ms].
        violation_threshold: nearness to the threshold above which a metric is at risk, as a ratio in (0, 1].
        alert_channels: names of channels that every opened and resolved violation is told to.
        sources: by name.
    """

    check_interval: SpanMs = 30 * SECOND_MS
    violation_threshold: Number = Field(default=Decimal("0.95"), gt=0, le=1)
    alert_channels: tuple[str, ...] = ()
    sources: dict[str, AnySource] = Field(default_factory=dict)
    retention: Retention = Field(default_factory=Retention)
