"""The pages before a million orders: each page's run, the header's tick, and fifty people at once."""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from bench.harness import Bench, Row, percentile
from bench.tab import Tab
from local import accounts, gateway, postgres, postgrest, postgrest_install
from local.accounts import Account
from local.auth.settings import Settings
from local.home import Home
from local.migrations import ROOT
from local.ports import LOOPBACK, Ports, listener, variable
from local.processes import Child
from local.stack import Stack, start_stack
from tests.support import million

# By the names in their addresses; what is asked for where a page asks nothing by itself.
PAGES = {
    "": "", "positions": "", "orders": "", "trades": "", "performance": "", "lockouts": "",
    "decisions": "why_symbol=IBM&decisions_until=2026-06-30",
    "what_if": "what_loss_streak_max=100&what_until=2026-06-30",
    "cost_of_control": "cost_until=2026-06-30", "signals": "signals_until=2026-06-30",
}  # fmt: skip
OF_STAFF = {"control": "", "approvals": "", "risk": "", "profiles": "", "members": "", "audit": "", "engine": "",
            "alerts": ""}  # fmt: skip
RUNS, WARM_UP = 9, 2
PAGE_MS_MAX = 300
TICKS, TICK_APART_S, TICK_CPU_MS_MAX = 40, 1.1, 10  # a reading that is younger than a second is used again
SESSIONS, SESSION_MB_MAX = 50, 5
ROUNDS, TICK_EVERY_S, TICK_P99_MS_MAX = 5, 3, 1_000


@dataclass(frozen=True)
class Pages:
    """The pages as a running process, and whom they let in: everybody's admin, and who owns a tenth of all orders."""

    url: str
    process: psutil.Process
    admin: Account
    owner: Account

    def tab(self, account: Account) -> Tab:
        """Return a tab in which this person has signed in."""
        return Tab(self.url, email=account.email, password=account.password)

    def cpu_s(self) -> float:
        """Return the seconds of processor time that the process has used."""
        used = self.process.cpu_times()
        return used.user + used.system

    def memory_mb(self) -> float:
        """Return the memory that is the process's own."""
        return self.process.memory_full_info().uss / 1024**2


def measured(_: Bench) -> list[Row]:
    """Measure on a database of its own: the other rows need not wait behind a million orders."""
    with running() as pages:
        return [*_each_page(pages), _badge_tick(pages), *_many_sessions(pages)]


@contextmanager
def running() -> Iterator[Pages]:
    """Start pages whose authority holds a million orders."""
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name, ExitStack() as cleanup:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres runs as a user of its own and has to get through
        stack = start_stack(Home(folder / "home", tools=ROOT / ".local" / "tools"), Ports.free().settled())
        cleanup.callback(stack.stop)
        db = cleanup.enter_context(psycopg.connect(stack.env["DATABASE_URL"], autocommit=True))
        cleanup.enter_context(million.million_orders(stack, db))
        url = _second_gateway(stack, cleanup)
        people = {account.role: account for account in _people(stack, url)}
        yield _start_pages(stack, url, folder, people, cleanup)


def _second_gateway(stack: Stack, cleanup: ExitStack) -> str:
    """Start PostgREST and a gateway before the big database, and return the gateway's address."""
    socket = stack.home.sockets / "big.sock"
    rest_settings = {
        "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8",
        "PGRST_DB_URI": million.url(stack, "authenticator"), "PGRST_DB_SCHEMAS": "public", "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_POOL": str(postgrest.POOL_SIZE), "PGRST_DB_MAX_ROWS": str(postgrest.ROWS_MAX),
        "PGRST_JWT_SECRET": stack.keys.jwt_secret, "PGRST_JWT_AUD": "authenticated",
        "PGRST_JWT_CACHE_MAX_LIFETIME": "3600", "PGRST_SERVER_UNIX_SOCKET": str(socket), "PGRST_LOG_LEVEL": "error",
    }  # fmt: skip
    program = postgrest_install.find_or_install(stack.home, print)
    rest = Child("PostgREST", [str(program)], log=stack.home.logs / "big-rest.log", environment=rest_settings)
    cleanup.callback(rest.stop, 1.0)
    with listener(variable("gateway"), 0) as listening:
        url = gateway.address(listening)
        settings = Settings(
            listen_fd=listening.fileno(), url=url, rest_socket=socket,
            database_url=million.url(stack, "supabase_auth_admin"), publishable_key=stack.keys.publishable_key,
            secret_key=stack.keys.secret_key, jwt_secret=stack.keys.jwt_secret,
            refresh_secret=stack.keys.refresh_secret,
        )  # fmt: skip
        environment = os.environ | settings.environment() | {"PYTHONPATH": str(ROOT)}
        door = Child("The gateway", [sys.executable, "-m", "local.auth"], log=stack.home.logs / "big-gateway.log",
                     environment=environment, pass_fds=[listening.fileno()])  # fmt: skip
    cleanup.callback(door.stop, 1.0)
    door.wait_until(lambda: gateway.answers(f"{url}/auth/v1/health"), timeout_s=20)
    probe = {"apikey": stack.keys.secret_key}
    rest.wait_until(lambda: gateway.answers(f"{url}/rest/v1/members?limit=1", headers=probe), timeout_s=30)
    return url


def _people(stack: Stack, url: str) -> list[Account]:
    """Return the demo accounts of the big database; one analyst is who owns a tenth of its orders."""
    owner_url = million.url(stack, postgres.OWNER)
    found = accounts.ensure(stack.home, stack.keys, gateway_url=url, owner_url=owner_url)
    with psycopg.connect(million.url(stack, postgres.SUPERUSER)) as db:
        analyst = next(account.email for account in found if account.role == "analyst")
        db.execute("set session_replication_role = replica")  # the member of that id is there already
        db.execute("update auth.users set id = %s where email = %s", (million.BUSY, analyst))
    return [a for a in found if a.role != "analyst" or a.email == analyst]


def _start_pages(stack: Stack, url: str, folder: Path, people: dict[str, Account], cleanup: ExitStack) -> Pages:
    port = Ports.free().settled().app
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE", "ALPACA"))}
    environment = own | {"SUPABASE_URL": url, "SUPABASE_PUBLISHABLE_KEY": stack.keys.publishable_key,
                         "PAGES_HOME": str(folder / "pages"), "LOCAL_HOME": str(folder / "none")}  # fmt: skip
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(port)]
    child = Child("The pages", command, log=stack.home.logs / "pages.log", environment=environment)
    cleanup.callback(child.stop, 2.0)
    address = f"http://{LOOPBACK}:{port}"
    child.wait_until(lambda: gateway.answers(f"{address}/_stcore/health"), timeout_s=60)
    return Pages(address, psutil.Process(child.pid), people["admin"], people["analyst"])


def _each_page(pages: Pages) -> list[Row]:
    """Time each page from being asked for until its script has run, for who sees all rows and who sees a tenth."""
    with pages.tab(pages.admin) as admin, pages.tab(pages.owner) as owner:
        everybodys = [_page_row(pages, name, query, {"admin": admin, "owner of a tenth": owner})
                      for name, query in PAGES.items()]  # fmt: skip
        return everybodys + [_page_row(pages, name, query, {"admin": admin}) for name, query in OF_STAFF.items()]


def _page_row(pages: Pages, name: str, query: str, tabs: dict[str, Tab]) -> Row:
    before_s = pages.cpu_s()
    taken_ms = {who: _page_ms(tab, name, query) for who, tab in tabs.items()}
    own_ms = (pages.cpu_s() - before_s) * 1000 / len(tabs) / (WARM_UP + RUNS)
    slowest = max(taken_ms.values())
    each = ", ".join(f"{who} {taken:.0f} ms" for who, taken in taken_ms.items())
    return Row(
        what=f"page {name or 'overview'}, {million.ORDERS:,} orders: p50",
        measured=f"{slowest:.0f} ms",
        target=f"<= {PAGE_MS_MAX} ms",
        detail=f"{each}; {own_ms:.0f} ms of processor time",
        reached=slowest <= PAGE_MS_MAX,
    )


def _page_ms(tab: Tab, name: str, query: str) -> float:
    taken = [tab.open(name, query) * 1000 for _ in range(WARM_UP + RUNS)][WARM_UP:]
    if tab.failures:
        raise RuntimeError(f"page {name!r}: {tab.failures[0]}")
    return statistics.median(taken)


def _badge_tick(pages: Pages) -> Row:
    """Count the processor time that renewing the header costs the pages' process."""
    with pages.tab(pages.admin) as tab:
        tab.open("members")
        before, taken = pages.cpu_s(), []
        for _ in range(TICKS):
            time.sleep(TICK_APART_S)
            taken.append(tab.tick() * 1000)
        cpu_ms = (pages.cpu_s() - before) * 1000 / TICKS
    return Row(
        what="header's tick, processor time of the pages",
        measured=f"{cpu_ms:.1f} ms",
        target=f"<= {TICK_CPU_MS_MAX} ms",
        detail=f"mean of {TICKS}; {statistics.median(taken):.0f} ms until it was there",
        reached=cpu_ms <= TICK_CPU_MS_MAX,
    )


def _many_sessions(pages: Pages) -> list[Row]:
    """Let many people look at all the pages at once, and count what each of them takes in memory."""
    before_mb = pages.memory_mb()
    with ExitStack() as open_tabs, ThreadPoolExecutor(SESSIONS) as people:
        tabs = [open_tabs.enter_context(pages.tab(pages.admin)) for _ in range(SESSIONS)]
        places = [list((PAGES | OF_STAFF).items())[n % len(PAGES | OF_STAFF)] for n in range(SESSIONS)]
        list(people.map(lambda tab, place: tab.open(*place), tabs, places))
        ticks = [taken * 1000 for round_ in people.map(_ticking, tabs, range(SESSIONS)) for taken in round_]
        each_mb = (pages.memory_mb() - before_mb) / SESSIONS
    slowest = percentile(ticks, 0.99)
    return [
        Row(
            what=f"{SESSIONS} signed-in sessions at once: memory of each",
            measured=f"{each_mb:.1f} MB",
            target=f"<= {SESSION_MB_MAX} MB",
            detail=f"{before_mb:.0f} MB before the first of them",
            reached=each_mb <= SESSION_MB_MAX,
        ),
        Row(
            what=f"{SESSIONS} signed-in sessions at once: a header's tick, p99",
            measured=f"{slowest:.0f} ms",
            target=f"<= {TICK_P99_MS_MAX:,} ms",
            detail=f"p50 {percentile(ticks, 0.5):.0f} ms; each every {TICK_EVERY_S} s",
            reached=slowest <= TICK_P99_MS_MAX,
        ),
    ]


def _ticking(tab: Tab, place: int) -> list[float]:
    """Return what each tick took of a tab that ticks as a browser does; people have come one after the other."""
    time.sleep(place * TICK_EVERY_S / SESSIONS)
    taken = []
    for _ in range(ROUNDS):
        time.sleep(TICK_EVERY_S)
        taken.append(tab.tick())
    return taken
