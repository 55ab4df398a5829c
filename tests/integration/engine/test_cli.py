"""The command line over the real authority: it signs in as a person and may do what that person may."""

import json
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner, Result

from db import commands
from engine.cli import app
from engine.service import drill
from tests.db.conftest import Engine
from tests.support.clients import SignIn
from tests.support.exchange import RunningExchange

Run = Callable[..., Result]


@pytest.fixture
def run(
    env: dict[str, str], clean_db: psycopg.Connection, sign_in: SignIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Call with a member's name and the arguments of `python -m engine`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCAL_HOME", str(tmp_path))
    for name in ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY"):
        monkeypatch.setenv(name, env[name])
    monkeypatch.setenv("ALPACA_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ALPACA_API_KEY", "not used")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "not used")

    def invoke(member: str, *arguments: str) -> Result:
        who = {"INTERLOCK_EMAIL": sign_in.email(member), "INTERLOCK_PASSWORD": sign_in.password(member)}
        return CliRunner().invoke(app, list(arguments), env=who)

    return invoke


def test_status_says_in_words_who_paused_what_and_why(run: Run, healthy_engine: Engine, sign_in: SignIn) -> None:
    commands.pause_trading(sign_in("admin"), reason="Earnings", scope="symbol", scope_key="IBM")

    result = run("alice", "status")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("RUNNING (running), by ")
    assert "symbol IBM: PAUSED, by admin@interlock.local" in result.stdout
    assert "Earnings" in result.stdout
    assert "engine: alive" in result.stdout


def test_status_is_json_when_asked_for(run: Run) -> None:
    assert json.loads(run("alice", "status", "--json").stdout)["mode"] == "RUNNING"


def test_why_names_the_code_per_profile(run: Run, healthy_engine: Engine, sign_in: SignIn) -> None:
    healthy_engine.held()
    _bar(healthy_engine)
    commands.create_lockout(sign_in("operator"), ticker="AAPL", reason="Rumour")

    told, as_json = run("alice", "why", "aapl"), run("alice", "why", "AAPL", "--json", "--qty", "3")

    assert told.exit_code == 0, told.output
    assert told.stdout.count("DENIED SYMBOL_LOCKED") == 2
    answers = json.loads(as_json.stdout)["why"]
    assert [(answer["symbol"], float(answer["qty"]), answer["code"]) for answer in answers] == [
        ("AAPL", 3.0, "SYMBOL_LOCKED")
    ] * 2


@pytest.mark.parametrize(("who", "profiles"), [("admin", 4), ("operator", 4), ("bob", 2)])
def test_why_answers_for_the_profiles_that_one_sees(
    run: Run, healthy_engine: Engine, sign_in: SignIn, who: str, profiles: int
) -> None:
    _bar(healthy_engine)

    result = run(who, "why", "AAPL", "--json")

    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["why"]) == profiles


def test_why_says_that_an_entry_would_pass(run: Run, healthy_engine: Engine) -> None:
    _bar(healthy_engine)
    market_at = datetime(2007, 1, 3, 15, tzinfo=UTC)
    lease = {"shard": healthy_engine.shard, "token": healthy_engine.token}
    commands.heartbeat(
        healthy_engine.client, **lease, version="test", market_at=market_at, jobs={}, detail={"market_open": True},
        ttl_s=60,
    )  # fmt: skip

    told = run("alice", "why", "AAPL").stdout

    assert "Alice trend daily: buy 1 AAPL at 100" in told
    assert told.count("would pass") == 2


def test_a_number_that_is_none_is_refused_plainly(run: Run) -> None:
    result = run("alice", "why", "AAPL", "--qty", "many")

    assert result.exit_code == 2
    assert "'many' is not a number" in result.stderr


def test_why_fails_plainly_when_nobody_trades_the_symbol(run: Run) -> None:
    result = run("alice", "why", "NOPE")

    assert result.exit_code == 3
    assert "No profile that you can see trades" in result.stderr


def test_resume_lists_what_fails_and_changes_nothing(run: Run, healthy_engine: Engine, sign_in: SignIn) -> None:
    commands.pause_trading(sign_in("admin"), reason="Check")
    healthy_engine.show_alive(broker_blocked=True)

    result = run("admin", "resume", "--reason", "Checked")

    assert result.exit_code == 3
    assert "BROKER_NOT_BLOCKED: The broker account of shard main may trade." in result.stderr
    assert commands.trading_status(sign_in("admin")).mode == "PAUSED"


def test_resume_is_overridden_and_staged(run: Run, healthy_engine: Engine, sign_in: SignIn) -> None:
    commands.pause_trading(sign_in("admin"), reason="Check")
    healthy_engine.show_alive(broker_blocked=True)

    result = run(
        "admin", "resume", "--reason", "Checked", "--override", "Phoned the broker", "--stage-entries", "2",
        "--stage-fraction", "0.5",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    status = commands.trading_status(sign_in("admin"))
    assert (status.mode, status.stage and (status.stage.entries_left, float(status.stage.fraction or 0))) == (
        "RUNNING", (2, 0.5),
    )  # fmt: skip
    assert "staged: the next 2 entries run at 0.5" in run("alice", "status").stdout


@pytest.mark.parametrize("action", ["pause", "resume", "halt"])
def test_control_is_refused_when_the_person_is_no_admin(run: Run, sign_in: SignIn, action: str) -> None:
    result = run("operator", action, "--reason", "x")

    assert result.exit_code == 3
    assert "Only an admin" in result.stderr
    assert commands.trading_status(sign_in("admin")).mode == "RUNNING"


def test_a_wrong_password_is_refused_plainly(run: Run) -> None:
    result = run("alice", "status", "--password", "wrong")

    assert result.exit_code == 6
    assert "The e-mail address or the password is not right." in result.stderr
    assert "hint: Check INTERLOCK_EMAIL" in result.stderr


@pytest.mark.parametrize("who", ["admin", "operator", "alice"])
def test_every_member_may_look_at_the_status(run: Run, who: str) -> None:
    told, as_json = run(who, "status"), run(who, "status", "--json")

    assert (told.exit_code, as_json.exit_code) == (0, 0)
    answer = json.loads(as_json.stdout)
    assert (answer["success"], answer["role"]) == (True, "analyst" if who == "alice" else who)


@pytest.mark.parametrize("who", ["operator", "alice"])
@pytest.mark.parametrize("action", ["pause", "resume", "halt"])
def test_a_refusal_as_json_has_the_shape_of_the_api(run: Run, who: str, action: str) -> None:
    result = run(who, action, "--reason", "x", "--json")

    assert result.exit_code == 3
    answer = json.loads(result.stdout)
    assert (answer["success"], answer["error"]["code"]) == (False, "FORBIDDEN")
    assert answer["error"]["hint"]


def test_pause_halt_and_resume_answer_as_the_api_does(run: Run, healthy_engine: Engine) -> None:
    answers = [
        json.loads(run("admin", action, "--reason", "Check", "--json").stdout)
        for action in ("pause", "pause", "halt", "resume")
    ]

    assert [(answer["status"]["mode"], answer["changed"]) for answer in answers] == [
        ("PAUSED", True), ("PAUSED", False), ("HALTED", True), ("RUNNING", True),
    ]  # fmt: skip


def test_one_symbol_is_paused_until_a_time_and_a_repeat_acts_once(run: Run, healthy_engine: Engine) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M+00:00")
    again = ("--request-id", str(uuid4()))

    first, second = (
        run("admin", "pause", "-r", "News", "--symbol", "ibm", "--resume-at", until, *again, "--json") for _ in range(2)
    )

    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout) == json.loads(second.stdout)
    (scope,) = json.loads(first.stdout)["status"]["scopes"]
    assert (scope["scope_key"], scope["mode"]) == ("IBM", "PAUSED")
    assert scope["resume_at"].startswith(until[:16])


@pytest.mark.parametrize(
    "arguments",
    [
        ("pause", "-r", " "),  # no reason
        ("pause", "-r", "x", "--symbol", "NOPE"),  # no such symbol
        ("pause", "-r", "x", "--resume-at", "2020-01-01T00:00+00:00"),  # over already
        ("pause", "-r", "x", "--resume-at", "tomorrow"),
        ("pause", "-r", "x", "--request-id", "7"),
        ("pause", "-r", "x", "--symbol", "IBM", "--profile", "y"),
        ("resume", "-r", "x", "--stage-fraction", "0.5"),  # a fraction of nothing
        ("resume", "-r", "x", "--stage-fraction", "nan"),
        ("brake", "sideways"),
        ("drill", "--yes", "--hold", "-1"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_and_nothing_changes(
    run: Run, sign_in: SignIn, arguments: tuple[str, ...]
) -> None:
    result = run("admin", *arguments)

    assert result.exit_code == 2, result.output
    assert commands.trading_status(sign_in("admin")).mode == "RUNNING"


@pytest.fixture
def signals() -> Iterator[None]:
    """The signals' handlers are as before when the test is over."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
class TestDrillFails:
    """It puts trading back, and a sentence and an exit code say what did not hold."""

    def test_when_no_position_is_open_to_prove_it_on(
        self,
        run: Run,
        healthy_engine: Engine,
        exchange: RunningExchange,
        monkeypatch: pytest.MonkeyPatch,
        sign_in: SignIn,
    ) -> None:
        for name, value in exchange.env.items():
            monkeypatch.setenv(name, value)
        healthy_engine.show_alive()

        result = run("admin", "drill", "--yes", "--hold", "0")

        assert result.exit_code == 5, result.output
        assert "The drill failed: No position is open" in result.stderr
        assert "held: HALTED: no entry can be sent" in result.stdout
        assert commands.trading_status(sign_in("admin")).mode == "RUNNING"

    def test_when_the_broker_cannot_be_asked_what_rests_there(
        self, run: Run, healthy_engine: Engine, monkeypatch: pytest.MonkeyPatch, sign_in: SignIn, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(drill, "CANCELLED_WITHIN_S", 0.2)

        result = run("admin", "drill", "--yes", "--pause", "--hold", "0", "--json", "--out", str(tmp_path / "reports"))

        assert result.exit_code == 5, result.output
        told = json.loads(result.stdout)
        assert (told["success"], told["error"]["code"], told["report"]["kind"]) == (False, "NOT_HELD", "pause")
        assert Path(told["files"]["markdown"]).parent == tmp_path / "reports"
        assert commands.trading_status(sign_in("admin")).mode == "RUNNING"


@pytest.mark.usefixtures("signals")
class TestDrillIsRefused:
    """It changes nothing when it may not start."""

    def refused(self, run: Run, who: str = "admin") -> str:
        result = run(who, "drill", "--yes")
        assert result.exit_code == 3, result.output
        return result.stderr

    @pytest.mark.parametrize("who", ["operator", "alice"])
    def test_to_anyone_but_an_admin(self, run: Run, healthy_engine: Engine, who: str) -> None:
        assert "Only an admin" in self.refused(run, who)

    def test_when_it_would_outlast_the_sign_in(self, run: Run, healthy_engine: Engine, sign_in: SignIn) -> None:
        before = commands.trading_status(sign_in("admin")).version

        result = run("admin", "drill", "--yes", "--hold", "3600")

        assert result.exit_code == 3, result.output
        assert "Choose a --hold of at most" in result.stderr
        assert commands.trading_status(sign_in("admin")).version == before

    def test_while_a_live_profile_is_active(
        self, run: Run, healthy_engine: Engine, clean_db: psycopg.Connection, sign_in: SignIn
    ) -> None:
        clean_db.execute("update profiles set trading_mode = 'live' where name = 'Bob dips daily'")

        assert "Profile Bob dips daily is live: drills are for paper trading only." in self.refused(run)
        assert commands.trading_status(sign_in("admin")).mode == "RUNNING"

    def test_while_trading_is_stopped_already(self, run: Run, healthy_engine: Engine, sign_in: SignIn) -> None:
        commands.pause_trading(sign_in("admin"), reason="Lunch")

        assert "Trading is PAUSED already, by admin@interlock.local" in self.refused(run)

    def test_while_the_preflight_list_is_not_met(self, run: Run, healthy_engine: Engine) -> None:
        healthy_engine.show_alive(broker_blocked=True)

        assert "Not met before a resume" in self.refused(run)

    def test_while_the_market_is_closed(self, run: Run, healthy_engine: Engine) -> None:
        healthy_engine.show_alive(market_open=False)

        assert "closed, and no exit would be filled" in self.refused(run)


def _bar(engine: Engine) -> None:
    """Let a price of AAPL be known."""
    prices = dict.fromkeys(("open", "high", "low", "close"), "100") | {"volume": "1"}
    bar = {"symbol": "AAPL", "timeframe": "1Day", "bar_at": "2007-01-03T05:00:00+00:00", **prices}
    commands.record_bars(engine.client, shard=engine.shard, token=engine.token, bars=[bar])
