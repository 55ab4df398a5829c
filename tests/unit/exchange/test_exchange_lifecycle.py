"""Every way through the graph of states, walked by orders and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

import pytest

from local.exchange.trading import interventions
from local.exchange.trading.errors import Refusal
from local.exchange.trading.exchange import Exchange
from local.exchange.trading.order import NEXT_STATES, RARE, TERMINAL, Order, Status

Way = Callable[[Exchange], Order]
_S = Status


def submit(exchange: Exchange, **fields: object) -> Order:
    body = {"symbol": "AAPL", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day"}
    after = fields.pop("rejected_after", None)
    return exchange.order(exchange.submit(body | fields, rejected_after=after).id)  # type: ignore[arg-type]


def limit(exchange: Exchange, **fields: object) -> Order:
    return submit(exchange, **({"type": "limit", "limit_price": "20"} | fields))


def opened(exchange: Exchange) -> Exchange:
    exchange.step_to_open()
    return exchange


def partly(exchange: Exchange, order: Order) -> Order:
    exchange.throttle = lambda _, qty: min(qty, Decimal(4))
    exchange.step()
    exchange.throttle = None
    return order


def filled_in_parts(exchange: Exchange) -> Order:
    order = partly(exchange, submit(opened(exchange)))
    exchange.step()
    return order


def filled_after_two_parts(exchange: Exchange) -> Order:
    order = partly(exchange, submit(opened(exchange)))
    partly(exchange, order)
    exchange.step()
    return order


def queued_and_filled(exchange: Exchange) -> Order:
    order = submit(exchange)
    exchange.step_to_open()
    return order


def queued_and_canceled(exchange: Exchange) -> Order:
    order = submit(exchange)
    exchange.cancel(order.id)
    return order


def queued_and_rejected(exchange: Exchange) -> Order:
    order = submit(exchange)
    interventions.force_status(exchange, order.id, _S.REJECTED)
    return order


def rejected_later(exchange: Exchange) -> Order:
    order = submit(opened(exchange), rejected_after=1)
    exchange.step()
    return order


def rejected_while_working(exchange: Exchange) -> Order:
    order = limit(opened(exchange))
    interventions.force_status(exchange, order.id, _S.REJECTED)
    return order


def canceled(exchange: Exchange) -> Order:
    order = limit(opened(exchange))
    exchange.cancel(order.id)
    return order


def canceled_with_a_part(exchange: Exchange) -> Order:
    order = partly(exchange, submit(opened(exchange)))
    exchange.cancel(order.id)
    return order


def canceled_after_a_while(exchange: Exchange) -> Order:
    order = limit(opened(exchange))
    exchange.cancel_slowly(order.id, 1)
    exchange.step()
    return order


def filled_before_its_cancel(exchange: Exchange) -> Order:
    order = submit(opened(exchange))
    exchange.cancel_slowly(order.id, 1)
    exchange.step()
    return order


def part_filled_before_its_cancel(exchange: Exchange) -> Order:
    order = partly(exchange, submit(opened(exchange)))
    exchange.cancel_slowly(order.id, 1)
    exchange.throttle = lambda _, qty: min(qty, Decimal(1))
    exchange.step()
    return order


def expired(exchange: Exchange) -> Order:
    order = limit(opened(exchange))
    exchange.step_to_close()
    return order


def expired_with_a_part(exchange: Exchange) -> Order:
    order = partly(exchange, limit(opened(exchange), limit_price="200"))
    exchange.throttle = lambda *_: Decimal(0)
    exchange.step_to_close()
    return order


def expired_while_halted(exchange: Exchange) -> Order:
    interventions.halt(exchange, "AAPL", halted=True)
    order = submit(opened(exchange))
    exchange.step_to_close()
    return order


def replaced(exchange: Exchange) -> Order:
    order = limit(opened(exchange))
    exchange.replace(order.id, {"limit_price": "21"})
    return order


def replaced_with_a_part(exchange: Exchange) -> Order:
    order = partly(exchange, limit(opened(exchange), limit_price="200"))
    exchange.replace(order.id, {"limit_price": "21"})
    return order


def replaced_after_a_while(exchange: Exchange) -> Order:
    order = limit(opened(exchange))
    exchange.replace(order.id, {"limit_price": "21"}, due=1)
    exchange.step()
    return order


def filled_before_its_replacement(exchange: Exchange) -> Order:
    order = submit(opened(exchange))
    exchange.replace(order.id, {"qty": "20"}, due=1)
    exchange.step()
    return order


def part_filled_before_its_replacement(exchange: Exchange) -> Order:
    order = partly(exchange, submit(opened(exchange)))
    exchange.replace(order.id, {"qty": "20"}, due=1)
    partly(exchange, order)
    return order


def stop_leg(exchange: Exchange) -> Order:
    exits = {"take_profit": {"limit_price": "500"}, "stop_loss": {"stop_price": "60"}}
    order = submit(opened(exchange), order_class="bracket", time_in_force="gtc", **exits)
    exchange.step()
    return exchange.order(exchange.legs(order)[1].id)


def held_and_set_off(exchange: Exchange) -> Order:
    leg = stop_leg(exchange)
    exchange.shock("AAPL", Decimal("-0.5"))
    exchange.step()
    return leg


def held_and_canceled(exchange: Exchange) -> Order:
    leg = stop_leg(exchange)
    exchange.shock("AAPL", Decimal(9))
    exchange.step()
    return leg


def held_and_replaced(exchange: Exchange) -> Order:
    leg = stop_leg(exchange)
    exchange.replace(leg.id, {"stop_price": "61"})
    return leg


WAYS: list[tuple[Way, list[Status]]] = [
    (filled_in_parts, [_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.FILLED]),
    (filled_after_two_parts, [_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.PARTIALLY_FILLED, _S.FILLED]),
    (queued_and_filled, [_S.PENDING_NEW, _S.ACCEPTED, _S.PENDING_NEW, _S.NEW, _S.FILLED]),
    (queued_and_canceled, [_S.PENDING_NEW, _S.ACCEPTED, _S.PENDING_CANCEL, _S.CANCELED]),
    (queued_and_rejected, [_S.PENDING_NEW, _S.ACCEPTED, _S.REJECTED]),
    (rejected_later, [_S.PENDING_NEW, _S.REJECTED]),
    (rejected_while_working, [_S.PENDING_NEW, _S.NEW, _S.REJECTED]),
    (canceled, [_S.PENDING_NEW, _S.NEW, _S.CANCELED]),
    (canceled_with_a_part, [_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.CANCELED]),
    (canceled_after_a_while, [_S.PENDING_NEW, _S.NEW, _S.PENDING_CANCEL, _S.CANCELED]),
    (filled_before_its_cancel, [_S.PENDING_NEW, _S.NEW, _S.PENDING_CANCEL, _S.FILLED]),
    (
        part_filled_before_its_cancel,
        [_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.PENDING_CANCEL, _S.CANCELED],
    ),
    (expired, [_S.PENDING_NEW, _S.NEW, _S.EXPIRED]),
    (expired_with_a_part, [_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.EXPIRED]),
    (expired_while_halted, [_S.PENDING_NEW, _S.ACCEPTED, _S.PENDING_NEW, _S.NEW, _S.EXPIRED]),
    (replaced, [_S.PENDING_NEW, _S.NEW, _S.REPLACED]),
    (replaced_with_a_part, [_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.REPLACED]),
    (replaced_after_a_while, [_S.PENDING_NEW, _S.NEW, _S.PENDING_REPLACE, _S.REPLACED]),
    (filled_before_its_replacement, [_S.PENDING_NEW, _S.NEW, _S.PENDING_REPLACE, _S.FILLED]),
    (
        part_filled_before_its_replacement,
        [_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.PENDING_REPLACE, _S.PENDING_REPLACE, _S.REPLACED],
    ),
    (held_and_set_off, [_S.HELD, _S.NEW, _S.FILLED]),
    (held_and_canceled, [_S.HELD, _S.CANCELED]),
    (held_and_replaced, [_S.HELD, _S.REPLACED]),
]


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Status]]:
    """The states of every order in the order they came."""
    seen: dict[str, list[Status]] = {}
    move = Order.move_to

    def noting(order: Order, status: Status, at: object) -> None:
        seen.setdefault(order.id, [order.status])
        move(order, status, at)  # type: ignore[arg-type]
        seen[order.id].append(status)

    monkeypatch.setattr(Order, "move_to", noting)
    return seen


@pytest.mark.parametrize(("way", "states"), WAYS, ids=[way.__name__ for way, _ in WAYS])
def test_order_goes_through_these_states(
    found: Callable[..., Exchange], walked: dict[str, list[Status]], way: Way, states: list[Status]
) -> None:
    order = way(found())

    assert walked[order.id] == states


def test_every_edge_of_the_graph_is_walked_or_reached_by_hand() -> None:
    walked = {edge for _, states in WAYS for edge in pairwise(states)}
    possible = {(state, following) for state, ways in NEXT_STATES.items() for following in ways}

    by_hand = {(now, then) for now, then in possible if now in RARE or then in RARE}

    assert possible - walked == by_hand
    assert walked <= possible


@pytest.mark.parametrize("rare", sorted(RARE))
@pytest.mark.parametrize("canceled_there", [True, False])
def test_rare_state_leads_back_to_work_or_to_an_end(
    found: Callable[..., Exchange], rare: Status, canceled_there: bool
) -> None:
    exchange = opened(found())
    order = limit(exchange, time_in_force="gtc")
    interventions.force_status(exchange, order.id, rare)
    exchange.step()
    stays = exchange.order(order.id).status

    if canceled_there:
        exchange.cancel(order.id)
    exchange.step_to_close()
    exchange.step_to_open()

    ends_done = {True: Status.CANCELED, False: Status.NEW if rare is Status.DONE_FOR_DAY else rare}
    assert stays is rare
    assert exchange.order(order.id).status is ends_done[canceled_there]


@pytest.mark.parametrize("status", sorted(set(Status) - TERMINAL))
def test_state_cannot_be_forced_where_no_way_leads(found: Callable[..., Exchange], status: Status) -> None:
    exchange = opened(found())
    order = limit(exchange)
    exchange.cancel(order.id)

    with pytest.raises(Refusal, match="no way from canceled"):
        interventions.force_status(exchange, order.id, status)
