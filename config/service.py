"""How slakeeper itself runs (``service.yaml`` as values)."""

from importlib.util import find_spec
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from slakeeper.sla.duration import DAY_MS, MINUTE_MS, SECOND_MS
from slakeeper.sla.field import SpanMs, Whole, check_url


def split_address(address: str) -> tuple[str, int]:
    """``"127.0.0.1:8765"`` or ``"[::1]:0"`` as host (no brackets) and port (0..65535; 0 is any free one).

    Raises:
        ValueError: it is neither.
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or any(character.isspace() for character in host):
        raise ValueError(f"{address!r} has no host")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"{address!r} has no port from 0 to 65535")
    return host, int(port)


def _check_address(address: str) -> str:
    try:
        split_address(address)
    except ValueError as error:
        raise PydanticCustomError(
            "invalid_address", "{error}: give HOST:PORT, such as 127.0.0.1:8765", {"error": str(error)}
        ) from error
    return address


def _check_public_url(url: str) -> str:
    if not url:
        return ""
    parts = urlsplit(check_url(url))
    if parts.query or parts.fragment or parts.username:
        raise PydanticCustomError(
            "invalid_url",
            "an address without '?', '#' and '@' should stand here, such as https://sla.example.com",
        )
    return url.rstrip("/")


INGEST_MODULES: Final = {
    "prometheus": ("google.protobuf", "cramjam"),
    "otlp": ("google.protobuf", "opentelemetry.proto"),
}
"""What the extra ``ingest`` brings, by the door that needs it."""


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is in
        return False


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceRetention(_Value):
    """How long slakeeper's own by-products are kept.

    Attributes:
        log_bytes: size at which the log file is put aside and a new one begun [bytes].
        log_files: how many files put aside are kept.
    """

    log_bytes: Whole = Field(default=10_000_000, ge=100_000)
    log_files: Whole = Field(default=5, ge=0, le=1000)


class ServiceIngest(_Value):
    """What other systems may push.

    Attributes:
        prometheus: the door for Prometheus' remote write: open, which needs the extra ``ingest``; closed; or None, open
            if the extra is installed.
        otlp: the same for OTLP metrics.
        statsd: HOST:PORT to listen on for StatsD over UDP; None does not listen.
        statsd_flush: how often StatsD's counters, gauges and sets become samples [ms].
        token_file: a file of tokens, one on each line, that let a sender send samples and do nothing else.
        rate_limit: samples a second that are taken of one client over HTTP; None takes as many as it sends.
    """

    prometheus: bool | None = None
    otlp: bool | None = None
    statsd: Annotated[str, AfterValidator(_check_address)] | None = None
    statsd_flush: SpanMs = SECOND_MS
    token_file: str | None = None
    rate_limit: Annotated[Whole, Field(ge=1)] | None = None

    @field_validator("token_file")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        # A service in the background is not where it was started.
        if path is not None and not path.startswith("/"):
            raise PydanticCustomError(
                "invalid_path", "a path from the root should stand here, such as /etc/slakeeper/senders"
            )
        return path

    @field_validator(*INGEST_MODULES)
    @classmethod
    def _installed(cls, is_open: bool | None, info: ValidationInfo) -> bool | None:
        missing = [name for name in INGEST_MODULES[str(info.field_name)] if not _is_installed(name)]
        if is_open and missing:
            raise PydanticCustomError(
                "missing_extra",
                "{name} is not installed, and this needs it: pip install 'slakeeper[ingest]'",
                {"name": missing[0]},
            )
        return is_open


# A cell waits for a sync of each of its partitions in every turn, and there can never be more cells than partitions: so
# many leave room for twice the cells that a data directory begins with, or for four.
PARTITIONS_A_CELL, LEAST_PARTITIONS = 2, 4


class ServiceSettings(_Value):
    """The whole of ``service.yaml`` (times in ms).

    Attributes:
        partitions: into how many journals contracts are hashed, fixed when a data directory is made; None: as
            ``partition_count`` says.
        cells: processes that share the partitions; at most as many as there are partitions.
        http: HOST:PORT of the HTTP interface; port 0 takes any free one.
        public_url: where people reach the HTTP interface, for links in messages; empty: no links.
        ack_link_lifetime: how long after its message such a link is good.
        snapshot_interval: how often a partition writes a snapshot when something has changed.
        heartbeat_interval: how often each process is asked whether it lives.
        hang_after: a process silent for this long is killed and started again.
        start_timeout: how long a process may take until it serves.
        shutdown_timeout: how long a process may take to stop before it is killed.
        log_level: least severity that is written to the log.
        min_free_bytes: with less than this free on the disk, samples are refused so that the rest goes on [bytes].
    """

    partitions: Annotated[Whole, Field(ge=1, le=1024)] | None = None
    cells: Whole = Field(default=2, ge=1, le=64)
    http: Annotated[str, AfterValidator(_check_address)] = "127.0.0.1:8765"
    public_url: Annotated[str, AfterValidator(_check_public_url)] = ""
    ack_link_lifetime: SpanMs = 3 * DAY_MS
    snapshot_interval: SpanMs = MINUTE_MS
    heartbeat_interval: SpanMs = SECOND_MS
    hang_after: SpanMs = 15 * SECOND_MS
    start_timeout: SpanMs = 30 * SECOND_MS
    shutdown_timeout: SpanMs = 10 * SECOND_MS
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    min_free_bytes: Whole = Field(default=64_000_000, ge=0)
    retention: ServiceRetention = Field(default_factory=ServiceRetention)
    ingest: ServiceIngest = Field(default_factory=ServiceIngest)

    @property
    def partition_count(self) -> int:
        """How many partitions a data directory gets that is made now."""
        return self.partitions or max(LEAST_PARTITIONS, PARTITIONS_A_CELL * self.cells)

    @field_validator("cells")
    @classmethod
    def _cells(cls, cells: int, info: ValidationInfo) -> int:
        if cells > (info.data.get("partitions") or cells):
            raise PydanticCustomError(
                "invalid_cells",
                "{cells} cells cannot share {partitions} partitions: each needs at least one",
                {"cells": cells, "partitions": info.data["partitions"]},
            )
        return cells

    @field_validator("hang_after")
    @classmethod
    def _hang_after(cls, hang_ms: int, info: ValidationInfo) -> int:
        if hang_ms <= info.data.get("heartbeat_interval", 0):
            raise PydanticCustomError(
                "invalid_hang_after", "hang_after must be longer than heartbeat_interval"
            )
        return hang_ms

    def override(self, **changes: Any) -> Self:
        """These settings with ``changes`` (None means no change), checked like the file's.

        Raises:
            pydantic.ValidationError: the result is not valid.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        return type(self).model_validate({**self.model_dump(), **given})
