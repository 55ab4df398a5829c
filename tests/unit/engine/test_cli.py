import getpass
import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.cli import app
from engine.cli.output import Exit
from engine.config import load_settings
from engine.domain.errors import ConfigError

REQUIRED = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY", "ALPACA_API_KEY", "ALPACA_SECRET_KEY")


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working folder: no setting comes from this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCAL_HOME", str(tmp_path))
    for name in REQUIRED:
        monkeypatch.delenv(name, raising=False)
    for name in ("INTERLOCK_EMAIL", "INTERLOCK_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def complete_settings(home: Path, **changes: str) -> None:
    values = dict.fromkeys(REQUIRED, "x") | {
        "ALPACA_BASE_URL": "http://127.0.0.1:1",
        "SUPABASE_URL": "http://127.0.0.1:1",
    }
    (home / "env").write_text("".join(f"{name}={value}\n" for name, value in (values | changes).items()))


def test_the_brake_stops_and_releases_when_told_to(empty_home: Path) -> None:
    runner = CliRunner()

    assert runner.invoke(app, ["brake", "on", "--reason", "smoke"]).exit_code == 0
    assert "smoke" in (empty_home / "BRAKE").read_text()
    assert runner.invoke(app, ["brake", "off"]).exit_code == 0

    assert not (empty_home / "BRAKE").exists()


def test_the_brake_says_who_pulled_it_and_why(empty_home: Path) -> None:
    runner = CliRunner()
    runner.invoke(app, ["brake", "on", "--reason", "smoke"])

    told = json.loads(runner.invoke(app, ["brake", "status", "--json"]).stdout)

    assert (told["success"], told["on"], told["path"]) == (True, True, str(empty_home / "BRAKE"))
    assert told["since_and_why"].endswith(f"{getpass.getuser()}: smoke")
    assert json.loads(runner.invoke(app, ["brake", "off", "--json"]).stdout)["on"] is False


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_the_brake_is_on_whatever_lies_there_and_says_what_it_cannot_take_away(
    empty_home: Path, words: list[str]
) -> None:
    runner = CliRunner()
    (empty_home / "BRAKE").mkdir()

    on, status, off = (runner.invoke(app, ["brake", switch, *words]) for switch in ("on", "status", "off"))

    assert (on.exit_code, status.exit_code, off.exit_code) == (0, 0, Exit.USAGE)
    assert "no reason given" in on.stdout and "no reason given" in status.stdout
    assert "The brake stays on" in off.output
    assert (empty_home / "BRAKE").exists()


def test_a_brake_that_cannot_be_pulled_says_so(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_home / "file").touch()
    monkeypatch.setenv("LOCAL_HOME", str(empty_home / "file"))

    pulled = CliRunner().invoke(app, ["brake", "on"])

    assert pulled.exit_code == Exit.USAGE
    assert "The brake stays off" in pulled.output


@pytest.mark.parametrize("command", ["status", "why AAPL", "pause -r x", "resume -r x", "halt -r x", "drill --yes"])
class TestWhatAPersonCanMend:
    """Without a stack: each command says what is missing, in words and as JSON, with the documented exit code."""

    def test_a_missing_setting_is_named(self, command: str) -> None:
        told, as_json = (CliRunner().invoke(app, [*command.split(), *more]) for more in ([], ["--json"]))

        assert (told.exit_code, as_json.exit_code) == (2, 2)
        assert "SUPABASE_URL" in told.stderr
        assert "hint: " in told.stderr
        answer = json.loads(as_json.stdout)
        assert answer["success"] is False
        assert set(answer["error"]) == {"code", "message", "hint"}

    def test_an_authority_that_does_not_answer_is_told_from_one_that_refuses(
        self, command: str, empty_home: Path
    ) -> None:
        complete_settings(empty_home)
        who = ["--email", "admin@interlock.local", "--password", "x"]

        result = CliRunner().invoke(app, [*command.split(), *who, "--json"])

        assert result.exit_code == 4, result.output
        assert json.loads(result.stdout)["error"]["code"] == "UNREACHABLE"

    def test_nobody_is_waited_for_when_nobody_can_be_asked(self, command: str, empty_home: Path) -> None:
        complete_settings(empty_home)

        result = CliRunner().invoke(app, command.split(), input="")

        assert result.exit_code == 2
        assert "--email is missing" in result.stderr
        assert "set INTERLOCK_EMAIL" in result.stderr

    def test_a_setting_that_is_missing_has_a_code_for_programs(self, command: str, empty_home: Path) -> None:
        result = CliRunner().invoke(app, [*command.split(), "--json"], input="")

        assert json.loads(result.stdout)["error"]["code"] == "CONFIG_ERROR"


@pytest.mark.parametrize("command", ["pause", "resume", "halt"])
def test_a_change_without_a_reason_is_refused(command: str, empty_home: Path) -> None:
    complete_settings(empty_home)

    result = CliRunner().invoke(app, [command], input="")

    assert result.exit_code == 2
    assert "--reason is missing" in result.stderr


def test_a_drill_is_refused_on_a_live_account_before_anybody_signs_in(empty_home: Path) -> None:
    complete_settings(empty_home, ALPACA_BASE_URL="https://api.alpaca.markets")

    result = CliRunner().invoke(app, ["drill", "--yes"])

    assert result.exit_code == 3
    assert "live" in result.stderr


def test_the_engine_names_every_missing_setting_when_nothing_is_configured() -> None:
    result = CliRunner().invoke(app, [])

    assert result.exit_code == 2
    assert all(f"{name}: is not set" in result.stderr for name in REQUIRED)
    assert "Set it in .env" in result.stderr


def test_the_engine_names_the_variable_when_its_port_is_taken(empty_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        complete_settings(empty_home, ENGINE_API_PORT=str(taken.getsockname()[1]))

        result = CliRunner().invoke(app, [])

    assert result.exit_code == 2
    assert "ENGINE_API_PORT" in result.stderr


def test_replay_explains_itself_when_there_is_no_paper_exchange(empty_home: Path) -> None:
    complete_settings(empty_home, ALPACA_BASE_URL="https://paper-api.alpaca.markets")

    result = CliRunner().invoke(app, ["replay", "--sessions", "1"])

    assert result.exit_code == 2
    assert "EXCHANGE_ADMIN_TOKEN" in result.stderr


def test_the_environment_wins_over_env_file_and_home_when_all_set_the_same(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete_settings(empty_home, SUPABASE_URL="http://home", ENGINE_SHARD="home", ALPACA_FEED="home")
    (empty_home / ".env").write_text("SUPABASE_URL=http://file\nENGINE_SHARD=file\n")
    monkeypatch.setenv("SUPABASE_URL", "http://environment")

    settings = load_settings()

    assert (settings.supabase_url, settings.engine_shard, settings.feed) == ("http://environment", "file", "home")


def test_no_secret_is_shown_when_settings_are_printed(empty_home: Path) -> None:
    complete_settings(empty_home, SUPABASE_SECRET_KEY="canary", ALPACA_SECRET_KEY="canary", ALPACA_API_KEY="canary")

    assert "canary" not in repr(load_settings())


def test_a_wrong_port_is_refused_by_name(empty_home: Path) -> None:
    complete_settings(empty_home, METRICS_PORT="99999")

    with pytest.raises(ConfigError, match="METRICS_PORT"):
        load_settings()
