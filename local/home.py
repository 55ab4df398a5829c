"""LOCAL_HOME: the one folder that holds everything Interlock keeps on this machine."""

import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from local.errors import Busy, SetupError

# A unix socket's path may have 107 characters; the longest name put into the folder is Postgres's.
SOCKET_FOLDER_MAX = 107 - len("/.s.PGSQL.5432.lock")


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets of this installation, made at random on its first start."""

    publishable_key: str
    secret_key: str
    jwt_secret: str
    refresh_secret: str
    alpaca_api_key: str
    alpaca_secret_key: str
    exchange_admin_token: str

    @classmethod
    def made_now(cls) -> "Keys":
        """Return fresh random keys in the shapes that the client libraries expect."""
        return cls(
            publishable_key=f"sb_publishable_{secrets.token_urlsafe(24)}",
            secret_key=f"sb_secret_{secrets.token_urlsafe(24)}",
            jwt_secret=secrets.token_urlsafe(48),
            refresh_secret=secrets.token_urlsafe(48),
            alpaca_api_key=f"PK{secrets.token_hex(9).upper()}",
            alpaca_secret_key=secrets.token_urlsafe(30),
            exchange_admin_token=secrets.token_urlsafe(24),
        )


class Home:
    """The folder, its files, and the lock that lets one Interlock at a time use it."""

    def __init__(self, path: Path, *, tools: Path | None = None) -> None:
        self.path = path.expanduser().absolute()
        # Programs installed for this machine; several homes may share them, and a reset keeps them.
        self.tools = tools.expanduser().absolute() if tools else self.path / "tools"
        # Private, for unix sockets; acquire() moves it where the home's own path is too long for them.
        self.sockets = self.path / "sockets"
        self._lock: int | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Home":
        """Return the home that LOCAL_HOME names, or `.local` in the working folder."""
        tools = environment.get("LOCAL_TOOLS", "").strip()
        return cls(Path(environment.get("LOCAL_HOME", "").strip() or ".local"), tools=Path(tools) if tools else None)

    @property
    def data(self) -> Path:
        """Postgres's data folder."""
        return self.path / "postgres"

    @property
    def logs(self) -> Path:
        """One log file for each part."""
        return self.path / "logs"

    @property
    def env_file(self) -> Path:
        """Where things are, as KEY=VALUE lines."""
        return self.path / "env"

    @property
    def accounts_file(self) -> Path:
        """The demo accounts with their passwords."""
        return self.path / "accounts.json"

    def acquire(self) -> None:
        """Make the folder and take its lock, which the operating system gives back when this process ends.

        Raises
        ------
        Busy when another Interlock runs on this home
        SetupError when the folder cannot be written
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            # 0711: Postgres under its own user must be able to pass through, nobody may list.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as e:
            raise SetupError(
                f"{self.path} cannot be written ({e.strerror}). Set LOCAL_HOME to a folder that can."
            ) from e
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            holder = os.pread(lock, 32, 0).decode() or "unknown"
            os.close(lock)
            raise Busy(
                f"Another Interlock (process {holder}) is using {self.path}. "
                "Stop it first, or set LOCAL_HOME to another folder."
            ) from e
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock
        self._make_socket_folder()

    def release(self) -> None:
        """Give the lock back and remove sockets that lie outside the home."""
        if self.sockets.parent != self.path:
            shutil.rmtree(self.sockets, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keys(self) -> Keys:
        """Return this installation's keys; the first call makes them."""
        file = self.path / "keys.json"
        if not file.exists():
            write_private(file, json.dumps(asdict(Keys.made_now()), indent=2) + "\n")
        stored = read_json(file)
        try:
            return Keys(**{f.name: str(stored[f.name]) for f in fields(Keys)})
        except (KeyError, TypeError) as e:
            raise SetupError(f"{file} is damaged. `make reset` makes a fresh installation.") from e

    def _make_socket_folder(self) -> None:
        if len(os.fsencode(self.sockets)) > SOCKET_FOLDER_MAX:
            self.sockets = Path(tempfile.mkdtemp(prefix="interlock-"))
        self.sockets.mkdir(mode=0o700, exist_ok=True)


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).replace(file)


def read_json(file: Path) -> Any:
    """Read a JSON file of the home.

    Raises
    ------
    SetupError when it holds no JSON
    """
    try:
        return json.loads(file.read_text())
    except ValueError as e:
        raise SetupError(f"{file} is damaged. `make reset` makes a fresh installation.") from e


def write_env(file: Path, values: Mapping[str, str]) -> None:
    """Write KEY=VALUE lines."""
    write_private(file, "".join(f"{key}={value}\n" for key, value in values.items()))
