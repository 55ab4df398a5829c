"""What every HTTP response goes through: nobody loads a page without a session, and safe headers."""

from urllib.parse import quote

from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.errors import AuthorityError
from pages.session.clock import now
from pages.session.logins import COOKIE, current_login

_OPEN_TO_ALL = ("/auth/", "/_stcore/", "/static/", "/media/", "/component/")
# What Streamlit would tell anybody: its own metrics, and the interface that drives the pages for programs.
_CLOSED = ("/_stcore/metrics", "/_stcore/agent", "/_stcore/script-health-check")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}


class RequireSignIn:
    """Send whoever loads a page without a session to sign in, and back to that page; some paths are for nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_CLOSED):
            await PlainTextResponse("Not found", status_code=404)(scope, receive, send)
            return
        if scope["type"] == "http" and _is_page(request := Request(scope)) and not await _has_session(request):
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            redirect = RedirectResponse(f"/auth/login?next={quote(target, safe='')}", status_code=303)
            await redirect(scope, receive, send)
            return
        await self._app(scope, receive, send)


class SafeHeaders:
    """Add headers that keep other sites from framing or sniffing the pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_safely if scope["type"] == "http" else send)


def _is_page(request: Request) -> bool:
    is_navigation = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    return is_navigation and not request.url.path.startswith(_OPEN_TO_ALL)


async def _has_session(request: Request) -> bool:
    session_id = request.cookies.get(COOKIE)
    if not session_id:
        return False
    try:
        return await to_thread.run_sync(current_login, session_id, now()) is not None
    except AuthorityError:
        # The sign-in service is away: the page itself shows what is not known, and reads nothing.
        return True
