"""Ids of control requests: made when a button is drawn, so that a click sent twice acts once."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import streamlit as st

from pages.session.status import Reading

_KEY = "_request_ids"


@dataclass(frozen=True)
class RequestIds:
    """The ids for the next requests, good for one version of the control."""

    version: int | None
    pause: UUID = field(default_factory=uuid4)
    resume: UUID = field(default_factory=uuid4)


def request_ids(reading: Reading) -> RequestIds:
    """Return the ids for what may be clicked now.

    They stay the same while the control stays the same, so a click after a lost answer repeats the
    request. Once the control has changed they are new: an old id would only be answered, not acted on.
    """
    version = reading.status.version if reading.status else None
    held: RequestIds | None = st.session_state.get(_KEY)
    if held is None or version is None or held.version != version:
        held = st.session_state[_KEY] = RequestIds(version)
    return held
