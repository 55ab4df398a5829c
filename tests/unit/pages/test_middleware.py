"""What stands before every request to the pages: some paths are for nobody, pages only for who is signed in."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pages.session.middleware import RequireSignIn


async def _answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("told")


PAGES = Starlette(
    routes=[Route("/{path:path}", _answer, methods=["GET", "POST"])], middleware=[Middleware(RequireSignIn)]
)


def ask(path: str, *, method: str = "GET", accept: str = "*/*") -> httpx.Response:
    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(PAGES), base_url="http://pages") as client:
            return await client.request(method, path, headers={"accept": accept})

    return asyncio.run(asked())


@pytest.mark.parametrize(
    "path",
    ["/_stcore/metrics", "/_stcore/agent/openapi.json", "/_stcore/agent/interact", "/_stcore/script-health-check"],
)
def test_what_streamlit_would_tell_anybody_is_not_there(path: str) -> None:
    assert ask(path).status_code == 404
    assert ask(path, method="POST").status_code == 404


def test_the_sign_of_life_stays_open() -> None:
    assert ask("/_stcore/health").text == "told"


def test_a_page_without_a_session_leads_to_signing_in_and_back() -> None:
    found = ask("/orders?order=1", accept="text/html")

    assert found.status_code == 303
    assert found.headers["location"] == "/auth/login?next=%2Forders%3Forder%3D1"
