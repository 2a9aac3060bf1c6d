"""What the end of an HTTP exchange means for a message."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slakeeper.integrations.channel import DeliveryError
from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import Answer
from slakeeper.integrations.http_client import HttpClient, HttpError

# The peer says that it, or something on the way, cannot take the message now.
_RETRYABLE_STATUS = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Post:
    """A message as the POST it becomes.

    Attributes:
        target: path and query, encoded.
    """

    target: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def deliver(client: HttpClient, post: Post, deadline: Deadline) -> Answer:
    """Posts a message.

    Returns:
        An answer of success.

    Raises:
        DeliveryError: not connected, refused (a final 4xx), asked to come again (5xx, 429), or silent after the
            request had left (uncertain).
    """
    try:
        answer = client.post(post.target, post.body, post.headers, deadline)
    except HttpError as error:
        raise DeliveryError(str(error), retryable=not error.lasting, uncertain=error.sent) from error
    if answer.is_success:
        return answer
    raise refusal(answer, answer.excerpt())


def refusal(answer: Answer, reason: str) -> DeliveryError:
    """What an answer other than success means; ``reason`` is the peer's, in words, and may be empty."""
    if 300 <= answer.status < 400:
        # Following would hand the message, and perhaps a secret, to an address nobody has configured.
        reason = "redirects are not followed"
    return DeliveryError(
        f"answered {answer.status}{f': {reason}' if reason else ''}",
        retryable=answer.status >= 500 or answer.status in _RETRYABLE_STATUS,
        retry_after_ms=answer.retry_after_ms,
    )
