"""Each call's id: the caller's own where it is well formed, a new one otherwise, in the answer and in the log."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from structlog.testing import LogCapture

from engine.api.request_ids import RequestIds


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    capture = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    yield capture.entries
    structlog.reset_defaults()


class Api:
    """Calls an application as a server would."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._call("GET", path, {}))

    def post(self, path: str, headers: dict[str, Any] | None = None) -> httpx.Response:
        return asyncio.run(self._call("POST", path, headers or {}))

    async def _call(self, method: str, path: str, headers: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://api") as client:
            return await client.request(method, path, headers=headers)


@pytest.fixture
def api() -> Api:
    app = FastAPI()

    @app.post("/act")
    def act() -> None:
        structlog.get_logger().info("acted")  # in a thread of its own, as every route of ours

    app.add_middleware(RequestIds)
    return Api(app)


def id_of(answer: httpx.Response) -> str:
    return answer.headers["X-Request-ID"]


def test_the_callers_own_id_is_in_the_answer_and_in_every_line(api: Api, logged) -> None:
    answer = api.post("/act?token=never-logged", headers={"X-Request-ID": "order-7.a_B"})

    assert id_of(answer) == "order-7.a_B"
    assert [(line["event"], line["request_id"]) for line in logged] == [
        ("acted", "order-7.a_B"),
        ("answered", "order-7.a_B"),
    ]
    assert "never-logged" not in str(logged)


@pytest.mark.parametrize("asked", ["", "a b", 'x"y', "x" * 65, "ä".encode().decode("latin-1"), "a;b"])
def test_an_id_that_is_not_well_formed_is_replaced(api: Api, logged, asked: str) -> None:
    answer = api.post("/act", headers={"X-Request-ID": asked.encode("latin-1")})

    assert len(id_of(answer)) == 36
    assert {line["request_id"] for line in logged} == {id_of(answer)}


def test_two_calls_have_different_ids_and_leave_nothing_behind(api: Api, logged) -> None:
    assert id_of(api.post("/act")) != id_of(api.post("/act"))

    structlog.get_logger().info("later")
    assert "request_id" not in logged[-1]


def test_what_is_refused_is_logged_and_what_is_only_read_is_not(api: Api, logged) -> None:
    assert id_of(api.get("/nothing"))
    api.get("/openapi.json")

    assert [(line["path"], line["status"]) for line in logged] == [("/nothing", 404)]
