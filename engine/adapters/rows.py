"""The authority's rows in the domain's words, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from db import models
from engine.domain.book import OpenTrade, Order, OrderState, Purpose, Snapshot
from engine.domain.broker_types import Bar, BrokerOrder
from engine.domain.control import ControlMode, TradingControl
from engine.domain.journal import OfflineExit
from engine.domain.reconcile import Finding
from engine.domain.requests import Answer, EntryRequest, ExitRequest
from engine.domain.submission import Submission

PROTECTIVE: Final = frozenset({Purpose.STOP_LOSS, Purpose.TAKE_PROFIT})


def to_snapshot(row: models.EngineSnapshot) -> Snapshot:
    legs: defaultdict[str | None, list[Order]] = defaultdict(list)
    for order in (*row.orders, *row.legs):
        if order.purpose in PROTECTIVE:
            legs[order.trade_id].append(order)
    return Snapshot(
        profiles=row.profiles,
        trades=tuple(_trade(trade, legs[trade.trade_id]) for trade in row.trades),
        orders=row.orders,
        risk_config=row.risk_config.config,
    )


def to_answer(row: models.Answer) -> Answer:
    permit = None if row.permit is None else to_order(row.permit)
    return Answer(str(row.id), OrderState(row.state), row.code, row.reason, permit)


def to_order(row: models.Order) -> Order:
    return Order(
        id=str(row.id),
        profile_id=str(row.profile_id),
        symbol=row.symbol,
        side=row.side,
        purpose=Purpose(row.purpose),
        qty=row.qty,
        order_type=row.order_type,
        order_class=row.order_class,
        time_in_force=row.time_in_force,
        state=OrderState(row.state),
        trade_id=_text(row.trade_id),
        parent_id=_text(row.parent_id),
        limit_price=row.limit_price,
        stop_price=row.stop_price,
        take_profit_price=row.take_profit_price,
        stop_loss_price=row.stop_loss_price,
        broker_order_id=row.broker_order_id,
        broker_status=row.broker_status,
        filled_qty=row.filled_qty,
        market_at=row.market_at,
        broker_updated_at=row.broker_updated_at,
        submitted_at=row.submitted_at,
        permit_deadline=row.permit_deadline,
        cancel_requested_at=row.cancel_requested_at,
        replaces_broker_id=row.replaces_broker_id,
    )


def to_control(row: models.TradingStatus) -> TradingControl:
    return TradingControl(
        mode=ControlMode[row.mode],
        changed_by=row.lastChangedBy,
        changed_at=row.changed_at,
        reason=row.reason,
        version=row.version,
        checked_at=row.checked_at,
        scopes={(scope.scope, scope.scope_key): ControlMode[scope.mode] for scope in row.scopes},
    )


def entry_row(request: EntryRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "profile_id": request.profile_id,
        "symbol": request.symbol,
        "side": request.side,
        "qty": str(request.qty),
        "limit_price": str(request.limit_price),
        "reference_price": str(request.reference_price),
        "take_profit_price": str(request.take_profit_price),
        "stop_loss_price": str(request.stop_loss_price),
        "market_at": request.market_at.isoformat(),
        "quote_at": request.quote_at.isoformat(),
        "market_open": request.market_open,
        "signal": {
            "strategy": request.signal.strategy,
            "strength": str(request.signal.strength),
            "bar_at": request.signal.bar_at.isoformat(),
            "detail": dict(request.signal.detail),
        },
    }


def exit_row(request: ExitRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "trade_id": request.trade_id,
        "purpose": request.purpose,
        "qty": _amount(request.qty),
        "order_type": request.order_type,
        "stop_price": _amount(request.stop_price),
        "replaces_broker_id": request.replaces_broker_id,
        "exit_reason": request.exit_reason,
        "reason": request.reason,
        "market_at": request.market_at.isoformat(),
    }


def submission_row(submission: Submission) -> dict[str, Any]:
    return {
        "id": submission.id,
        "outcome": submission.outcome,
        "code": submission.code,
        "reason": submission.reason,
        "request_id": submission.request_id,
        "order": None if submission.order is None else broker_order_row(submission.order),
    }


def offline_exit_row(exit_: OfflineExit, answer: Submission) -> dict[str, Any]:
    return submission_row(answer) | {
        "trade_id": exit_.trade_id,
        "purpose": exit_.purpose,
        "qty": str(exit_.qty),
        "order_type": exit_.order_type,
        "stop_price": _amount(exit_.stop_price),
        "exit_reason": exit_.exit_reason,
        "reason": answer.reason or exit_.reason,
        "market_at": exit_.market_at.isoformat(),
    }


def broker_order_row(order: BrokerOrder) -> dict[str, Any]:
    return {
        "client_order_id": order.client_order_id,
        "broker_order_id": order.broker_order_id,
        "status": order.status,
        "symbol": order.symbol,
        "side": order.side,
        "qty": str(order.qty),
        "type": order.type,
        "order_class": order.order_class,
        "limit_price": _amount(order.limit_price),
        "stop_price": _amount(order.stop_price),
        "filled_qty": str(order.filled_qty),
        "filled_avg_price": _amount(order.filled_avg_price),
        "updated_at": order.updated_at.isoformat(),
        "replaces": order.replaces,
        "legs": [broker_order_row(leg) for leg in order.legs],
    }


def bar_row(bar: Bar) -> dict[str, Any]:
    return {
        "symbol": bar.symbol,
        "timeframe": bar.timeframe,
        "bar_at": bar.at.isoformat(),
        "open": str(bar.open),
        "high": str(bar.high),
        "low": str(bar.low),
        "close": str(bar.close),
        "volume": str(bar.volume),
    }


def finding_row(finding: Finding) -> Mapping[str, Any]:
    return {
        "key": finding.key,
        "kind": finding.kind,
        "symbol": finding.symbol,
        "detail": dict(finding.detail),
        "status": "repaired" if finding.repaired else "open",
        "severity": finding.severity,
        "action": finding.action,
        "advice": finding.advice,
    }


def _trade(row: models.OpenTrade, legs: Iterable[Order]) -> OpenTrade:
    return OpenTrade(
        trade_id=row.trade_id,
        profile_id=row.profile_id,
        symbol=row.symbol,
        side=row.side,
        qty=row.qty,
        stop_price=row.stop_price,
        take_profit_price=row.take_profit_price,
        exit_working=row.exit_working,
        legs=tuple(legs),
        avg_entry_price=row.avg_entry_price,
        opened_at=row.opened_at,
        mark_price=row.mark_price,
        marked_at=row.marked_at,
    )


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _amount(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
