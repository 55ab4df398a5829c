"""How orders live: asked for, claimed, sent, reported on, closed."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from db import commands
from tests.property.authority.machine import ANY, ORDER, PROFILE, SHARD, Authority
from tests.property.authority.world import SHARDS, SYMBOLS, leg_said, said

ENTRY = st.tuples(PROFILE, st.sampled_from(SYMBOLS), st.sampled_from(["buy", "buy", "buy", "sell"]),
                  st.sampled_from([1, 7, 40, 90, 120, 300]), st.sampled_from(["99", "100.50", "104"]))  # fmt: skip
OUTCOMES = st.lists(st.sampled_from(["accepted", "accepted", "accepted", "rejected", "unknown", "not_sent"]),
                    min_size=1, max_size=4)  # fmt: skip


class TradingRules(Authority):
    """What strategies and the broker do."""

    @rule(entries=st.lists(ENTRY, min_size=1, max_size=5), permits=st.sampled_from([0, 0, 1, 50]))
    def ask(self, entries: list[tuple[str, str, str, int, str]], permits: int = 0) -> None:
        self.minute += 1
        for shard, engine in self.world.engines.items():
            batch = [self.entry(engine, *e) for e in entries if SHARDS[e[0]] == shard]
            self.asked += [(shard, request) for request in batch]
            for place, (request, answer) in enumerate(zip(batch, engine.ask(*batch, permits=permits), strict=True)):
                assert str(answer.id) == request["id"]
                assert (answer.permit is not None) == (answer.state == "submitting")
                assert answer.permit is None or place < permits
                mode = self.effective(UUID(request["profile_id"]), request["symbol"])
                if mode != "RUNNING":
                    assert answer.code == f"TRADING_{mode}", "a restriction is the first check that fails"
                else:
                    assert answer.code not in ("TRADING_PAUSED", "TRADING_HALTED")
                self.note(f"asked: {answer.code or answer.state}")

    @precondition(lambda self: self.asked)
    @rule(n=ANY)
    def ask_again(self, n: int) -> None:
        if not self.asked:
            return
        shard, request = self.asked[n % len(self.asked)]
        before = self.world.state()
        (answer,) = self.world.engines[shard].ask(request | {"qty": "1"}, permits=50)
        assert answer.permit is None
        assert self.world.state() == before, "a request sent again does nothing"
        assert [(answer.state,)] == self.world.rows("select state::text from orders where id = %s", answer.id)
        self.note("asked again")

    @precondition(lambda self: self.watch.have["ready"])
    @rule(shard=SHARD, limit=st.sampled_from([1, 50, 50]))
    def claim(self, shard: str, limit: int) -> None:
        ready = {row[0] for row in self.world.rows("select id from orders where state = 'ready' and shard = %s", shard)}
        claimed = commands.claim_orders(
            self.world.engine_client, shard=shard, token=self.world.engines[shard].token, limit=limit
        )
        assert {order.id for order in claimed} <= ready
        if limit == 50:
            assert not self.world.rows(
                "select id from orders where state = 'ready' and shard = %s and private.effective_mode(profile_id,"
                " symbol) < case purpose when 'entry' then 'PAUSED' else 'HALTED' end::control_mode", shard
            ), "whatever may be sent is handed out"  # fmt: skip
        for order in claimed:
            self.note(f"claimed: {order.purpose}")

    @precondition(lambda self: self.watch.have["in flight"])
    @rule(shard=SHARD, outcomes=OUTCOMES)
    def submit(self, shard: str, outcomes: list[str]) -> None:
        in_flight = self.world.rows(
            ORDER + "where state in ('submitting', 'unknown') and shard = %s order by id", shard
        )
        results = []
        for n, order in enumerate(in_flight):
            outcome = outcomes[n % len(outcomes)]
            result: dict[str, Any] = {"id": str(order[0]), "outcome": outcome}
            if outcome == "accepted":
                result["order"] = said(order, "new")
                self.reported.append((shard, result["order"]))
            results.append(result)
            self.note(f"submitted: {outcome}")
        engine = self.world.engines[shard]
        commands.record_submission(self.world.engine_client, shard=shard, token=engine.token, results=results)

    @precondition(lambda self: self.watch.have["ready"] + self.watch.have["in flight"])
    @rule(outcomes=OUTCOMES)
    def send_what_is_ready(self, outcomes: list[str]) -> None:
        for shard in self.world.engines:
            self.claim(shard, 50)
            self.submit(shard, outcomes)

    @precondition(lambda self: self.watch.have["at broker"])
    @rule(n=ANY, status=st.sampled_from(["new", "partially_filled", "partially_filled", "filled", "filled", "canceled",
                                         "expired", "rejected", "pending_cancel"]), part=st.integers(1, 9))  # fmt: skip
    def broker_reports(self, n: int, status: str, part: int) -> None:
        at_broker = self.world.rows(
            "select id, symbol, side::text, qty, order_class, shard, filled_qty, limit_price from orders where"
            " state in ('submitting', 'unknown', 'working', 'partially_filled') and parent_id is null order by id"
        )
        if not at_broker:
            return
        *order, shard, filled, limit = at_broker[n % len(at_broker)]
        qty = order[3]
        if status == "partially_filled":
            filled = min(filled + max(1, int(qty * part / 10)), qty - 1) if qty > 1 else filled
        elif status == "filled":
            filled = qty
        elif status == "rejected" and filled:
            status = "canceled"  # what has traded cannot be rejected any more
        price = None if not filled else Decimal(101) if limit is None else limit
        if price and order[2] == "buy":
            price -= filled / qty / 2  # better than the limit, and with each fill a little more
        update = said(order, status, filled=filled, price=price)
        self.world.engines[shard].update(update)
        self.reported.append((shard, update))
        self.note(f"broker: {status}")

    @precondition(lambda self: self.reported)
    @rule(n=ANY)
    def broker_reports_late(self, n: int) -> None:
        if not self.reported:
            return
        shard, update = self.reported[n % len(self.reported)]
        books = (
            "select o.id, o.state::text, o.filled_qty, o.filled_avg_price, o.reserved_usd from orders o order by o.id"
        )
        before = self.world.rows(books), self.world.rows("select * from profile_capital order by profile_id")
        self.world.engines[shard].update(update, update)
        after = self.world.rows(books), self.world.rows("select * from profile_capital order by profile_id")
        assert after == before, "news that is old changes nothing"
        self.note("late news")

    @precondition(lambda self: self.watch.have["legs"])
    @rule(n=ANY, kind=st.sampled_from(["limit", "stop"]))
    def leg_fills(self, n: int, kind: str) -> None:
        brackets = self.world.rows(
            ORDER + "e where exists (select 1 from orders l where l.parent_id = e.id and l.state = 'working')"
            " order by id"
        )
        if not brackets:
            return
        order = brackets[n % len(brackets)]
        (shard,) = self.world.rows("select shard from orders where id = %s", order[0])[0]
        news = leg_said(order, kind, "filled", price=Decimal(110 if kind == "limit" else 95))
        other = leg_said(order, "stop" if kind == "limit" else "limit", "canceled")
        self.world.engines[shard].update(news, other)
        self.reported += [(shard, news), (shard, other)]
        self.note(f"leg filled: {kind}")

    @precondition(lambda self: self.watch.have["positions"])
    @rule(n=ANY, part=st.sampled_from([None, "1"]), purpose=st.sampled_from(["exit", "exit", "stop_loss"]))
    def exit(self, n: int, part: str | None, purpose: str) -> None:
        held = self.world.rows(
            "select n.trade_id, f.shard, n.profile_id, n.symbol, exists (select 1 from orders o where o.trade_id ="
            " n.trade_id and o.purpose = 'exit' and not private.is_terminal(o.state)), n.qty,"
            " private.reserved_by_legs(n.trade_id) from positions n join profiles f on f.id = n.profile_id order by 1"
        )
        if not held:
            return
        trade, shard, profile, symbol, closing, qty, covered = held[n % len(held)]
        mode = self.effective(profile, symbol)
        request = {"id": str(self.next_id()), "purpose": purpose, "qty": part} | (
            {"order_type": "stop", "stop_price": "90"} if purpose == "stop_loss" else {}
        )
        answer = self.world.engines[shard].exit(trade, **request)
        if mode == "HALTED":
            assert answer.code == "TRADING_HALTED"
        elif closing:
            assert answer.code == "DUPLICATE_ORDER"
        elif purpose == "stop_loss" and covered >= qty:
            assert answer.code == "ALREADY_PROTECTED"
        else:
            assert answer.state == "ready", "a pause stops no exit"
        (reserved,) = self.world.rows("select private.reserved_by_legs(%s)", trade)[0]
        assert reserved <= max(covered, qty), "no stop sells what resting orders would sell already"
        self.note(f"exit while {mode}: {answer.code or answer.state}")
