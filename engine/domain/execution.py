"""How well orders were filled: the price that came about against the price that was meant.

For looking at, as `metrics` is: plain floats, never a basis for a decision.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

BASIS_POINTS: Final = 10_000
_MEANT_BY: Final = {"entry": "reference_price", "stop_loss": "stop_price", "take_profit": "limit_price"}


def slippage(fills: pd.DataFrame) -> pd.DataFrame:
    """Return what each fill cost more than was meant; below 0 it was better.

    An entry was meant at the quote it was decided by, a stop at its stop price, a target at its limit. An exit at
    market by a signal or by hand was meant at no price, so it has no slippage.

    Parameters
    ----------
    fills : columns `purpose`, `side` (buy, sell), `qty`, `price`, `reference_price`, `stop_price`, `limit_price`

    Returns
    -------
    DataFrame, the fills with a price that was meant; their columns plus `meant_usd` (price), `slippage_usd` and
    `notional_usd` (at the price that was meant)
    """
    meant = pd.Series(float("nan"), index=fills.index)
    for purpose, column in _MEANT_BY.items():
        meant = meant.where(fills["purpose"] != purpose, fills[column].astype("float64"))
    worse = (fills["price"] - meant) * fills["side"].map({"buy": 1.0, "sell": -1.0})
    found = fills.assign(meant_usd=meant, slippage_usd=worse * fills["qty"], notional_usd=meant * fills["qty"])
    return found[found["meant_usd"] > 0]


def in_basis_points(measured: pd.DataFrame) -> float:
    """Return slippage in hundredths of a per cent of what was traded; NaN over no fills. `measured`: as `slippage`."""
    notional = float(measured["notional_usd"].sum())
    return float(measured["slippage_usd"].sum()) / notional * BASIS_POINTS if notional else float("nan")
