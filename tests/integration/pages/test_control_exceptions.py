"""The halt and the overrides on the control page, over the real database."""

import psycopg
import pytest
from supabase import Client

from db import commands
from tests.integration.pages.conftest import OpenPage
from tests.integration.pages.test_operate_pages import CONTROL, keys, told
from tests.support.clients import SignIn


@pytest.fixture
def admin(clean_db: psycopg.Connection, sign_in: SignIn) -> Client:
    return sign_in("admin")


def test_halt_needs_its_word_typed_and_a_reason(admin: Client, open_page: OpenPage) -> None:
    app = open_page("admin", CONTROL)
    app.text_input(key="halt_reason").set_value("Runaway strategy")
    app.text_input(key="halt_word").set_value("halt")
    app = app.button(key="control_halt").click().run()
    assert "Type HALT in capitals" in told(app)
    assert commands.trading_status(admin).mode == "RUNNING"

    app.text_input(key="halt_word").set_value("HALT")
    app = app.button(key="control_halt").click().run()

    status = commands.trading_status(admin)
    assert (status.mode, status.reason) == ("HALTED", "Runaway strategy")
    assert "you set all trading to HALTED" in told(app)
    assert app.button(key="control_halt").disabled
    assert app.text_input(key="halt_word").value == ""


def test_override_is_granted_for_a_while_and_withdrawn(
    admin: Client, open_page: OpenPage, clean_db: psycopg.Connection
) -> None:
    app = open_page("admin", CONTROL)
    app.selectbox(key="override_code").set_value("PRICE_COLLAR")
    app.button(key="override_send").click().run()
    assert "Say why it is an exception" in told(app)
    app.text_input(key="override_reason").set_value("Gap after the split")
    app = app.button(key="override_send").click().run()
    assert "Done: Price collar may be passed for 15 minutes." in told(app)
    held = clean_db.execute(
        "select code, reason, symbol, extract(epoch from expires_at - starts_at)::int from gate_overrides"
    ).fetchall()
    assert held == [("PRICE_COLLAR", "Gap after the split", None, 900)]

    (send,) = [key for key in keys(app, "revoke_") if key.endswith("_send")]
    app.text_input(key=send.removesuffix("_send")).set_value("Split is booked")
    app = app.button(key=send).click().run()

    assert "Done: Price collar holds again." in told(app)
    assert "No limit is overridden." in told(app)
    assert clean_db.execute("select revoked_by_email from gate_overrides").fetchone() == ("admin@interlock.local",)
