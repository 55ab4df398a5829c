"""The risk page over the real database: what an admin types becomes a version, a conflict costs nobody anything."""

from typing import Any

import psycopg
import pytest
from streamlit.testing.v1 import AppTest
from supabase import Client

from db import commands
from tests.integration.pages import test_operate_pages
from tests.integration.pages.conftest import OpenPage
from tests.integration.pages.test_operate_pages import told
from tests.support.clients import SignIn

RISK = "admin/risk.py"
DAILY_LOSS, QTY = "loss_limits.daily_loss_max_pct", "order_limits.qty_max"


@pytest.fixture
def admin(clean_db: psycopg.Connection, sign_in: SignIn) -> Client:
    return sign_in("admin")


def shown(app: AppTest) -> str:
    """Return every text on the page as it is read."""
    return test_operate_pages.shown(app).replace("\\", "")


def field(app: AppTest, path: str) -> Any:
    """Return the field of a setting."""
    return next(found for found in app.text_input if (found.key or "").endswith(f":{path}"))


def review(app: AppTest, **typed: str) -> AppTest:
    for key, text in typed.items():
        field(app, key.replace("__", ".")).set_value(text)
    return app.button(key="risk_review").click().run()


def save(app: AppTest, reason: str) -> AppTest:
    app.text_input(key="risk_reason").set_value(reason)
    return app.button(key="risk_save").click().run()


def test_change_is_reviewed_in_words_and_saved_as_a_version(admin: Client, open_page: OpenPage) -> None:
    before = commands.risk_config(admin)
    app = review(open_page("admin", RISK), loss_limits__daily_loss_max_pct="4")
    assert not app.exception
    assert "Limits on losses, loss of a day: 5 % → 4 %" in shown(app)
    assert commands.risk_config(admin).version == before.version

    app = save(app, "Quieter week")

    after = commands.risk_config(admin)
    assert (after.config["loss_limits"]["daily_loss_max_pct"], after.reason) == ("0.04", "Quieter week")
    assert after.config == before.config | {"loss_limits": after.config["loss_limits"]}
    assert f"Done: version {after.version} is active, with 1 change." in told(app)
    assert field(app, DAILY_LOSS).value == "4"


def test_value_out_of_bounds_is_named_and_nothing_is_saved(admin: Client, open_page: OpenPage) -> None:
    version = commands.risk_config(admin).version

    app = review(open_page("admin", RISK), loss_limits__daily_loss_max_pct="400", order_limits__qty_max="500")

    assert "loss of a day: 400 is out of bounds. Above 0 to 100." in told(app)
    app = save(app, "Try all the same")
    assert "1 value cannot be taken" in told(app)
    assert commands.risk_config(admin).version == version


def test_conflict_shows_both_values_and_keeps_what_was_typed(
    admin: Client, clean_db: psycopg.Connection, open_page: OpenPage
) -> None:
    app = review(open_page("admin", RISK), loss_limits__daily_loss_max_pct="4", order_limits__qty_max="500")
    other = commands.risk_config(admin)
    other.config["loss_limits"]["daily_loss_max_pct"] = "0.03"
    other.config["order_limits"]["signal_bars_max"] = 2
    commands.update_risk_config(admin, config=other.config, expected_version=other.version, reason="Other desk")

    app = save(app, "Quieter week")

    assert "The configuration is at version" in told(app)
    assert "Other desk" in "\n".join(warning.value for warning in app.warning)
    both = app.dataframe[0].value.set_index("Setting").loc["Limits on losses, loss of a day"]
    assert both.tolist() == ["both", "5 %", "3 %", "4 %"]
    app = app.button(key="risk_rebase").click().run()
    assert field(app, "order_limits.signal_bars_max").value == "2"
    assert "Limits on losses, loss of a day: 3 % → 4 %" in shown(app)
    assert app.text_input(key="risk_reason").value == "Quieter week"
    save(app, "Quieter week")
    saved = commands.risk_config(admin).config
    assert saved["loss_limits"]["daily_loss_max_pct"] == "0.04"
    assert (saved["order_limits"]["qty_max"], saved["order_limits"]["signal_bars_max"]) == ("500", 2)


def test_what_was_typed_after_the_review_is_looked_at_again_before_it_is_saved(
    admin: Client, open_page: OpenPage
) -> None:
    version = commands.risk_config(admin).version
    app = review(open_page("admin", RISK), loss_limits__daily_loss_max_pct="4")

    field(app, QTY).set_value("500")
    app = save(app, "Quieter week")

    assert "typed more since you reviewed" in told(app)
    assert "One order, quantity, at most: 10,000 shares → 500 shares" in shown(app)
    assert "A reason is required" in told(save(app, " "))
    assert field(app, QTY).value == "500"
    assert commands.risk_config(admin).version == version


def test_keys_without_a_field_are_kept(admin: Client, open_page: OpenPage) -> None:
    held = commands.risk_config(admin)
    commands.update_risk_config(admin, config=held.config | {"desk": {"phone": "42"}},
                                expected_version=held.version, reason="Phone")  # fmt: skip
    app = review(open_page("admin", RISK), order_limits__qty_max="500")
    assert "Kept as they are, without a field here: desk" in shown(app)

    save(app, "Smaller")

    assert commands.risk_config(admin).config["desk"] == {"phone": "42"}


def test_earlier_version_is_looked_at_and_comes_back_as_a_new_one(admin: Client, open_page: OpenPage) -> None:
    first = commands.risk_config(admin)
    changed = first.config | {"gross_exposure": {"max_pct": "0.5"}}
    commands.update_risk_config(admin, config=changed, expected_version=first.version, reason="Half")
    app = open_page("admin", RISK)
    app.query_params["version"] = str(first.version)
    app = app.run()
    assert "All together, all positions, at most: 50 % → 100 %" in shown(app)

    app.text_input(key="revert_reason").set_value("Back to full size")
    app = app.button(key="risk_revert").click().run()

    now = commands.risk_config(admin)
    assert now.version > first.version
    assert (now.config, now.reason) == (first.config, "Back to full size")
    assert f"with the content of version {first.version}" in told(app)


def test_version_that_never_was_is_said_to_be_missing(admin: Client, open_page: OpenPage) -> None:
    app = open_page("admin", RISK)
    app.query_params["version"] = "no such"

    app = app.run()

    assert not app.exception
    assert "There is no such version" in told(app)
