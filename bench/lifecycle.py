"""Orders from signal to fill: a real engine, Postgres that syncs, the paper exchange over HTTP."""

import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import requests
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, StopLossRequest, TakeProfitRequest

from bench.engine_process import main, run_engine
from bench.exchange import ADMIN, running
from bench.harness import Bench, Row, percentile
from bench.peers import nautilus
from bench.processor import used_s
from db.client import engine_client
from db.commands._call import call
from engine.adapters.alpaca_market_data import AlpacaMarketData
from engine.adapters.rows import entry_row
from engine.bootstrap import Engine
from engine.config import Settings
from engine.domain.broker_types import MarketTime, Quote
from engine.domain.requests import EntryRequest, Signal, entry_id

SHARD = "bench-lifecycle"
SYMBOLS = ("AAPL", "MSFT")  # of the tape's cheapest, so that the account's cash is enough
PROFILES = 1_600
SINGLES, WARM_UP = 200, 40  # orders of which each goes its way alone
BATCH = 400  # profiles that want something of one bar
ACCEPTED_P50_MS, ACCEPTED_P99_MS = 8, 40
PEER_SHARE_MIN = 0.2


def measured(bench: Bench) -> list[Row]:
    """Send orders one by one, then many at a time, and compare with what a peer reaches in memory."""
    bench.make_noop()
    profiles = _make_profiles(bench)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as exchange:
        exchange.sim("step", to="open")
        found = run_engine("bench.lifecycle", bench, exchange.url, Path(folder), SHARD, profiles=profiles)
        filled = sum(order["status"] == "filled" for order in exchange.ledger()["orders"])
    (recorded,) = bench.db.execute(
        "select count(*) from fills f join orders o on o.id = f.order_id where o.shard = %s", [SHARD]
    ).fetchone() or (0,)
    return [
        _accepted(found["accepted_ms"], found["bare_ms"]),
        _whole(found, is_whole=recorded == filled == found["sent"]),
    ]


def _accepted(taken_ms: list[float], bare_ms: list[float]) -> Row:
    p50, p99, bare_p50, bare_p99 = (
        percentile(all_ms, share) for all_ms in (taken_ms, bare_ms) for share in (0.5, 0.99)
    )
    return Row(
        what="signal to the broker's acceptance recorded: p50, p99",
        measured=f"{p50:.1f} ms, {p99:.1f} ms",
        target=f"<= {ACCEPTED_P50_MS} ms, <= {ACCEPTED_P99_MS} ms",
        detail=f"{p50 / bare_p50:.1f} x, {p99 / bare_p99:.1f} x its bare calls by turns; {len(taken_ms)} orders",
        reached=p50 <= ACCEPTED_P50_MS and p99 <= ACCEPTED_P99_MS,
    )


def _whole(found: dict[str, Any], *, is_whole: bool) -> Row:
    ours = found["rate"]
    peer = nautilus()
    against = "PEERS=1 measures the peer"
    if peer is not None:
        against = f"it reaches {peer.rate:,.0f} a second, {peer.worked_ms:.2f} ms of the processor each"
    return Row(
        what=f"whole lifecycle, signal to recorded fill, {PROFILES} profiles, durable",
        measured=f"{ours:,.0f} orders a second" + (f", {ours / peer.rate:.0%} of NautilusTrader" if peer else ""),
        target=f">= {PEER_SHARE_MIN:.0%} of NautilusTrader's backtest in memory",
        detail=f"{_parts(found)}; {against}",
        reached=is_whole and (peer is None or ours >= PEER_SHARE_MIN * peer.rate),
    )


def _parts(found: dict[str, Any]) -> str:
    """Tell what an order takes, by the clock and of the processor."""
    passed, worked = (
        ", ".join(f"{part} {ms:.2f}" for part, ms in found[what].items()) for what in ("parts_ms", "worked_ms")
    )
    return f"ms of an order: {passed}; of the processor: {worked}, together {sum(found['worked_ms'].values()):.2f}"


def _make_profiles(bench: Bench) -> list[str]:
    bench.db.execute(
        "insert into profiles (owner_id, name, strategy, symbols, shard, capital_usd)"
        " select m.user_id, 'bench lifecycle ' || n, 'bench', %s, %s, 1000000"
        " from generate_series(1, %s) n, (select user_id from members order by email limit 1) m",
        [list(SYMBOLS), SHARD, PROFILES],
    )
    rows = bench.db.execute("select id::text from profiles where shard = %s order by name", [SHARD]).fetchall()
    return [id for (id,) in rows]


def _engine(engine: Engine, *, profiles: list[str]) -> dict[str, Any]:
    """Let every profile enter each symbol once, some alone and then all the others; return how long that took."""
    wishes = ((profile, symbol) for symbol in SYMBOLS for profile in profiles)
    bare = BareChain(engine.settings)
    alone = [_request(engine, [wish]) for wish in islice(wishes, WARM_UP + SINGLES)]
    chains, singles = zip(*((bare.ms(entry), _one(engine, entry)) for (entry,) in alone), strict=True)
    parts = dict.fromkeys(("gate and send", "fills"), 0.0)
    while _fill(engine, dict(parts)):
        pass
    bare.clear()
    _through(engine, list(islice(wishes, BATCH)), dict(parts))  # the first ones teach the functions their plans
    many, before_s = list(wishes), used_s(os.getppid())
    took_s = _through(engine, many, parts)
    return {
        "accepted_ms": singles[WARM_UP:],
        "bare_ms": chains[WARM_UP:],
        "rate": len(many) / took_s,
        "parts_ms": {part: part_s * 1000 / len(many) for part, part_s in parts.items()},
        "worked_ms": {
            part: (now_s - before_s[part]) * 1000 / len(many) for part, now_s in used_s(os.getppid()).items()
        },
        "sent": len(profiles) * len(SYMBOLS),
    }


class BareChain:
    """The calls that no order can do without, and nothing around them.

    A no-op that is sent the entry, the bracket to the broker, a no-op that is sent the broker's answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._authority = engine_client(settings.supabase_url, settings.supabase_secret_key.get_secret_value())
        keys = settings.alpaca_api_key.get_secret_value(), settings.alpaca_secret_key.get_secret_value()
        self._broker = TradingClient(*keys, raw_data=True, url_override=settings.alpaca_base_url)
        self._broker._session.trust_env = False
        self._resting: list[str] = []

    def ms(self, entry: EntryRequest) -> float:
        """Return what the chain takes, in milliseconds; the order rests where nothing fills it."""
        order = LimitOrderRequest(
            symbol=entry.symbol, qty=1, side="buy", time_in_force="gtc", limit_price=2, order_class="bracket",
            take_profit=TakeProfitRequest(limit_price=3), stop_loss=StopLossRequest(stop_price=1),
        )  # fmt: skip
        began_s = time.perf_counter()
        self._do_nothing(entry_row(entry))
        answer = self._broker.submit_order(order)
        self._do_nothing(dict(answer))
        took_s = time.perf_counter() - began_s
        self._resting.append(dict(answer)["id"])
        return took_s * 1000

    def clear(self) -> None:
        """Cancel what it has sent."""
        for order_id in self._resting:
            self._broker.cancel_order_by_id(order_id)

    def _do_nothing(self, sent: dict[str, Any]) -> None:
        call(self._authority, "bench_noop", p_shard=SHARD, p_token=0, p_requests=[sent])


def _one(engine: Engine, entry: EntryRequest) -> float:
    """Take one signal to its recorded acceptance, as a trade tick does; return milliseconds."""
    began_s = time.perf_counter()
    (answer,) = engine.trader.handle_signals([entry])
    took_s = time.perf_counter() - began_s
    assert answer is not None and answer.permit is not None, answer
    return took_s * 1000


def _through(engine: Engine, wishes: list[tuple[str, str]], parts: dict[str, float]) -> float:
    """Take signals to their recorded fills; return seconds. As in service, fills are recorded beside the sending."""
    began_s = time.perf_counter()
    with ThreadPoolExecutor(1) as beside:
        filling = []
        for first in range(0, len(wishes), BATCH):
            _send(engine, wishes[first : first + BATCH], parts)
            wait(filling)
            filling.append(beside.submit(_fill, engine, parts))
    assert all(future.result() for future in filling), "a tick fills nothing"
    ended_s = time.perf_counter()
    while _fill(engine, parts):
        ended_s = time.perf_counter()  # the last look finds that all is recorded
    return ended_s - began_s


def _send(engine: Engine, wishes: list[tuple[str, str]], parts: dict[str, float]) -> None:
    asked, began_s = _request(engine, wishes), time.perf_counter()
    answers = engine.trader.handle_signals(asked)
    parts["gate and send"] += time.perf_counter() - began_s
    assert all(answer and answer.state in ("ready", "submitting") for answer in answers), answers[:3]


def _fill(engine: Engine, parts: dict[str, float]) -> int:
    """Let the market move by a tick, and sync; return how many orders that has changed."""
    began_s = time.perf_counter()
    _step(engine)
    changed = engine.sync.run(engine.market.read())
    parts["fills"] += time.perf_counter() - began_s
    return changed


def _request(engine: Engine, wishes: list[tuple[str, str]]) -> list[EntryRequest]:
    """Return entries that the gate lets pass and the next tick fills."""
    engine.market.outdate()
    market = engine.market.read()
    quotes = _quotes(engine.settings, {symbol for _, symbol in wishes})
    return [_entry(profile, quotes[symbol], market) for profile, symbol in wishes]


def _entry(profile: str, quote: Quote, market: MarketTime) -> EntryRequest:
    return EntryRequest(
        id=entry_id(profile_id=profile, symbol=quote.symbol, side="buy", bar_at=market.now),
        profile_id=profile,
        symbol=quote.symbol,
        side="buy",
        qty=Decimal(1),
        limit_price=round(quote.ask * Decimal("1.01"), 2),
        reference_price=quote.ask,
        take_profit_price=round(quote.ask * 2, 2),
        stop_loss_price=round(quote.ask / 2, 2),
        market_at=market.now,
        signal=Signal(
            strategy="bench", action="enter", strength=Decimal(1), bar_at=market.now, reason="It is measured."
        ),
        quote_at=quote.at,
        market_open=market.is_open,
    )


def _step(engine: Engine) -> None:
    url, body = f"{engine.settings.alpaca_base_url}/_sim/step", {"ticks": 1}
    requests.post(url, json=body, headers=ADMIN, timeout=60).raise_for_status()
    engine.market.outdate()


def _quotes(settings: Settings, symbols: Iterable[str]) -> dict[str, Quote]:
    keys = {
        "api_key": settings.alpaca_api_key.get_secret_value(),
        "secret_key": settings.alpaca_secret_key.get_secret_value(),
    }
    data = AlpacaMarketData(base_url=settings.alpaca_base_url, data_url=settings.alpaca_data_url, feed=None, **keys)
    return data.quotes(symbols)


if __name__ == "__main__":
    main(_engine)
