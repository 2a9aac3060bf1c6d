"""What is watched and how (``monitoring.yaml`` as values)."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from slakeeper.sla.duration import DAY_MS, HOUR_MS, SECOND_MS
from slakeeper.sla.field import DurationMs, Flag, Number, Parameters, SpanMs, Url, Value, Whole


class Source(Value):
    """Common keys of a polled source (times in ms).

    ``metrics`` binds metric names to queries; a contract's metric with ``source:`` binds itself, asking its
    own ``query`` or, without one, its name.
    """

    interval: SpanMs | None = None
    timeout: SpanMs = 10 * SECOND_MS
    jitter: DurationMs = 0
    metrics: dict[str, str] = Field(default_factory=dict)


class InternalSource(Value):
    """Samples that are pushed: HTTP, ``slakeeper observe``, ``app.observe``. Nothing is polled."""

    type: Literal["internal"]
    collector: str = ""


class HostSource(Source):
    """psutil: cpu_usage, memory_usage, disk_usage[:PATH] in percent, process_up:NAME as 1 or 0."""

    type: Literal["host"]


class ProcessSource(Source):
    """The processes of a ``pid_file``, a ``pid`` or a name (``process``) that have all of ``args`` as arguments.

    Queries: ``up`` (100 or 0 percent), ``count``, and of all that match together ``cpu`` (percent of one core),
    ``memory`` (bytes), ``open_files``, ``threads``; ``age`` of the oldest [s].
    """

    type: Literal["process"]
    pid_file: str | None = None
    pid: Annotated[Whole, Field(gt=0)] | None = None
    process: str | None = None
    args: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_told_which(self) -> Self:
        if sum(each is not None for each in (self.pid_file, self.pid, self.process)) != 1:
            raise PydanticCustomError("no_process", "give one of pid_file, pid and process")
        return self


class _Tls(Source):
    """How an https peer is trusted, and who asks: PEM files; without ``ca_file`` the system's authorities.

    There is no key that turns the check off.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @model_validator(mode="after")
    def _has_both_or_none(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise PydanticCustomError("no_certificate", "a key_file needs its cert_file")
        return self


class PrometheusSource(_Tls):
    """PromQL against ``url``; a token, or a username with its password, when it asks for one.

    Attributes:
        catch_up: how far back what was missed is fetched by range queries, and waited for [ms]; 0: not at all.
        concurrency: so many queries are on their way at once at most.
    """

    type: Literal["prometheus"]
    url: Url
    catch_up: DurationMs = HOUR_MS
    concurrency: Annotated[Whole, Field(ge=1, le=64)] = 4
    token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    enabled: Flag = True

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if self.token is not None and self.username is not None:
            raise PydanticCustomError("two_logins", "give a token or a username, not both")
        return self


class CustomSource(_Tls):
    """A JSON document at ``url``; a query is a JSON pointer (RFC 6901) into it."""

    type: Literal["custom"]
    url: Url
    token: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    enabled: Flag = True


class HttpSource(_Tls):
    """A request to ``url``.

    Queries: ``up`` (100 or 0 percent), ``error`` (0 or 100), ``status``, ``latency`` [ms], ``certificate_days``.
    Up is an answer with one of ``expect_status`` and with ``expect_text`` in its first MiB.
    """

    type: Literal["http"]
    url: Url
    method: Annotated[str, Field(pattern="^[A-Z]+$", max_length=16)] = "GET"
    body: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    expect_status: tuple[Whole, ...] = (200,)
    expect_text: str | None = None
    enabled: Flag = True


class McpSource(_Tls):
    """A server of the Model Context Protocol: at ``url`` (streamable HTTP), or the program ``argv`` (stdio).

    Every poll is a session of its own: handshake, ping, and ``calls`` calls of ``tool`` with ``arguments`` (of
    ping when no tool is named). Queries: ``up`` (100 or 0 percent), ``error`` (percent of the calls), ``latency``
    [ms, mean of the calls], ``throughput`` [calls/s], ``handshake`` [ms], ``status`` (0, or the code of the refusal).
    """

    type: Literal["mcp"]
    url: Url | None = None
    token: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    argv: tuple[str, ...] = ()
    cwd: str | None = None
    env: dict[str, SecretStr] = Field(default_factory=dict)
    tool: str | None = None
    arguments: Parameters = Field(default_factory=dict)
    calls: Whole = Field(default=1, ge=1, le=1000)
    enabled: Flag = True

    @model_validator(mode="after")
    def _has_one_transport(self) -> Self:
        if (self.url is None) == (not self.argv):
            raise PydanticCustomError("one_transport", "give the server's url, or its argv, and not both")
        alien = ("cwd", "env") if self.url else ("token", "headers", "ca_file", "cert_file", "key_file")
        for key in alien:
            if getattr(self, key):
                raise PydanticCustomError(
                    "wrong_transport",
                    "{key} is of no use with {transport}",
                    {"key": key, "transport": "url" if self.url else "argv"},
                )
        if self.arguments and self.tool is None:
            raise PydanticCustomError("no_tool", "arguments are for a tool: name it")
        return self


AnySource = Annotated[
    InternalSource | HostSource | ProcessSource | PrometheusSource | CustomSource | HttpSource | McpSource,
    Discriminator("type"),
]


class Retention(Value):
    """How long what has ended is kept [ms]."""

    violations: SpanMs = 10 * DAY_MS
    status: SpanMs = 3 * DAY_MS
    reports: SpanMs = 30 * DAY_MS


class MonitoringPolicy(Value):
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
