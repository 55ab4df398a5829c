"""What the gate's checks and codes mean, in plain words."""

from pages.components.formats import NOTHING, words

# What each check asks; it has failed when the answer is no.
CHECKS = {
    "TRADING_HALTED": "Trading is not halted",
    "TRADING_PAUSED": "Trading is not paused",
    "MODE_DISABLED": "The profile's trading mode is paper or live",
    "PROFILE_INACTIVE": "The profile is switched on",
    "SYMBOL_LOCKED": "The symbol is not locked out",
    "SIGNAL_STALE": "The signal is fresh enough (age in bars)",
    "QUOTE_STALE": "The quote is fresh enough (age in seconds)",
    "ORDER_UNKNOWN": "No earlier order in the symbol has an unknown fate",
    "RECONCILIATION_BREAK": "Our books and the broker's agree in the symbol",
    "DUPLICATE_ORDER": "No entry of the profile in the symbol and direction is open",
    "STAGED_SIZE": "After a staged resume, something is left of the size",
    "ORDER_QTY_MAX": "The quantity is within its limit",
    "ORDER_NOTIONAL_MAX": "The order's size in USD is within its limit",
    "PRICE_COLLAR": "The limit price is near enough to the quote (fraction)",
    "OPEN_ORDERS_MAX": "The profile's open entries are within their limit",
    "POSITIONS_MAX": "The symbols that the profile holds are within their limit",
    "POSITION_LIMIT": "The position's size in USD is within its limit",
    "SECTOR_EXPOSURE": "The exposure to the sector in USD is within its limit",
    "GROSS_EXPOSURE": "The exposure of all the owner's profiles in USD is within its limit",
    "CAPITAL_INSUFFICIENT": "The profile has the capital (USD)",
    "ORDER_RATE": "The entries in the time allowed for them are within their limit",
    "REPEATED_EXECUTION": "The same entry was not made too often",
    "DAILY_LOSS": "Today's loss in USD is below its limit",
    "DRAWDOWN": "The drawdown is below its limit (fraction)",
    "LOSS_STREAK": "The losing trades in a row are below their limit",
    "WASH_TRADE": "It could not trade with an order of ours on the other side",
    "MARKET_CLOSED": "The market is open, or entries may wait for it",
}
CODES = {
    "TRADING_HALTED": "Trading was halted",
    "TRADING_PAUSED": "Trading was paused",
    "MODE_DISABLED": "The profile's trading mode is disabled",
    "PROFILE_INACTIVE": "The profile was switched off",
    "SYMBOL_LOCKED": "The symbol was locked out",
    "SIGNAL_STALE": "The signal was too old",
    "QUOTE_STALE": "The quote was too old, or its age not known",
    "ORDER_UNKNOWN": "An earlier order's fate was not known",
    "RECONCILIATION_BREAK": "Our books and the broker's differed",
    "DUPLICATE_ORDER": "The same entry was open already",
    "STAGED_SIZE": "Nothing was left of its staged size",
    "ORDER_QTY_MAX": "Too many shares in one order",
    "ORDER_NOTIONAL_MAX": "Too large an order",
    "PRICE_COLLAR": "Its limit was too far from the quote",
    "OPEN_ORDERS_MAX": "Too many open entries",
    "POSITIONS_MAX": "Too many symbols held",
    "POSITION_LIMIT": "Too large a position",
    "SECTOR_EXPOSURE": "Too much in one sector",
    "GROSS_EXPOSURE": "Too much exposure in all",
    "CAPITAL_INSUFFICIENT": "Not enough capital",
    "ORDER_RATE": "Too many entries in the time",
    "REPEATED_EXECUTION": "The same entry too often",
    "DAILY_LOSS": "Too much lost that day",
    "DRAWDOWN": "Too deep a drawdown",
    "LOSS_STREAK": "Too many losing trades in a row",
    "WASH_TRADE": "Could have traded with our own order",
    "MARKET_CLOSED": "The market was closed",
    "LIMIT_NOT_SET": "A limit is not set, which blocks",
    "approval_rejected": "A person said no",
    "approval_expired": "Nobody decided in time",
    "canceled": "Cancelled before anything was filled",
    "expired": "Its time was over before anything was filled",
    "rejected": "The broker said no",
    "macro": "The market's regime spoke against it",
    "competitive": "Its peers spoke against it",
}
APPROVAL_REASONS = {
    "mode": "the profile's trading mode asks for it",
    "notional": "its size asks for it",
    "first_trade": "it is the first trade in the symbol",
    "off_hours": "the market is closed",
    "loss_streak": "the last trades lost",
    "staged_resume": "trading was resumed in stages",
}


def code_words(code: str) -> str:
    """Return what a code means: a denial, an outcome or the name of a layer."""
    return CODES.get(code) or words(code)


def value_words(value: object) -> str:
    """Return a check's limit or observed value as people write it; None: it is not known or not set."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    return str(value)
