"""Postgres, PostgREST and the gateway: a local Supabase, started and stopped together."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from local import accounts, addresses, gateway, migrations, postgres, postgrest, postgrest_install
from local.accounts import Account
from local.home import Home, Keys, write_env
from local.ports import Ports, listener, variable
from local.processes import Child

Report = Callable[[str], None]


@dataclass
class Stack:
    """A running local Supabase. Everything it knows about itself is in `env`."""

    home: Home
    keys: Keys
    accounts: list[Account]
    env: dict[str, str]
    postgres: Child
    postgrest: Child
    gateway: Child
    cleanup: ExitStack = field(default_factory=ExitStack)

    def require_alive(self) -> None:
        """Raise ChildFailed when a part went down on its own."""
        for part in (self.postgres, self.postgrest, self.gateway):
            if part.exit_code is not None:
                raise part.failure(f"stopped with exit code {part.exit_code}")

    def start_gateway(self) -> None:
        """Start the gateway again, on the port it had."""
        port = urlsplit(self.env["SUPABASE_URL"]).port or 0
        self.gateway = gateway.start(self.home, self.keys, listener(variable("gateway"), port))
        self.cleanup.callback(self.gateway.stop, 1.0)

    def stop(self) -> None:
        """Stop gateway, PostgREST and Postgres, in this order, and give the home back."""
        self.cleanup.close()


def start_stack(home: Home, ports: Ports, *, report: Report = lambda _: None) -> Stack:
    """Start everything, bring the schema up to date, and write down where things are.

    Parameters
    ----------
    home : where everything is kept; its lock is held until `Stack.stop`
    ports : the gateway's may be 0; the others are only written down
    report : called with one line before each step

    Raises
    ------
    SetupError saying what to do; nothing is left running
    """
    with ExitStack() as cleanup:
        stack = _start(home, ports, report, cleanup)
        stack.cleanup = cleanup.pop_all()  # everything is up: from here on, stopping is the caller's
    return stack


def _start(home: Home, ports: Ports, report: Report, cleanup: ExitStack) -> Stack:
    cleanup.callback(home.release)
    home.acquire()
    keys = home.keys()
    listening = cleanup.enter_context(listener(variable("gateway"), ports.gateway))
    program = postgrest_install.find_or_install(home, report)

    report("Starting Postgres")
    database = postgres.start(home, report=report)
    cleanup.callback(database.stop, 4.0)
    owner_url = postgres.url(home, postgres.OWNER)
    migrations.lay_ground(postgres.url(home, postgres.SUPERUSER))
    report("Bringing the schema up to date")
    migrations.migrate(owner_url)

    report("Starting PostgREST and the gateway")
    rest = postgrest.start(home, program, keys.jwt_secret)
    cleanup.callback(rest.stop, 1.0)
    url = gateway.address(listening)
    door = gateway.start(home, keys, listening)
    cleanup.callback(door.stop, 1.0)

    people = accounts.ensure(home, keys, gateway_url=url, owner_url=owner_url)
    migrations.seed(owner_url)
    env = (
        addresses.supabase(keys, url=url, database_url=owner_url)
        | addresses.exchange(keys, ports)
        | addresses.ours(ports)
    )
    write_env(home.env_file, env)
    return Stack(home, keys, people, env, database, rest, door)
