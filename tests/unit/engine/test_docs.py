"""The documentation of the API and the command line says what the code does: no more, no less."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from engine.adapters.system_clock import SystemClock
from engine.api import build_api, live
from engine.cli import app
from engine.cli.output import Exit
from engine.service.drill_report import Proof, Report
from engine.service.health_tracker import HealthTracker
from engine.service.local_brake import LocalBrake
from local.migrations import ROOT

HTTP_PAGE = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
CLI_PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """The OpenAPI document."""
    health = HealthTracker(SystemClock(), LocalBrake(tmp_path / "BRAKE"), control_age_max_s=10)
    api = build_api(health, supabase_url="http://127.0.0.1:1", publishable_key="x")
    found: dict[str, Any] = api.openapi()
    return found


def commands() -> dict[str, click.Command]:
    group = typer.main.get_command(app)
    return dict(group.commands)  # type: ignore[attr-defined]  # a group has commands


def sections(page: str, mark: str) -> dict[str, str]:
    """Return a page's text by the heading that it stands under."""
    parts = re.split(rf"^{mark} (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_call_of_the_api_is_documented_and_no_other(document: dict[str, Any]) -> None:
    served = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}

    pattern = r"`(GET|POST|PUT|DELETE) (/[a-z/{}-]+)"
    written = {
        (method, path if path.startswith(("/api", "/internal")) else f"/api/admin/trading{path}")
        for method, path in re.findall(pattern, HTTP_PAGE)
    }

    plain = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in served}
    assert {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in written} == plain


def test_every_call_that_the_design_promises_is_served(document: dict[str, Any]) -> None:
    admin = "/api/admin/trading"
    promised = {
        "/internal/trading/status": {"get"}, "/internal/trading/pause": {"post"}, "/internal/trading/resume": {"post"},
        "/internal/trading/halt": {"post"}, "/internal/health": {"get"}, "/internal/ready": {"get"},
        "/api/status": {"get"}, "/api/alerts": {"get"}, "/api/symbol/{symbol}": {"get"},
        f"{admin}/config": {"get", "put"}, f"{admin}/approval-config": {"get", "put"}, f"{admin}/approvals": {"get"},
        f"{admin}/approvals/{{approval_id}}": {"put"}, f"{admin}/lockouts": {"get", "post"},
        f"{admin}/lockouts/{{lockout_id}}": {"delete"},
    }  # fmt: skip

    served = {path: set(operations) for path, operations in document["paths"].items()}
    assert {path: methods for path, methods in promised.items() if not methods <= served.get(path, set())} == {}


def test_every_field_of_a_body_is_documented(document: dict[str, Any]) -> None:
    bodies = [schema for name, schema in document["components"]["schemas"].items() if name.endswith("Request")]

    fields = {field for schema in bodies for field in schema["properties"]}

    approval_settings = set(document["components"]["schemas"]["ApprovalConfigRequest"]["properties"])
    assert {
        field for field in fields - approval_settings if f"`{field}`" not in HTTP_PAGE and f'"{field}"' not in HTTP_PAGE
    } == set()


def test_every_status_and_close_code_is_documented(document: dict[str, Any]) -> None:
    statuses = {
        status
        for operations in document["paths"].values()
        for operation in operations.values()
        for status in operation["responses"]
    }
    closes = {str(end.code) for end in vars(live).values() if isinstance(end, live.Close)}

    rows = set(re.findall(r"\d{3,4}", " ".join(re.findall(r"^\| ([\d, ]+) \|", HTTP_PAGE, flags=re.MULTILINE))))

    assert statuses - {"200", "201"} | closes <= rows


def test_every_command_and_option_is_documented_and_no_other() -> None:
    written = sections(CLI_PAGE.partition("## Commands")[2], "###")

    assert set(written) == set(commands())
    for name, command in commands().items():
        options = {option for each in command.params if each.param_type_name == "option" for option in each.opts}
        mentioned = set(re.findall(r"`(--[a-z-]+)`", written[name])) | set(re.findall(r" (--[a-z-]+) ", written[name]))
        assert mentioned <= options, name
        assert {option for option in options if option.startswith("--")} - mentioned <= {"--help"}, name


def test_every_command_says_what_it_does_with_an_example() -> None:
    for name, command in commands().items():
        assert command.help, name
        assert f"python -m engine {name}" in (command.epilog or ""), name


def test_every_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \|", CLI_PAGE, flags=re.MULTILINE)

    assert [int(row) for row in rows] == [code.value for code in Exit]


def test_every_field_of_a_drills_report_and_every_proof_is_documented() -> None:
    drill = sections(CLI_PAGE, "###")["drill"]

    assert [field for field in Report.__dataclass_fields__ if f"`{field}`" not in drill] == []
    assert [proof for proof in Proof if f"`{proof}`" not in drill] == []
