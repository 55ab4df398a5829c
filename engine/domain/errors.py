"""What can go wrong, and who must act.

EngineError
  x Retryable
    . AuthorityUnavailable
    . BrokerUnavailable
  x NeedsHuman
    . ConfigError
    . BrokerRefused
    . LeaseLost
    . StrategyFailed
  x Refused
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of everything the engine raises on purpose."""


class Retryable(EngineError):
    """Nobody has to act: the next run of the job may succeed."""


class AuthorityUnavailable(Retryable):
    """The database cannot be reached; entries stop until it can."""


class BrokerUnavailable(Retryable):
    """The broker cannot be reached or answered nonsense; for a read that changes nothing."""


class NeedsHuman(EngineError):
    """A person has to act; the engine stops with the message."""


class ConfigError(NeedsHuman):
    """A setting is missing or wrong; the message says which and what to do."""


class BrokerRefused(NeedsHuman):
    """The broker does not accept the account's keys."""


class LeaseLost(NeedsHuman):
    """Another engine writes for this shard, or this one was away too long; stop writing at once."""


class StrategyFailed(NeedsHuman):
    """A strategy's own code is at fault; its profiles stand still, all others go on."""


class Refused(EngineError):
    """The authority said no for a stated reason.

    Attributes
    ----------
    code : FORBIDDEN, NOT_FOUND, CONFLICT, INVALID, ...
    hint : what to do about it, or None
    """

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
