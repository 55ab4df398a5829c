"""What the authority says about trading, read once per run, and never taken for fresh when it is not."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import streamlit as st

from db.client import Client
from db.commands import trading_status
from db.errors import AuthorityError, NotSignedIn
from db.models import TradingStatus
from pages.session.clock import now

_KEY = "_status_reading"
_ROLE_KEY = "_last_known_role"
FRESH_FOR = timedelta(seconds=1)


@dataclass(frozen=True)
class Reading:
    """One attempt to read the status: either a status or the error that kept it from being read."""

    status: TradingStatus | None
    error: AuthorityError | None
    read_at: datetime


def read_status(client: Client) -> Reading:
    """Return what the authority says now; a reading of this very run is used again.

    Raises
    ------
    NotSignedIn when the token was refused: the person signs in again
    """
    last: Reading | None = st.session_state.get(_KEY)
    if last and last.status and now() - last.read_at < FRESH_FOR:
        return last
    try:
        reading = Reading(trading_status(client), None, now())
        st.session_state[_ROLE_KEY] = reading.status.role if reading.status else None
    except NotSignedIn:
        raise
    except AuthorityError as e:
        reading = Reading(None, e, now())
    st.session_state[_KEY] = reading
    return reading


def database_time(reading: Reading) -> datetime:
    """Return the time of a reading by the database's clock, which ages are counted by; else by this machine's."""
    return reading.status.checked_at if reading.status else reading.read_at


def forget_reading() -> None:
    """Make the next read ask the authority again, after a change."""
    st.session_state.pop(_KEY, None)


def known_role() -> str:
    """Return the role the authority last named: it only chooses what is offered, the database decides."""
    return st.session_state.get(_ROLE_KEY) or "analyst"
