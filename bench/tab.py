"""A browser's tab without the browser: signs in, opens pages and ticks over the pages' own WebSocket."""

import time
from types import TracebackType

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

PATIENCE_S = 60


class Tab:
    """One signed-in session. Opening a page or ticking returns the seconds until the script had run."""

    def __init__(self, url: str, *, email: str, password: str) -> None:
        cookie = _cookie(url, email=email, password=password)
        self._socket = connect(
            f"{url.replace('http', 'ws', 1)}/_stcore/stream", subprotocols=["streamlit"],  # type: ignore[list-item]
            additional_headers={"cookie": cookie}, max_size=None, proxy=None,
        )  # fmt: skip
        self._badge = ""
        self.received_bytes = 0

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    def open(self, page: str, query: str = "") -> float:
        """Open a page by the name in its address; "" is the first one."""
        asked = BackMsg()
        asked.rerun_script.page_name, asked.rerun_script.query_string = page, query
        return self._run(asked)

    def tick(self) -> float:
        """Renew the header's badge."""
        asked = BackMsg()
        asked.rerun_script.fragment_id, asked.rerun_script.is_auto_rerun = self._badge, True
        return self._run(asked)

    def _run(self, asked: BackMsg) -> float:
        began = time.perf_counter()
        self._socket.send(asked.SerializeToString())
        timers: list[str] = []
        self.failures: list[str] = []
        while True:
            raw = self._socket.recv(timeout=PATIENCE_S, decode=False)
            self.received_bytes += len(raw)
            message = ForwardMsg.FromString(bytes(raw))
            kind = message.WhichOneof("type")
            if kind == "auto_rerun":
                timers.append(message.auto_rerun.fragment_id)
            elif kind == "delta" and message.delta.new_element.WhichOneof("type") in ("exception", "alert"):
                self._note(message)
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                break
        self._badge = next(iter(timers), self._badge)  # the header comes before the page
        return time.perf_counter() - began

    def _note(self, message: ForwardMsg) -> None:
        """Keep what the page says went wrong: a page that failed fast was not measured."""
        element = message.delta.new_element
        text = element.alert.body if element.WhichOneof("type") == "alert" else element.exception.message
        if "could not be read" in text or "failed" in text or element.WhichOneof("type") == "exception":
            self.failures.append(text)


def _cookie(url: str, *, email: str, password: str) -> str:
    answer = httpx.post(
        f"{url}/auth/login", data={"email": email, "password": password}, headers={"origin": url}, trust_env=False
    )
    if answer.status_code != 303:
        raise RuntimeError(f"sign-in was refused with status {answer.status_code}")
    return "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
