"""What is done about a violation: actions, escalation policies, channels (``enforcement.yaml`` as values)."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from slakeeper.sla import template
from slakeeper.sla.condition import Condition
from slakeeper.sla.duration import HOUR_MS, MINUTE_MS, SECOND_MS
from slakeeper.sla.field import (
    DurationMs,
    Finding,
    Flag,
    Name,
    Number,
    Parameters,
    SecretUrl,
    SpanMs,
    Url,
    Value,
    Whole,
    given,
    given_text,
    validate_with,
)
from slakeeper.sla.on_call import PREFIX, Duty, Responder, Rotation, on_call

OnUncertain = Literal["resend", "hold"]
"""Whether what may have been done already, and nobody knows, is done again under the same id."""


class Severity(StrEnum):
    """How bad a violation is, in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
    BREACH = "breach"

    @property
    def rank(self) -> int:
        """0 for info up to 3 for breach; compare ranks, not names."""
        return list(Severity).index(self)


class EscalationLevel(Value):
    """One level of a policy: whom to tell over which channel, ``delay`` [ms] after the walk reaches it."""

    channel: str = Field(validation_alias=AliasChoices("type", "channel_name"), serialization_alias="type")
    recipients: tuple[str, ...] = ()
    room: str | None = Field(
        default=None, validation_alias=AliasChoices("channel", "room"), serialization_alias="channel"
    )
    service: str | None = None
    delay: DurationMs = 0


class EscalationPolicy(Value):
    """The walk for one severity; ``timeout`` [ms] after the last level the next severity's policy begins.

    ``repeat`` is how often the critical policy is walked again before an escalation failure is recorded.
    ``ack_timeout`` [ms], when given, is how long an acknowledgement holds the walk back. ``notify_channels`` are
    told of every level as well, each at its own default address.
    """

    severity: Literal[Severity.INFO, Severity.WARNING, Severity.CRITICAL]
    levels: tuple[EscalationLevel, ...] = Field(min_length=1)
    timeout: SpanMs = 5 * MINUTE_MS
    repeat: Whole = Field(default=1, ge=0, le=1000)
    ack_timeout: SpanMs | None = None
    notify_channels: tuple[str, ...] = ()


class ActionCondition(Value):
    """When an action applies: the actual value stands in this relation to ``value``.

    Given as ``{op: lt, value: 10000}``, as ``{lt: 10000}`` or, like the seed's tuple, as ``[lt, 10000]``.
    """

    op: Condition
    value: Number

    @model_validator(mode="before")
    @classmethod
    def _spelling(cls, data: Any) -> Any:
        match data:
            case [op, value]:
                return {"op": op, "value": value}
            case {**only} if len(only) == 1 and not {"op", "value"} & only.keys():
                [(op, value)] = only.items()
                return {"op": op, "value": value}
            case _:
                return data


class Limits(Value):
    """What each process of a remedy may use; None: as much as slakeeper itself.

    ``cpu`` [ms, rounded up to seconds] of processor time, ``memory_bytes`` of address space, ``file_bytes`` in one file
    that it writes, ``open_files`` at once. ``no_new_privileges``: it gains none by what it executes, such as sudo.
    """

    cpu: SpanMs | None = None
    memory_bytes: Whole | None = Field(default=None, ge=16 * 1024 * 1024)
    file_bytes: Whole | None = Field(default=None, ge=0)
    open_files: Whole | None = Field(default=None, ge=8)
    no_new_privileges: Flag = False


class CommandRemedy(Value):
    """A program run without a shell; output is kept, bounded.

    ``secrets`` are variables of its environment whose values are masked in what is kept of its output.
    ``on_uncertain`` of this and of every other remedy is about an attempt that a restart cut off.
    """

    type: Literal["command"]
    argv: tuple[str, ...] = Field(min_length=1)
    cwd: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    limits: Limits = Field(default_factory=Limits)
    timeout: SpanMs | None = None
    on_uncertain: OnUncertain = "hold"


class WebhookRemedy(Value):
    """A JSON POST with an idempotency key, by which its receiver can tell a repetition.

    ``ca_file`` None trusts what the system does.
    """

    type: Literal["webhook"]
    url: Url
    secret: SecretStr | None = None
    ca_file: str | None = None
    timeout: SpanMs | None = None
    on_uncertain: OnUncertain = "resend"


class PythonRemedy(Value):
    """An importable callable ``module:function`` called with the action's parameters as keywords.

    ``env`` and ``secrets`` as a command has them.
    """

    type: Literal["python"]
    entry: str = Field(pattern=r"^[\w.]+:[\w.]+$")
    env: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    limits: Limits = Field(default_factory=Limits)
    timeout: SpanMs | None = None
    on_uncertain: OnUncertain = "hold"


_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

# RFC 1123: a label for a namespace, a subdomain for a deployment.
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


class KubernetesRemedy(Value):
    """Scales a deployment: to ``replicas``, or by ``add`` within ``min_replicas`` and ``max_replicas``.

    The token is read anew for each run. ``token_file`` None sends none, ``ca_file`` None trusts what the system does.
    """

    type: Literal["kubernetes"]
    url: Url = "https://kubernetes.default.svc"
    namespace: str = Field(pattern=rf"^{_LABEL}$")
    deployment: str = Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)
    replicas: Whole | None = Field(default=None, ge=0, le=100_000)
    add: Whole | None = Field(default=None, ge=-100_000, le=100_000)
    min_replicas: Whole = Field(default=1, ge=0, le=100_000)
    max_replicas: Whole | None = Field(default=None, ge=1, le=100_000)
    token_file: str | None = f"{_SERVICE_ACCOUNT}/token"
    ca_file: str | None = f"{_SERVICE_ACCOUNT}/ca.crt"
    timeout: SpanMs | None = None
    on_uncertain: OnUncertain = "hold"

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.replicas is None) == (self.add is None):
            raise PydanticCustomError("one_size", "give replicas or add, and not both")
        if self.add == 0:
            raise PydanticCustomError("no_step", "add 0 changes nothing")
        if self.add is not None and self.add > 0 and self.max_replicas is None:
            raise PydanticCustomError("no_bound", "add needs max_replicas: attempts add up")
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise PydanticCustomError("wrong_bounds", "max_replicas is less than min_replicas")
        if self.token_file is not None and not self.url.startswith("https:"):
            raise PydanticCustomError(
                "token_in_clear",
                "a token goes over https only; set token_file to null for a proxy without one",
            )
        return self


class DryRunRemedy(Value):
    """Nothing is done; what would have been done is logged and recorded."""

    type: Literal["dry_run"] = "dry_run"


Remedy = Annotated[
    CommandRemedy | WebhookRemedy | PythonRemedy | KubernetesRemedy | DryRunRemedy, Discriminator("type")
]


class AutomaticAction(Value):
    """A remedy tried when a violation of ``trigger_metric`` opens and ``condition`` meets the actual value.

    ``action`` names an entry of ``remedies``. ``target`` is what it acts on: one run at a time for a target.
    """

    name: Name
    trigger_metric: Name
    condition: ActionCondition
    action: str
    parameters: Parameters = Field(default_factory=dict)
    enabled: Flag = True
    target: str | None = None

    @property
    def target_name(self) -> str:
        return self.target or self.action


class RemediationSettings(Value):
    """Limits of automatic remediation (times in ms).

    ``backoff`` doubles between attempts up to ``backoff_max``; ``verify_after`` is the wait before a look
    whether the metric recovered; ``breaker_failures`` failures in a row of one action open its breaker for
    ``breaker_reset``. An action that has helped against a metric ``max_runs`` times within ``per`` does not last:
    it is left alone, and people are told.
    """

    auto_remediate: Flag = True
    max_remediation_attempts: Whole = Field(default=3, ge=1, le=100)
    remediation_timeout: SpanMs = 300 * SECOND_MS
    log_remediation: Flag = True
    dry_run: Flag = False
    verify_after: SpanMs = 30 * SECOND_MS
    backoff: SpanMs = 10 * SECOND_MS
    backoff_max: SpanMs = 5 * MINUTE_MS
    breaker_failures: Whole = Field(default=5, ge=1, le=1000)
    breaker_reset: SpanMs = 10 * MINUTE_MS
    max_runs: Whole = Field(default=5, ge=1, le=1000)
    per: SpanMs = HOUR_MS


class AlertSettings(Value):
    """How alerts are sent: ``group_wait`` [ms] collects those of one contract into one message.

    ``flapping``: news of a metric that flaps is held back until it has calmed down.
    """

    group_wait: DurationMs = 0
    flapping: Flag = True


def _check_template(text: str) -> str:
    try:
        template.check(text)
    except template.TemplateFailed as error:
        raise PydanticCustomError(
            "invalid_template", "this template fails: {why}", {"why": str(error)}
        ) from error
    return text


Template = Annotated[str, AfterValidator(_check_template)]
"""The text of a template that compiles, and makes a text of a sample message."""


class MessageTemplate(Value):
    """The user's own words for a channel's messages; what is not given stays as it is.

    ``html`` is the second part of a mail; without it a mail with a ``body`` of its own is plain text.
    """

    subject: Template | None = None
    body: Template | None = None
    html: Template | None = None


class Channel(Value):
    """Common keys of a channel; ``on_uncertain`` says whether a delivery whose result is unknown is sent again."""

    timeout: SpanMs = 10 * SECOND_MS
    on_uncertain: OnUncertain = "resend"


class TlsChannel(Channel):
    """One that speaks TLS: ``ca_file`` holds whom to trust (PEM), instead of the system's authorities.

    There is no key that turns the check off.
    """

    ca_file: str | None = None


def _is_here(host: str) -> bool:
    """Whether what is sent to a host stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


class EmailChannel(TlsChannel):
    """SMTP. Without ``host`` the channel falls back to the log."""

    type: Literal["email"]
    host: str | None = None
    port: Whole = Field(default=25, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "none"
    username: str | None = None
    password: SecretStr | None = None
    sender: str = Field(default="slakeeper@localhost", validation_alias=AliasChoices("sender", "from"))
    recipients: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _keeps_its_password(self) -> Self:
        if self.host and self.username and self.tls == "none" and not _is_here(self.host):
            raise PydanticCustomError(
                "password_in_clear",
                "a password goes over TLS only: set tls to starttls or implicit, or leave username out",
            )
        return self


class SmsChannel(TlsChannel):
    """Twilio's Messages API. Without ``account_sid`` and ``auth_token`` the channel falls back to the log."""

    type: Literal["sms"]
    base_url: Url = "https://api.twilio.com"
    account_sid: str | None = None
    auth_token: SecretStr | None = None
    sender: str = Field(default="", validation_alias=AliasChoices("sender", "from"))
    recipients: tuple[str, ...] = ()
    on_uncertain: OnUncertain = "hold"


class SlackChannel(TlsChannel):
    """An incoming webhook. Without ``url`` the channel falls back to the log."""

    type: Literal["slack"]
    url: SecretUrl | None = Field(default=None, validation_alias=AliasChoices("url", "base_url"))
    room: str | None = Field(default=None, validation_alias=AliasChoices("channel", "room"))
    on_uncertain: OnUncertain = "hold"


class PagerDutyChannel(TlsChannel):
    """Events API v2. Without ``routing_key`` the channel falls back to the log.

    ``inbound_secret`` is that of a webhook subscription (v3), by which acknowledgements there count here.
    """

    type: Literal["pagerduty"]
    base_url: Url = "https://events.pagerduty.com"
    routing_key: SecretStr | None = None
    inbound_secret: SecretStr | None = None


class WebhookChannel(TlsChannel):
    """A JSON POST, HMAC-SHA256 signed when ``secret`` is given.

    ``inbound_secret`` signs what the other side sends in: acknowledgements and resolutions.
    """

    type: Literal["webhook"]
    url: Url | None = Field(default=None, validation_alias=AliasChoices("url", "base_url"))
    secret: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    inbound_secret: SecretStr | None = None


class AppriseChannel(Channel):
    """A service that apprise knows, by its address (the extra ``slakeeper[apprise]``); without ``url`` the log."""

    type: Literal["apprise"]
    url: SecretStr | None = None


class BillingWebhook(WebhookChannel):
    """Where approved ledger entries go: a JSON POST each, with the entry's id as idempotency key."""

    type: Literal["webhook"] = "webhook"
    url: Url = Field(validation_alias=AliasChoices("url", "base_url"))


class LogChannel(Channel):
    """A line in slakeeper's own log."""

    type: Literal["log"]


AnyChannel = Annotated[
    EmailChannel
    | SmsChannel
    | SlackChannel
    | PagerDutyChannel
    | WebhookChannel
    | AppriseChannel
    | LogChannel,
    Discriminator("type"),
]


BILLING = "billing"
"""The name under which the billing webhook is opened; no channel may have it."""


def _findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Policies and actions of which there are two under one name, and a channel under a name that is taken."""
    channels = data.get("channels")
    if isinstance(channels, Mapping) and BILLING in channels:
        yield Finding(
            ("channels", BILLING),
            "reserved_channel",
            f"{BILLING!r} is a setting of its own: name the channel otherwise",
            BILLING,
        )
    for key, name_key, reason, words in (
        ("escalation_policies", "severity", "duplicate_policy", "two escalation policies for severity"),
        ("automatic_actions", "name", "duplicate_action", "two automatic actions named"),
    ):
        seen: set[str] = set()
        for index, item in enumerate(given(data, key)[1]):
            name = given_text(item, name_key)
            if name is not None and name in seen:
                yield Finding((key, index, name_key), reason, f"{words} {name}", name)
            seen.add(name or "")


class EnforcementPolicy(Value):
    """The whole of ``enforcement.yaml``.

    ``channels`` maps a channel's name to its settings; a name is used by ``alert_channels`` and by the
    ``type`` of an escalation level. ``templates`` maps a channel's name to words for its messages, ``remedies`` an
    action's name to what it does. ``billing`` is told of each ledger entry when it is approved, and settles it by
    taking it.
    """

    automatic_actions: tuple[AutomaticAction, ...] = ()
    escalation_policies: tuple[EscalationPolicy, ...] = ()
    remediation: RemediationSettings = Field(default_factory=RemediationSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    channels: dict[str, AnyChannel] = Field(default_factory=dict)
    templates: dict[str, MessageTemplate] = Field(default_factory=dict)
    remedies: dict[str, Remedy] = Field(default_factory=dict)
    responders: dict[str, Responder] = Field(default_factory=dict)
    on_call: dict[str, Rotation] = Field(default_factory=dict)
    billing: BillingWebhook | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _cross_references(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return validate_with(_findings(data) if isinstance(data, Mapping) else (), data, handler)

    def policy(self, severity: Severity) -> EscalationPolicy | None:
        """The escalation policy of a severity; a breach walks the critical one; None when there is none."""
        wanted = Severity.CRITICAL if severity is Severity.BREACH else severity
        return next((policy for policy in self.escalation_policies if policy.severity is wanted), None)

    def duties(self, level: EscalationLevel, at_ms: int) -> dict[str, Duty]:
        """By name of a rotation among the level's recipients, who is on call at an instant [Unix ms]."""
        named = (each.removeprefix(PREFIX) for each in level.recipients if each.startswith(PREFIX))
        return {
            name: on_call(self.on_call[name], self.responders, at_ms)
            for name in named
            if name in self.on_call
        }

    def as_of(self, at_ms: int) -> Self:
        """The same with everyone who is on call at an instant [Unix ms] in the place of their rotation."""
        if not self.on_call:
            return self
        policies = tuple(
            policy.model_copy(
                update={"levels": tuple(self._level_as_of(level, at_ms) for level in policy.levels)}
            )
            for policy in self.escalation_policies
        )
        return self.model_copy(update={"escalation_policies": policies})

    def _level_as_of(self, level: EscalationLevel, at_ms: int) -> EscalationLevel:
        duties = self.duties(level, at_ms)
        if not duties:
            return level
        recipients = []
        for each in level.recipients:
            duty = duties.get(each.removeprefix(PREFIX)) if each.startswith(PREFIX) else None
            # Without an address, which a checked configuration does not come to, it fails as what it is.
            addresses = self.responders[duty.person].addresses if duty else {}
            recipients.append(addresses.get(level.channel, each))
        return level.model_copy(update={"recipients": tuple(dict.fromkeys(recipients))})

    def names_on(self, channel: str) -> dict[str, str]:
        """Names of responders by their address on a channel."""
        return {
            responder.addresses[channel]: name
            for name, responder in self.responders.items()
            if channel in responder.addresses
        }
