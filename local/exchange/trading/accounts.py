"""Further accounts on the same market, each with a key pair and a ledger file of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID, uuid5

from local.exchange.trading.account import OPENING_CASH, Settings
from local.exchange.trading.audit import check_ledger
from local.exchange.trading.controls import Controls
from local.exchange.trading.errors import invalid
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.ledger import Ledger
from local.exchange.trading.store import AccountRow, Changes, LedgerDamaged, State, Store, dump_settings

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{4,64}")


@dataclass(frozen=True, slots=True)
class Member:
    """An account and the digest of the secret that opens it."""

    key_id: str
    secret_digest: str
    exchange: Exchange


class Accounts:
    """All accounts of one exchange process; the first one keeps the list of the others."""

    def __init__(self, first: Exchange, key_id: str, secret_key: str) -> None:
        self.first = first
        self._members = {key_id: Member(key_id, digest(secret_key), first)}
        for row in first.ledger.store.accounts():
            self._join(row)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def get(self, key_id: str) -> Member | None:
        return self._members.get(key_id)

    def open(self, key_id: str, secret_key: str, cash: Decimal = OPENING_CASH) -> Member:
        """Open an account, or give an open one a new secret.

        Raises
        ------
        Refusal if the key id is not one, or is that of the first account
        """
        if not _KEY_ID.fullmatch(key_id) or not secret_key:
            raise invalid("key_id must be 4 to 64 letters, digits, - or _, and secret_key not empty")
        if key_id == next(iter(self._members)):
            raise invalid("the first account has its keys from the start of the exchange")
        row = AccountRow(key_id, digest(secret_key), cash)
        self.first.ledger.store.write_account(row)
        return self._join(row)

    def close(self) -> None:
        """Close the ledgers of the further accounts; the first one's owner closes that."""
        for follower in self.first.followers:
            follower.ledger.store.close()

    def _join(self, row: AccountRow) -> Member:
        known = self._members.get(row.key_id)
        exchange = known.exchange if known else self._open_ledger(row)
        member = Member(row.key_id, row.secret_digest, exchange)
        self._members[row.key_id] = member
        return member

    def _open_ledger(self, row: AccountRow) -> Exchange:
        first = self.first
        store = Store(first.ledger.store.path.parent / "accounts" / f"{row.key_id}.sqlite")
        if store.state() is None:
            store.write(Changes(_newborn(first.ledger.state, row)))
        problems = check_ledger(store)
        if problems:
            raise LedgerDamaged(f"{store.path} contradicts itself: {problems[0]}")
        exchange = Exchange(Ledger(store, first.market, owns_market=False), first.market, first.profile)
        with exchange.ledger.transaction():
            exchange.catch_up(first.ledger.clock, first.profile)
        first.followers.append(exchange)
        return exchange


def digest(secret_key: str) -> str:
    """Return what is kept of a secret key."""
    return hashlib.sha256(secret_key.encode()).hexdigest()


def _newborn(first: State, row: AccountRow) -> State:
    """Return a new account at the present moment of the first one's market."""
    ledger_id = str(uuid5(UUID(first.ledger_id), f"account/{row.key_id}"))
    halted = Controls.load(first.controls).halted
    return replace(
        first,
        ledger_id=ledger_id,
        next_seq=1,
        account_id=str(uuid5(UUID(ledger_id), "account")),
        created_at=first.stamp,
        cash=row.cash,
        opening_cash=row.cash,
        last_equity=row.cash,
        settings=dump_settings(Settings()),
        controls=Controls(halted=halted).dump(),
    )
