"""`/rest/v1/*`: passed on to PostgREST as it comes, under the role that the caller's key or token has."""

from collections.abc import AsyncIterator

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from local.auth.services import api_key_role, bearer
from local.auth.settings import Settings
from local.auth.tokens import AccessTokens

PREFIX = "/rest/v1"
CONNECTIONS_MAX = 200
TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5, sock_read=60)
# These belong to one connection, not to the message; `apikey` is spent here.
NOT_PASSED_ON = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade", "host", "apikey"}
)  # fmt: skip
WHOLE_MAX = 64 * 1024  # answers up to here are sent in one piece, larger ones as they come


class RestProxy:
    """The pass-through, with one pool of connections to PostgREST."""

    def __init__(self, settings: Settings, access: AccessTokens) -> None:
        self._settings = settings
        self._role_tokens = {role: access.for_role(role) for role in ("anon", "service_role")}
        self._session: aiohttp.ClientSession | None = None

    async def lifetime(self, _app: web.Application) -> AsyncIterator[None]:
        """Hold the connections while the application runs."""
        connector = aiohttp.UnixConnector(path=str(self._settings.rest_socket), limit=CONNECTIONS_MAX)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=TIMEOUT, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        yield
        await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass one request on and its answer back."""
        role = api_key_role(self._settings, request.headers.get("apikey"))
        if role is None:
            return _wrong_key(request)
        assert self._session is not None
        headers = _passed_on(request.headers)
        headers["Authorization"] = f"Bearer {self._token(request, role)}"
        target = "http://postgrest" + request.raw_path.removeprefix(PREFIX)
        body = request.content if request.body_exists else None
        try:
            async with self._session.request(
                request.method, _as_is(target), headers=headers, data=body, allow_redirects=False
            ) as answer:
                return await _returned(request, answer)
        except aiohttp.ClientConnectionError:
            return _unreachable()

    def _token(self, request: web.Request, role: str) -> str:
        """Return the caller's own token, or the one that stands for its key."""
        token = bearer(request)
        if token is None or api_key_role(self._settings, token) is not None:
            return self._role_tokens[role]
        return token


async def _returned(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = _passed_on(answer.headers)
    length = answer.content_length
    if length is not None and length <= WHOLE_MAX:
        headers.popall("Content-Length", None)
        return web.Response(status=answer.status, headers=headers, body=await answer.read())
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _passed_on(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in NOT_PASSED_ON)


def _as_is(target: str) -> yarl.URL:
    return yarl.URL(target, encoded=True)


def _wrong_key(request: web.Request) -> web.Response:
    missing = "apikey" not in request.headers
    message = "No API key found in request" if missing else "Invalid API key"
    hint = "Send the publishable or the secret key of this installation in the header `apikey`."
    return web.json_response({"code": "401", "message": message, "hint": hint, "details": None}, status=401)


def _unreachable() -> web.Response:
    body = {
        "code": "503",
        "message": "The database cannot be reached.",
        "hint": "PostgREST is down or restarting. Nothing is known about the outcome of this call.",
        "details": None,
    }
    return web.json_response(body, status=503)
