"""The profiles, read once in each run of a page: the header needs them, and so does nearly every page beneath it."""

import pandas as pd
import streamlit as st

from db.queries.profiles import profiles
from pages.session.guard import Session

_KEY = "_profiles_of_this_run"


def read_profiles(session: Session) -> pd.DataFrame:
    """Return the profiles as they are now, for the header; the page beneath it uses them again.

    Raises
    ------
    AuthorityError; then nothing is kept of an earlier run
    """
    st.session_state.pop(_KEY, None)
    found = st.session_state[_KEY] = profiles(session.client)
    return found


def known_profiles(session: Session) -> pd.DataFrame:
    """Return the profiles as the header has read them in this run; they are read where it could not.

    For a page's own run only. What renews itself runs without the header and reads for itself.
    """
    if _KEY not in st.session_state:
        return profiles(session.client)
    found: pd.DataFrame = st.session_state[_KEY]
    return found
