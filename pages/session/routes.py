"""`/auth/*`: sign-in and sign-out over plain HTTP, since only a response can set an HttpOnly cookie."""

from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from db.auth import TooManyAttempts, WrongCredentials
from db.errors import AuthorityError
from pages.session.clock import now
from pages.session.login_form import login_form
from pages.session.logins import COOKIE, current_login, end_session, open_session
from pages.session.store import LIFETIME
from pages.session.throttle import Throttle

# Several people may share an address, so it gets more attempts than one account does.
_BY_ADDRESS = Throttle(limit=30, window=timedelta(minutes=5))
_BY_ACCOUNT = Throttle(limit=8, window=timedelta(minutes=5))
_MAX_FIELD = 320


def auth_routes() -> list[Route]:
    """Return the routes for signing in and out."""
    return [
        Route("/auth/login", show_login, methods=["GET"]),
        Route("/auth/login", log_in, methods=["POST"]),
        Route("/auth/logout", log_out, methods=["POST"]),
    ]


async def show_login(request: Request) -> Response:
    """Show the sign-in form; who is signed in already goes straight on."""
    next_path = safe_path(request.query_params.get("next"))
    if await _is_signed_in(request):
        return RedirectResponse(next_path, status_code=303)
    response = HTMLResponse(login_form(next_path=next_path))
    response.delete_cookie(COOKIE)
    return response


async def log_in(request: Request) -> Response:
    """Check the password, set the cookie and go on to where the person wanted to go."""
    form = await request.form(max_files=0, max_fields=8)
    email = str(form.get("email", "")).strip()[:_MAX_FIELD]
    next_path = safe_path(str(form.get("next", "/")))
    again = partial(_form_again, next_path=next_path, email=email)
    if not is_same_origin(request):
        return again("This form was sent from another site. Sign in here instead.", 403)
    keys = ((_BY_ADDRESS, request.client.host if request.client else "unknown"), (_BY_ACCOUNT, email.lower()))
    wait = max(throttle.wait(key, now()) for throttle, key in keys)
    if wait > timedelta(0):
        return _wait(again(f"Too many attempts. Try again in {_in_words(wait)}.", 429), wait)
    try:
        session_id = await to_thread.run_sync(open_session, email, str(form.get("password", "")), now())
    except WrongCredentials as e:
        for throttle, key in keys:
            throttle.note_failure(key, now())
        return again(e.message, 401)
    except TooManyAttempts as e:
        return again(e.message, 429)
    except AuthorityError as e:
        return again(" ".join(filter(None, (e.message, e.hint))), 503)
    _BY_ACCOUNT.forget(email.lower())
    return _signed_in(request, session_id, next_path)


async def log_out(request: Request) -> Response:
    """End the session on the server and in the browser."""
    if not is_same_origin(request):
        return Response("This request came from another site.", status_code=403)
    if session_id := request.cookies.get(COOKIE):
        await to_thread.run_sync(end_session, session_id, now())
    response = RedirectResponse("/auth/login", status_code=303)
    response.delete_cookie(COOKIE)
    return response


def safe_path(path: str | None) -> str:
    """Return a path on this site; anything that could lead elsewhere becomes the first page."""
    if not path or not path.startswith("/") or path.startswith(("//", "/auth/")):
        return "/"
    if "\\" in path or any(ord(character) < 32 for character in path):
        return "/"
    return path


def is_same_origin(request: Request) -> bool:
    """Return whether a browser sent this from our own pages. Streamlit's own check covers no custom route."""
    origin = request.headers.get("origin") or request.headers.get("referer")
    if not origin:
        return request.headers.get("sec-fetch-site") in ("same-origin", "none")
    return urlsplit(origin).netloc == request.headers.get("host")


async def _is_signed_in(request: Request) -> bool:
    session_id = request.cookies.get(COOKIE)
    if not session_id:
        return False
    try:
        return await to_thread.run_sync(current_login, session_id, now()) is not None
    except AuthorityError:
        return False


def _signed_in(request: Request, session_id: str, next_path: str) -> Response:
    response = RedirectResponse(next_path, status_code=303)
    response.set_cookie(
        COOKIE,
        session_id,
        max_age=int(LIFETIME.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


def _form_again(error: str, status: int, *, next_path: str, email: str) -> Response:
    return HTMLResponse(login_form(next_path=next_path, email=email, error=error), status_code=status)


def _wait(response: Response, wait: timedelta) -> Response:
    response.headers["retry-after"] = str(int(wait.total_seconds()) + 1)
    return response


def _in_words(wait: timedelta) -> str:
    seconds = int(wait.total_seconds()) + 1
    return f"{seconds} seconds" if seconds < 90 else f"{round(seconds / 60)} minutes"
