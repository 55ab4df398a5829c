"""The rules around sign-in: where it leads, where it may come from, how often it may be tried."""

from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import Request

from pages.session.login_form import login_form
from pages.session.routes import is_same_origin, safe_path
from pages.session.throttle import MAX_KEYS, Throttle

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "led_to"),
    [
        ("/orders?orders_state=Denied", "/orders?orders_state=Denied"),
        ("//elsewhere.example", "/"),  # a browser reads this as another host
        ("https://elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),  # and this too
        ("/orders\r\nset-cookie: a=b", "/"),
        ("/auth/login?next=/auth/login", "/"),  # would go round in circles
        ("", "/"),
        (None, "/"),
    ],
)
def test_sign_in_leads_to_our_own_pages_only(asked: str | None, led_to: str) -> None:
    assert safe_path(asked) == led_to


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"origin": "http://127.0.0.1:8501"}, True),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "null"}, False),
        ({"referer": "http://127.0.0.1:8501/auth/login"}, True),
        ({"referer": "https://elsewhere.example/"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({}, False),
    ],
)
def test_form_counts_only_when_it_comes_from_our_own_pages(headers: dict[str, str], is_ours: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in {"host": "127.0.0.1:8501", **headers}.items()]

    assert is_same_origin(Request({"type": "http", "headers": raw})) is is_ours


def test_form_keeps_the_address_as_text() -> None:
    html = login_form(next_path="/", email='"><script>alert(1)</script>', error="<b>no</b>")

    assert "<script>" not in html
    assert "<b>no</b>" not in html


def test_key_waits_when_it_failed_too_often_and_may_try_again_later() -> None:
    throttle = Throttle(limit=3, window=timedelta(minutes=5))
    for second in range(3):
        throttle.note_failure("bob", NOW + timedelta(seconds=second))

    assert throttle.wait("bob", NOW + timedelta(seconds=10)) == timedelta(minutes=5) - timedelta(seconds=10)
    assert throttle.wait("alice", NOW + timedelta(seconds=10)) == timedelta(0)
    assert throttle.wait("bob", NOW + timedelta(minutes=5)) == timedelta(0)


def test_success_starts_a_key_afresh() -> None:
    throttle = Throttle(limit=1, window=timedelta(minutes=5))
    throttle.note_failure("bob", NOW)

    throttle.forget("bob")

    assert throttle.wait("bob", NOW) == timedelta(0)


def test_memory_stays_bounded_when_every_attempt_has_another_key() -> None:
    throttle = Throttle(limit=1, window=timedelta(minutes=5))

    for number in range(MAX_KEYS + 1):
        throttle.note_failure(str(number), NOW)

    assert throttle.wait("0", NOW) == timedelta(0)
    assert throttle.wait(str(MAX_KEYS), NOW) > timedelta(0)
