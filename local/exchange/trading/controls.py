"""What a test or an operator of the simulator decided about the market and the account.

Kept in the ledger, so that a restart changes none of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields


@dataclass(slots=True, kw_only=True)
class Controls:
    """Halted symbols, what is wrong with the account, assets that are not as usual, and how orders fill.

    An empty `fill_profile` leaves the choice to the start of the exchange.
    """

    halted: list[str] = field(default_factory=list)
    trading_blocked: bool = False
    account_blocked: bool = False
    shorting_disabled: bool = False
    not_fractionable: list[str] = field(default_factory=list)
    not_shortable: list[str] = field(default_factory=list)
    hard_to_borrow: list[str] = field(default_factory=list)
    fill_profile: str = ""

    def dump(self) -> str:
        return json.dumps({item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def load(cls, text: str) -> Controls:
        stored = json.loads(text)
        return cls(**{item.name: stored[item.name] for item in fields(cls) if item.name in stored})
