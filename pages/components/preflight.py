"""The pre-flight list in plain words."""

from db.models import PreflightItem

# What it means when an item is met, and when it is not.
_WORDS = {
    "ENGINE_ALIVE": ("The engine is alive", "The engine gives no sign of life"),
    "RECONCILED": ("Our books and the broker's agree",
                   "Our books and the broker's differ, or were not compared lately"),
    "DATA_FRESH": ("Market data are fresh", "Market data are old"),
    "BROKER_NOT_BLOCKED": ("The broker lets the account trade", "The broker blocks the account, or has not said"),
    "NO_UNKNOWN_ORDER": ("The fate of every order is known", "There are orders whose fate at the broker is not known"),
    "POSITIONS_PROTECTED": ("Every position has its stop", "There are positions without a full stop"),
}  # fmt: skip
# The authority tells of these what has to hold, whether it holds or not.
_EXPECTATIONS = ("RECONCILED", "BROKER_NOT_BLOCKED")


def item_words(item: PreflightItem) -> str:
    """Return one item of the pre-flight list in plain words."""
    met, failed = _WORDS.get(item.item, (item.item, f"Not met: {item.item}"))
    return met if item.ok else failed


def item_detail(item: PreflightItem) -> str:
    """Return what the authority says about an item, marked where it is what should be and not what is."""
    return f"Needed: {item.detail}" if item.item in _EXPECTATIONS and not item.ok else item.detail


def failing_words(items: list[PreflightItem]) -> str:
    """Return everything that stands in the way of a resume as one sentence."""
    return "; ".join(sorted({item_words(item) for item in items if not item.ok})) + "."
