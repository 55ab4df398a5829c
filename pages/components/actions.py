"""Acting on a click: one request to the authority, sent at most once, and word of what came of it."""

from collections.abc import Callable, Hashable
from typing import TypeVar
from uuid import UUID, uuid4

import streamlit as st

from db.client import Client
from db.errors import AuthorityError, Unreachable
from pages.components.messages import describe, tell
from pages.session.guard import current_session
from pages.session.status import forget_reading

_IDS_KEY = "_action_ids"
Answer = TypeVar("Answer")


def act(
    request: Callable[[Client, UUID], Answer], done: Callable[[Answer], str], *, content: tuple[Hashable, ...]
) -> AuthorityError | None:
    """Send one request as whoever is looking and keep word of what came of it; return what went wrong, or None.

    Parameters
    ----------
    request : called with the client and the request's id
    done : returns what to tell of the answer
    content : what the request is about; the same content sent again after a lost answer is the same request
    """
    try:
        answer = request(current_session().client, _id_of(content))
    except Unreachable as e:
        tell(f"**No answer: it is not known whether anything was changed.** {describe(e)}", failed=True)
        return e
    except AuthorityError as e:
        _forget(content)
        tell(f"**Nothing was changed.** {describe(e)}", failed=True)
        return e
    finally:
        forget_reading()
    _forget(content)
    tell(done(answer))
    return None


def _id_of(content: tuple[Hashable, ...]) -> UUID:
    ids: dict[tuple[Hashable, ...], UUID] = st.session_state.setdefault(_IDS_KEY, {})
    return ids.setdefault(content, uuid4())


def _forget(content: tuple[Hashable, ...]) -> None:
    st.session_state[_IDS_KEY].pop(content, None)
