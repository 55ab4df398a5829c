"""The books while the authority is away: as they were read last, with what the broker shows since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from engine.domain.book import OpenTrade, Order, OrderState, Purpose, Snapshot
from engine.domain.broker_types import BrokerOrder, BrokerPosition, Side
from engine.domain.journal import OfflineExit

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the broker shows: its open orders, orders of ours that were looked up, and what is held."""

    open_orders: Sequence[BrokerOrder]
    found: Sequence[BrokerOrder]
    positions: Sequence[BrokerPosition]

    def orders(self) -> dict[str, BrokerOrder]:
        """Return every order seen, by the broker's id and by ours; legs too."""
        flat = [each for order in (*self.open_orders, *self.found) for each in (order, *order.legs)]
        return {o.broker_order_id: o for o in flat} | {o.client_order_id: o for o in flat}

    def held_qty(self, symbol: str) -> Decimal:
        """Return what the account holds of a symbol; a short position is negative."""
        return sum((p.qty for p in self.positions if p.symbol == symbol), ZERO)


def offline_view(snapshot: Snapshot, seen: Seen, sent: Iterable[OfflineExit]) -> Snapshot:
    """Return the books as they must be by now.

    Parameters
    ----------
    sent : the exits and stops that were sent since; those that the broker works count

    Returns
    -------
    Snapshot; trades without anything left at the broker are gone, entries that filled meanwhile are trades,
    and only orders that are open at the broker, or were not sent yet, remain
    """
    now = seen.orders()
    known = {order.id for order in snapshot.orders}
    ours = _grouped([*snapshot.orders, *(_sent_order(e, now) for e in sent if e.id in now and e.id not in known)])
    alive = {order.group_id for order in ours if (theirs := _of(order, now)) is not None and theirs.is_open}
    moved = {theirs.replaces for theirs in now.values()} - {None}
    resting = [order for order in ours if order.broker_order_id not in moved]
    orders = tuple(fresh for order in resting if (fresh := _refreshed(order, now, alive)) is not None)
    by_trade = [_updated(trade, ours, orders, now) for trade in snapshot.trades]
    new = [_opened(order, now) for order in snapshot.orders if _is_new(order, snapshot, now)]
    trades = tuple(trade for trade in (*by_trade, *new) if trade.qty > 0 and _is_held(trade, seen))
    return replace(snapshot, trades=trades, orders=orders)


def free_qty(trade: OpenTrade, seen: Seen, own: Iterable[str], entries: Iterable[str]) -> Decimal:
    """Return how many shares of the account an exit of this trade may sell without touching others'.

    Parameters
    ----------
    own : ids, ours or the broker's, of the trade's own orders
    entries : ids of our entries, which close nothing
    """
    apart = {*own, *entries, *(leg.broker_order_id for leg in trade.legs)}
    closing = Side.SELL if trade.is_long else Side.BUY
    reserved = sum(
        (
            order.qty - order.filled_qty
            for order in seen.open_orders
            if order.symbol == trade.symbol
            and order.side == closing
            and not {order.broker_order_id, order.client_order_id} & apart
        ),
        ZERO,
    )
    held = seen.held_qty(trade.symbol)
    return min(trade.qty, (held if trade.is_long else -held) - reserved)


def gaps(snapshot: Snapshot, positions: Iterable[BrokerPosition]) -> dict[str, Decimal]:
    """Return by symbol how much less the broker holds than our trades, where that differs; shorts are negative."""
    ours: dict[str, Decimal] = {}
    for trade in snapshot.trades:
        ours[trade.symbol] = ours.get(trade.symbol, ZERO) + (trade.qty if trade.is_long else -trade.qty)
    theirs = {position.symbol: position.qty for position in positions}
    return {symbol: qty - theirs.get(symbol, ZERO) for symbol, qty in ours.items() if qty != theirs.get(symbol, ZERO)}


def _grouped(orders: Sequence[Order]) -> list[Order]:
    """Put stops that were moved into the group of the first one whose place they took."""
    by_broker_id = {order.broker_order_id: order for order in orders if order.broker_order_id}

    def first(order: Order) -> Order:
        before = by_broker_id.get(order.replaces_broker_id or "")
        return order if before is None else first(before)

    return [replace(o, parent_id=first(o).parent_id) if o.replaces_broker_id else o for o in orders]


def _refreshed(order: Order, now: Mapping[str, BrokerOrder], alive: set[str]) -> Order | None:
    """Return an order as the broker has it; None when it is over. Unsent ones stay as they are."""
    theirs = _of(order, now)
    if theirs is None:
        is_armed = order.broker_status == "held" and order.group_id in alive  # the broker does not list it
        return order if is_armed or not order.state.is_at_broker else None
    if not theirs.is_open:
        return None
    return replace(
        order,
        state=OrderState.PARTIALLY_FILLED if theirs.filled_qty else OrderState.WORKING,
        broker_order_id=theirs.broker_order_id,
        broker_status=theirs.status,
        filled_qty=max(order.filled_qty, theirs.filled_qty),
    )


def _updated(
    trade: OpenTrade, before: Sequence[Order], orders: Sequence[Order], now: Mapping[str, BrokerOrder]
) -> OpenTrade:
    mine = [order for order in before if order.trade_id == trade.trade_id]
    bought = sum((_news(order, now) for order in mine if order.purpose is Purpose.ENTRY), ZERO)
    sold = sum((_news(order, now) for order in mine if order.purpose is not Purpose.ENTRY), ZERO)
    at_broker = [order for order in orders if order.trade_id == trade.trade_id and order.state.is_at_broker]
    return replace(
        trade,
        qty=trade.qty + bought - sold,
        exit_working=any(order.purpose is Purpose.EXIT for order in at_broker),
        legs=tuple(order for order in at_broker if order.purpose in (Purpose.STOP_LOSS, Purpose.TAKE_PROFIT)),
    )


def _news(order: Order, now: Mapping[str, BrokerOrder]) -> Decimal:
    """Return what was filled since the books were read."""
    theirs = _of(order, now)
    return ZERO if theirs is None else max(theirs.filled_qty - order.filled_qty, ZERO)


def _is_new(order: Order, snapshot: Snapshot, now: Mapping[str, BrokerOrder]) -> bool:
    theirs = _of(order, now)
    is_known = (order.trade_id or order.id) in snapshot.trades_by_id
    return order.purpose is Purpose.ENTRY and not is_known and theirs is not None and theirs.filled_qty > 0


def _opened(order: Order, now: Mapping[str, BrokerOrder]) -> OpenTrade:
    """Return the trade of an entry that has filled since the books were read."""
    theirs = _of(order, now)
    assert theirs is not None, "only an entry that the broker knows has filled"
    return OpenTrade(
        trade_id=order.trade_id or order.id,
        profile_id=order.profile_id,
        symbol=order.symbol,
        side="long" if order.side == Side.BUY else "short",
        qty=theirs.filled_qty - sum((leg.filled_qty for leg in theirs.legs), ZERO),
        stop_price=order.stop_loss_price,
        take_profit_price=order.take_profit_price,
        exit_working=False,
        legs=tuple(_leg(order, leg) for leg in theirs.legs if leg.is_open),
        avg_entry_price=theirs.filled_avg_price,
        opened_at=theirs.updated_at,
    )


def _leg(entry: Order, leg: BrokerOrder) -> Order:
    purpose = Purpose.TAKE_PROFIT if leg.type == "limit" else Purpose.STOP_LOSS
    return replace(
        entry,
        id=leg.client_order_id,
        side=leg.side,
        purpose=purpose,
        qty=leg.qty,
        order_type=leg.type,
        state=OrderState.WORKING,
        parent_id=entry.id,
        trade_id=entry.trade_id or entry.id,
        limit_price=leg.limit_price,
        stop_price=leg.stop_price,
        broker_order_id=leg.broker_order_id,
        broker_status=leg.status,
        filled_qty=leg.filled_qty,
    )


def _sent_order(exit_: OfflineExit, now: Mapping[str, BrokerOrder]) -> Order:
    """Return an exit that was sent as an order that had nothing filled yet."""
    return offline_order(exit_, profile_id="", broker_order_id=now[exit_.id].broker_order_id)


def offline_order(exit_: OfflineExit, *, profile_id: str, broker_order_id: str | None = None) -> Order:
    """Return an exit as the order that goes to the broker."""
    return Order(
        id=exit_.id,
        profile_id=profile_id,
        symbol=exit_.symbol,
        side=exit_.side,
        purpose=exit_.purpose,
        qty=exit_.qty,
        order_type=exit_.order_type,
        order_class="simple",
        # The broker takes parts of shares for the day only, as private.decide_exit has it.
        time_in_force="day" if exit_.order_type == "market" or exit_.qty % 1 else "gtc",
        state=OrderState.SUBMITTING,
        trade_id=exit_.trade_id,
        stop_price=exit_.stop_price,
        market_at=exit_.market_at,
        broker_order_id=broker_order_id,
        replaces_broker_id=exit_.replaces_broker_id,
    )


def _of(order: Order, now: Mapping[str, BrokerOrder]) -> BrokerOrder | None:
    by_broker_id = now.get(order.broker_order_id) if order.broker_order_id else None
    return by_broker_id or now.get(order.id)


def _is_held(trade: OpenTrade, seen: Seen) -> bool:
    held = seen.held_qty(trade.symbol)
    return held > 0 if trade.is_long else held < 0
