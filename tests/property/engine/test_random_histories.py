"""Random histories, told to the database late, out of order and again: the books end as the broker has it."""

import random
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.db.conftest import BrokerOrder, Engine, engine
from tests.support.books import differences

__all__ = ["engine"]
ORDERS = 12
Update = dict[str, Any]


def history(rng: random.Random, order: BrokerOrder) -> list[Update]:
    """Return what the broker says about an order and its legs, in the order in which it happened."""
    said, filled, cost = [order.says("new")], 0, Decimal(0)
    total = int(Decimal(order.qty))
    while filled < total and rng.random() < 0.8:
        part = rng.randint(1, total - filled)
        filled, cost = filled + part, cost + part * price(rng)
        status = "filled" if filled == total else "partially_filled"
        said.append(order.says(status, filled=str(filled), price=str(cost / filled)))
    if filled < total:
        average = str(cost / filled) if filled else None
        said.append(order.says(rng.choice(["canceled", "expired"]), filled=str(filled), price=average))
        return said
    return said + exits(rng, order, total)


def exits(rng: random.Random, order: BrokerOrder, total: int) -> list[Update]:
    """Return how a filled entry's legs go on: one of them fills, in parts, or none does."""
    said: list[Update] = []
    filled, cost, kind, other = 0, Decimal(0), *rng.sample(["stop", "limit"], 2)
    while filled < total and rng.random() < 0.85:
        part = rng.randint(1, total - filled)
        filled, cost = filled + part, cost + part * price(rng)
        status = "filled" if filled == total else "partially_filled"
        said.append(order.leg(kind, status, filled=str(filled), price=str(cost / filled)))
    return said + ([order.leg(other, "canceled")] if filled == total else [])


def price(rng: random.Random) -> Decimal:
    return Decimal(rng.randint(9000, 11000)) / 100


def stamped(said: list[Update]) -> list[Update]:
    """Give every word its time, a minute after the one before."""
    for minute, update in enumerate(said):
        for each in (update, *update.get("legs", ())):
            each["updated_at"] = f"2007-01-03T15:{minute + 1:02}:00+00:00"
    return said


@pytest.mark.parametrize("seed", range(3))
def test_the_books_are_the_sum_of_the_fills_whatever_the_order_in_which_they_were_told(
    seed: int, engine: Engine, clean_db: psycopg.Connection
) -> None:
    rng = random.Random(seed)
    orders = [engine.working(p, symbol=s) for p, s in pairs(clean_db, rng)]
    truth = [stamped(history(rng, order)) for order in orders]
    told = [update for each in truth for update in each for _ in range(rng.randint(0, 3))]
    rng.shuffle(told)

    for update in told:
        engine.update(update)
    last_words = [{u["broker_order_id"]: u for u in each} for each in truth]
    engine.update(*[update for words in last_words for update in words.values()])

    assert differences(clean_db) == []
    expected = {u["broker_order_id"]: Decimal(u["filled_qty"]) for words in last_words for u in words.values()}
    rows = clean_db.execute(
        "select broker_order_id, filled_qty from orders where broker_order_id is not null"
    ).fetchall()
    assert {id: qty for id, qty in rows if id in expected} == expected
    before = clean_db.execute("select count(*) from fills").fetchone()
    assert not any(answer.changed for answer in engine.update(*told))
    assert clean_db.execute("select count(*) from fills").fetchone() == before


def pairs(db: psycopg.Connection, rng: random.Random) -> list[tuple[str, str]]:
    """Return profiles and symbols of theirs, no pair twice."""
    every = db.execute("select name, unnest(symbols) from profiles where active order by 1, 2").fetchall()
    return [(str(name), str(symbol)) for name, symbol in rng.sample(every, min(ORDERS, len(every)))]
