"""What the broker's answer to an order means: a yes, a definitive no, or not knowing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from engine.domain.broker_types import BrokerOrder

# 40010001 is answered for a client order id that is taken and for other bad fields alike. Message
# texts drift, so the code alone decides: look the id up, and only a miss makes it a rejection.
MAYBE_DUPLICATE: Final = "40010001"
_DEFINITIVE: Final = frozenset({400, 401, 403, 404, 422})


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What came of sending one order."""

    id: str
    outcome: Outcome
    code: str | None = None
    reason: str | None = None
    request_id: str | None = None
    order: BrokerOrder | None = None
    may_be_duplicate: bool = False


def judge_refusal(
    order_id: str, *, status: int | None, code: str | None, message: str, request_id: str | None
) -> Submission:
    """Sort a failed submit into definitive and ambiguous.

    Parameters
    ----------
    status : the HTTP status; None when no complete answer arrived
    code : the broker's own code, if the body had one

    Notes
    -----
    Rate limiting (429) and every 5xx are ambiguous: both have been seen after acceptance.
    """
    definitive = status in _DEFINITIVE
    return Submission(
        id=order_id,
        outcome=Outcome.REJECTED if definitive else Outcome.UNKNOWN,
        code=code or (f"HTTP_{status}" if status else "NO_ANSWER"),
        reason=message[:500],
        request_id=request_id,
        may_be_duplicate=definitive and code == MAYBE_DUPLICATE,
    )


@dataclass(frozen=True, slots=True)
class Misses:
    """How often an order was looked up at the broker in vain since its permit ran out."""

    count: int
    first_at_s: int | float


def is_settled_as_missing(misses: Misses, *, now_s: int | float, quiet_s: int | float, count_min: int = 3) -> bool:
    """Tell whether an order may be taken as never sent.

    One miss proves nothing while a request may be in flight; several over a quiet window do.
    """
    return misses.count >= count_min and now_s - misses.first_at_s >= quiet_s
