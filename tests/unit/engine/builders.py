"""Small builders of domain values: name only what a test is about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from engine.domain.book import OpenTrade, Order, OrderState, Profile, Purpose, Snapshot
from engine.domain.broker_types import Bar, BrokerOrder, MarketTime, Quote
from engine.domain.requests import EntryRequest, Signal

NOON = datetime(2007, 1, 3, 17, 0, tzinfo=UTC)
MARKET = MarketTime(NOON, is_open=True)


def an_order(**changes: Any) -> Order:
    """Return an entry that works at the broker under the id `broker-<id>`."""
    order = Order(
        id="entry",
        profile_id="profile",
        symbol="AAPL",
        side="buy",
        purpose=Purpose.ENTRY,
        qty=Decimal(10),
        order_type="limit",
        order_class="bracket",
        time_in_force="gtc",
        state=OrderState.WORKING,
        trade_id="entry",
        broker_status="new",
        market_at=NOON,
    )
    order = replace(order, **changes)
    return order if "broker_order_id" in changes else replace(order, broker_order_id=f"broker-{order.id}")


def a_leg(purpose: Purpose, **changes: Any) -> Order:
    """Return a protective leg of the order `entry`."""
    status = "held" if purpose is Purpose.STOP_LOSS else "new"
    return an_order(
        **{"id": str(purpose), "side": "sell", "purpose": purpose, "parent_id": "entry", "broker_status": status}
        | changes
    )


def a_trade(*legs: Order, **changes: Any) -> OpenTrade:
    """Return ten shares held long, stop at 90, target at 120."""
    trade = OpenTrade(
        trade_id="entry",
        profile_id="profile",
        symbol="AAPL",
        side="long",
        qty=Decimal(10),
        stop_price=Decimal(90),
        take_profit_price=Decimal(120),
        exit_working=False,
        legs=legs,
    )
    return replace(trade, **changes)


def protected_trade(**changes: Any) -> OpenTrade:
    return a_trade(a_leg(Purpose.STOP_LOSS), a_leg(Purpose.TAKE_PROFIT), **changes)


def a_profile(**changes: Any) -> Profile:
    profile = Profile(
        id="profile",
        name="Test",
        strategy="rsi_reversion",
        symbols=("AAPL",),
        params={
            "period": 2, "low": 30, "high": 70,
            "position_pct": "0.5", "stop_loss_pct": "0.05", "take_profit_pct": "0.1",
        },
        timeframe="1Hour",
        active=True,
        capital_usd=Decimal(10_000),
    )  # fmt: skip
    return replace(profile, **changes)


def a_snapshot(
    *, profiles: tuple[Profile, ...] = (), trades: tuple[OpenTrade, ...] = (), orders: tuple[Order, ...] = ()
) -> Snapshot:
    return Snapshot(profiles=profiles, trades=trades, orders=orders, risk_config={})


def at_broker(order: Order, **changes: Any) -> BrokerOrder:
    """Return the broker's side of one of our orders."""
    theirs = BrokerOrder(
        broker_order_id=order.broker_order_id or f"broker-{order.id}",
        client_order_id=order.id,
        status=order.broker_status or "new",
        symbol=order.symbol,
        side=order.side,
        qty=order.qty,
        type=order.order_type,
        order_class=order.order_class,
        filled_qty=order.filled_qty,
        submitted_at=NOON,
        updated_at=NOON,
    )
    return replace(theirs, **changes)


def a_quote(price: str, symbol: str = "AAPL") -> Quote:
    return Quote(symbol, Decimal(price), Decimal(price), NOON)


def hourly_bars(*closes: int, symbol: str = "AAPL") -> list[Bar]:
    """Return hourly bars that end at NOON."""
    first = NOON - timedelta(hours=len(closes))
    return [
        Bar(symbol, "1Hour", first + timedelta(hours=n), *[Decimal(close)] * 4, volume=Decimal(100))
        for n, close in enumerate(closes)
    ]


def an_entry_request(**changes: Any) -> EntryRequest:
    signal = Signal(strategy="test", action="enter", strength=Decimal(1), bar_at=NOON, reason="test")
    request = EntryRequest(
        id="entry",
        profile_id="profile",
        symbol="AAPL",
        side="buy",
        qty=Decimal(10),
        limit_price=Decimal("100.5"),
        reference_price=Decimal(100),
        take_profit_price=Decimal(120),
        stop_loss_price=Decimal(90),
        market_at=NOON,
        signal=signal,
        quote_at=NOON,
        market_open=True,
    )
    return replace(request, **changes)
