"""What logs hold: ids that were bound, exceptions, and never a secret."""

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars

from engine.logs import REDACTED, SECRET_MIN_CHARS, Redactor, configure_logs

SECRET = "PK-very/secret+key"
secrets = st.text(st.characters(codec="utf-8"), min_size=8, max_size=40).filter(
    lambda text: len(text.strip()) >= SECRET_MIN_CHARS
)


class Held:
    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return f"Held({self.secret!r})"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def line_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capsys.readouterr().out.splitlines()
    return dict(json.loads(line))


def rendered(redactor: Redactor, event: dict[str, Any]) -> str:
    """Return a line as it is written, exceptions formatted."""
    event = structlog.processors.format_exc_info(None, "error", event)
    return str(structlog.processors.JSONRenderer(default=str)(None, "error", redactor(None, "error", event)))


def texts(value: Any) -> Iterator[str]:
    """Return every text in a decoded line, keys as well."""
    if isinstance(value, dict):
        for key, held in value.items():
            yield key
            yield from texts(held)
    elif isinstance(value, list):
        for held in value:
            yield from texts(held)
    else:
        yield str(value)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def events_with(secret: str) -> list[dict[str, Any]]:
    """Return the ways in which a secret could get into a line."""
    cause = raised(ValueError(secret))
    chained = RuntimeError("call failed")
    chained.__cause__ = cause
    return [
        {"event": secret},
        {"event": f"sent with {secret}!"},
        {"event": "e", "headers": {"X-Other": secret}},
        {"event": "e", "list": [1, [secret], {"deep": (secret,)}]},
        {"event": "e", secret: "as a key"},
        {"event": "e", "in a key": {secret: 1}},
        {"event": "e", "bytes": secret.encode()},
        {"event": "e", "object": Held(secret)},
        {"event": "e", "body": json.dumps({"key": secret})},
        {"event": "e", "url": f"https://example.com/?key={quote(secret, safe='')}"},
        {"event": "e", "exc_info": raised(RuntimeError(f"refused: {secret}"))},
        {"event": "e", "exc_info": raised(RuntimeError({"key": secret}))},
        {"event": "e", "exc_info": raised(chained)},
        {"event": "e", "error": RuntimeError(secret)},
    ]


@settings(deadline=None)
@given(secrets)
@example("a'b\"c\\d\ne")
@example("12345678")
@example("\\u0041\\u0042")
def test_a_known_secret_never_appears_however_it_gets_there(secret: str) -> None:
    bare = secret.strip()
    words = {"event": "e", "headers": {"X-Other": "x"}, "exc_info": raised(RuntimeError("refused: x"))}
    plain = rendered(Redactor(), words)
    assume(not any(bare in text for text in texts(json.loads(plain))))  # it is an ordinary word of every line
    assume(bare not in REDACTED)

    for event in events_with(secret):
        found = list(texts(json.loads(rendered(Redactor([secret]), event))))
        assert not any(bare in text or repr(bare)[1:-1] in text or quote(bare, safe="") in text for text in found), (
            event
        )


SECRET_KEYS = [
    "authorization", "Authorization", "APCA-API-SECRET-KEY", "apikey", "api_key", "password", "supabase_secret_key",
    "refresh_token", "Set-Cookie", "ALERT_URLS",
]  # fmt: skip


@settings(deadline=None)
@given(secrets, st.sampled_from(SECRET_KEYS))
def test_what_a_key_calls_secret_never_appears_although_nobody_knows_its_value(secret: str, key: str) -> None:
    for event in ({"event": "e", key: secret}, {"event": "e", "headers": {key: [secret]}}):
        assert json.loads(rendered(Redactor(), event))["event"] == "e"
        held = json.loads(rendered(Redactor(), event))
        assert held.get(key, held.get("headers", {}).get(key)) == REDACTED


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345678",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
        "mailto://robot:hunter22@example.com failed",
        "postgresql://postgres:hunter22@127.0.0.1:5432/postgres",
    ],
)
def test_what_looks_like_a_credential_never_appears(text: str) -> None:
    line = rendered(Redactor(), {"event": text, "exc_info": raised(RuntimeError(text))})

    assert REDACTED in line
    assert not any(part in line for part in ("hunter22", "eyJzdWIi", "abcdefgh"))


def test_ordinary_values_stay_as_they_are() -> None:
    event = {"event": "lease acquired", "token": 7, "symbol": "AAPL", "qty": "10", "legs": ["a", 1.5, None, True]}

    assert json.loads(rendered(Redactor(["unused-secret"]), event)) == event


def test_a_secret_that_is_a_number_does_not_appear_as_one() -> None:
    assert "12345678" not in rendered(Redactor(["12345678"]), {"event": "e", "pin": 12345678})


def test_a_line_of_the_service_is_json_with_the_ids_that_were_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(secrets=[SECRET])

    with bound_contextvars(order_id="o-1", request_id="r-1"):
        structlog.get_logger().info("sent", key=SECRET)

    line = line_of(capsys)
    assert line | {"event": "sent", "order_id": "o-1", "request_id": "r-1", "key": REDACTED, "level": "info"} == line
    assert line["timestamp"].endswith("Z")


def test_a_librarys_line_looks_alike_and_holds_no_secret_either(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(secrets=[SECRET])

    with bound_contextvars(job="submit"):
        try:
            raise RuntimeError(SECRET)
        except RuntimeError:
            logging.getLogger("some.library").exception("refused %s", SECRET)

    line = line_of(capsys)
    assert (line["event"], line["logger"], line["job"]) == (f"refused {REDACTED}", "some.library", "submit")
    assert "RuntimeError" in line["exception"]
    assert SECRET not in json.dumps(line)


def test_on_a_terminal_lines_are_for_reading(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    configure_logs(secrets=[SECRET])

    structlog.get_logger().info("sent", symbol="AAPL", key=SECRET)

    out = capsys.readouterr().out
    assert "sent" in out and "AAPL" in out
    assert not out.startswith("{")
    assert SECRET not in out


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30)


@given(
    secret=secrets,
    event=st.dictionaries(st.text(min_size=1, max_size=12) | st.sampled_from(["token", "api_key", "order_id"]), plain),
    told=st.sampled_from(["", "{}", "before {} after", "Bearer {}", "https://user:{}@host"]),
)
@settings(max_examples=300)
def test_an_ordinary_line_comes_out_as_if_each_value_had_been_looked_at(
    secret: str, event: dict[str, Any], told: str
) -> None:
    redactor = Redactor([secret])
    event = event | {"told": told.format(secret)}

    assert redactor(None, "info", dict(event)) == redactor.redacted(event)
