"""NautilusTrader's backtest in memory: market orders of a CASH account, sent and filled one after the other.

Runs in an environment of its own, which has NautilusTrader and nothing of ours: `python bench/nautilus.py 5000`
prints the seconds that so many orders take, by the clock and of the processor.
"""

import json
import sys
import time

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model import Money, Price, Quantity, Venue
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("XNAS")
STOCK = TestInstrumentProvider.equity("AAPL", "XNAS")
BID, ASK, SIZE = Price.from_str("100.00"), Price.from_str("100.01"), Quantity.from_int(1000)
START_NS, STEP_NS = 1_700_000_000_000_000_000, 1_000_000_000


class InAndOut(Strategy):
    """Buys a share on one quote and sells it on the next."""

    filled = 0
    sent = 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(STOCK.id)

    def on_quote_tick(self, _tick: QuoteTick) -> None:
        side = OrderSide.SELL if self.sent % 2 else OrderSide.BUY
        self.sent += 1
        self.submit_order(self.order_factory.market(STOCK.id, side, Quantity.from_int(1)))

    def on_order_filled(self, _event: OrderFilled) -> None:
        self.filled += 1


def main(orders: int) -> dict[str, float]:
    """Run the backtest; return what it took."""
    engine = BacktestEngine(
        BacktestEngineConfig(trader_id=TraderId("BENCH-001"), logging=LoggingConfig(bypass_logging=True))
    )
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.CASH, [Money(1_000_000, USD)], base_currency=USD)
    engine.add_instrument(STOCK)
    times = [START_NS + n * STEP_NS for n in range(orders)]
    engine.add_data([QuoteTick(STOCK.id, BID, ASK, SIZE, SIZE, at, at) for at in times])
    strategy = InAndOut(StrategyConfig())
    engine.add_strategy(strategy)
    began_s, worked_s = time.perf_counter(), time.process_time()
    engine.run()
    took_s, worked_s = time.perf_counter() - began_s, time.process_time() - worked_s
    return {"filled": strategy.filled, "took_s": took_s, "worked_s": worked_s}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
