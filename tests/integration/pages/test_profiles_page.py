"""The profiles page over the real database: switching on and off, and the policy for orders that are not ours."""

import psycopg
import pytest

from tests.integration.pages.conftest import OpenPage
from tests.integration.pages.test_operate_pages import shown, told

PAGE = "admin/profiles.py"


@pytest.fixture
def profile(clean_db: psycopg.Connection) -> tuple[str, str]:
    """The id and the name of one profile, as the gate leaves it when it repeats itself."""
    found = clean_db.execute(
        "update profiles set active = false, disabled_reason = 'Same entry 20 times. Switched off.'"
        " where name = 'Alice trend daily' returning id::text, name"
    ).fetchone()
    assert found
    return found


def test_a_profile_that_was_switched_off_says_why_and_is_switched_on_with_a_reason(
    profile: tuple[str, str], open_page: OpenPage, clean_db: psycopg.Connection
) -> None:
    key = f"profile_switch_{profile[0]}"
    app = open_page("admin", PAGE)
    assert not app.exception
    assert "Same entry 20 times" in shown(app)
    app = app.button(key=f"{key}_send").click().run()
    assert "A reason is required" in told(app)

    app.text_input(key=f"{key}_why").set_value("Strategy corrected")
    app = app.button(key=f"{key}_send").click().run()

    assert f"Done: {profile[1]} is switched on." in told(app)
    held = clean_db.execute("select active, disabled_reason from profiles where id = %s", (profile[0],)).fetchone()
    assert held == (True, None)
    noted = clean_db.execute("select reason from audit_log where action = 'set_profile_active'").fetchone()
    assert noted == ("Strategy corrected",)


def test_the_policy_for_orders_that_are_not_ours_is_set_for_a_profile_and_for_its_account(
    profile: tuple[str, str], open_page: OpenPage, clean_db: psycopg.Connection
) -> None:
    app = open_page("admin", PAGE)
    assert "Nobody has said otherwise" in shown(app)
    for key, policy in ((f"policy_{profile[0]}", "adopt"), ("policy_main", "ignore")):
        app.selectbox(key=key).set_value(policy)
        app.text_input(key=f"{key}_why").set_value("Traded by hand as well")
        app = app.button(key=f"{key}_send").click().run()
        assert f"Done: orders that are not ours: {policy}" in told(app)

    held = clean_db.execute("select profile_id::text, policy from external_order_policies order by 2").fetchall()
    assert held == [(profile[0], "adopt"), (None, "ignore")]
    assert "adopt (its own policy)" in shown(app)
    assert "Traded by hand as well" in shown(app)


def test_operators_look_and_change_nothing(profile: tuple[str, str], open_page: OpenPage) -> None:
    app = open_page("operator", PAGE)

    assert not app.exception
    assert "Same entry 20 times" in shown(app)
    assert [button.key for button in app.button if str(button.key).startswith(("profile_switch", "policy_"))] == []


def test_analysts_have_no_such_page(profile: tuple[str, str], open_page: OpenPage) -> None:
    with pytest.raises(ValueError, match="page"):
        open_page("alice", PAGE)
