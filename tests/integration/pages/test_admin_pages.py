"""Members, audit, engine and alerts over the real database, as admins and operators find them."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from streamlit.testing.v1 import AppTest
from supabase import Client

from db import commands
from db.errors import Forbidden
from db.queries.audit import ACTIONS, AuditFilters, audit_for_export, audit_page
from db.queries.overrides import overrides_in_force
from db.queries.paging import Cursor
from tests.integration.pages import test_operate_pages
from tests.integration.pages.conftest import OpenPage
from tests.integration.pages.test_operate_pages import told
from tests.support.clients import SignIn

MEMBERS, AUDIT, ENGINE, ALERTS = (f"admin/{name}.py" for name in ("members", "audit", "engine", "alerts"))


@pytest.fixture
def admin(clean_db: psycopg.Connection, sign_in: SignIn) -> Client:
    return sign_in("admin")


@pytest.fixture
def member_id(clean_db: psycopg.Connection) -> dict[str, str]:
    """Members' ids by the first part of their addresses."""
    return dict(clean_db.execute("select split_part(email, '@', 1), user_id::text from members").fetchall())


def shown(app: AppTest) -> str:
    """Return every text on the page as it is read."""
    return test_operate_pages.shown(app).replace("\\", "")


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


class TestWhoIsOfferedWhat:
    def test_operators_have_engine_and_alerts_and_can_send_no_test(self, admin: Client, open_page: OpenPage) -> None:
        app = open_page("operator", ENGINE)
        assert not app.exception
        assert not app.error

        app = app.switch_page(ALERTS).run()

        assert not app.exception
        assert not app.error
        assert "alerts_test" not in [button.key for button in app.button]
        for page in ("admin/risk.py", MEMBERS, AUDIT):
            with pytest.raises(ValueError, match="page"):
                app.switch_page(page)

    def test_analysts_have_none_of_them(self, admin: Client, open_page: OpenPage) -> None:
        with pytest.raises(ValueError, match="page"):
            open_page("alice", ALERTS)


class TestMembers:
    def test_role_is_changed_with_a_reason(
        self, admin: Client, member_id: dict[str, str], open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        key = f"role_{member_id['bob']}"
        app = open_page("admin", MEMBERS)
        app.selectbox(key=key).set_value("operator").run()
        app = press(app, f"{key}_send")
        assert "A reason is required" in told(app)

        app.text_input(key=f"{key}_why").set_value("Night desk")
        app = press(app, f"{key}_send")

        assert "Done: bob@interlock.local is an operator now." in told(app)
        held = db.execute("select role from members where user_id = %s", (member_id["bob"],)).fetchone()
        assert held == ("operator",)

    def test_last_admin_stays_one_and_is_told_why(
        self, admin: Client, member_id: dict[str, str], open_page: OpenPage
    ) -> None:
        key = f"role_{member_id['admin']}"
        app = open_page("admin", MEMBERS)
        app.text_input(key=f"{key}_why").set_value("Holidays")

        app = press(app, f"{key}_send")

        assert "This is the last admin: make someone else an admin first." in told(app)
        assert "(you) :violet-badge[Admin]" in shown(app)

    def test_members_are_searched_by_a_part_of_their_address(
        self, admin: Client, member_id: dict[str, str], open_page: OpenPage
    ) -> None:
        app = open_page("admin", MEMBERS)

        app.text_input(key="members_search").set_value("ALI")
        app = app.run()

        assert "1 member" in [heading.value for heading in app.subheader]
        assert "alice@interlock.local" in shown(app)


class TestAudit:
    def test_it_is_filtered_and_opened_row_by_row(self, admin: Client, sign_in: SignIn, open_page: OpenPage) -> None:
        commands.pause_trading(admin, reason="Check")
        commands.create_lockout(sign_in("operator"), ticker="IBM", reason="Rumour")
        app = open_page("admin", AUDIT)
        app.selectbox(key="audit_actor").set_value("operator@interlock.local")
        app = app.run()
        found = app.dataframe[0].value
        assert found["what"].tolist() == ["Create lockout"]

        app.query_params["entry"] = found["row"].iloc[0]
        app = app.run()

        assert "operator@interlock.local, operator" in shown(app)
        assert '"IBM"' in app.json[0].value

    def test_chain_verifies_until_a_row_is_changed_and_says_where(
        self, admin: Client, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        for reason in ("One", "Two"):
            commands.create_lockout(admin, ticker="IBM", reason=reason)
        app = press(open_page("admin", AUDIT), "audit_verify")
        assert "The log verifies: " in told(app)

        db.execute("alter table audit_log disable trigger audit_log_is_append_only")
        row = db.execute("update audit_log set reason = 'Other' where reason = 'One' returning id").fetchone()
        db.execute("alter table audit_log enable trigger audit_log_is_append_only")
        app = press(app, "audit_verify")

        assert row is not None
        assert f"It breaks at row {row[0]} (Create lockout" in told(app)
        assert "Its content was changed after it was written." in told(app)
        app = press(app, "audit_broken")
        assert "Other" in shown(app)

    def test_pages_follow_on_each_other_and_every_filter_narrows(self, admin: Client, sign_in: SignIn) -> None:
        today = datetime.now(UTC).date()
        for n in range(5):
            commands.create_lockout(admin, ticker="IBM", reason=f"Reason {n}")
        with pytest.raises(Forbidden):
            commands.pause_trading(sign_in("alice"), reason="No")
        everything = audit_for_export(admin, AuditFilters())
        first = audit_page(admin, AuditFilters(), size=4)
        second = audit_page(admin, AuditFilters(), after=first.next, size=100)
        assert isinstance(first.next, Cursor)
        assert [*first.found["id"], *second.found["id"]] == everything["id"].tolist()

        refused = audit_page(admin, AuditFilters(outcomes=("refused",))).found
        until = datetime.now(UTC).date()
        of_today = audit_page(admin, AuditFilters(actions=("create_lockout",), since=today, until=until)).found
        own = audit_page(sign_in("alice"), AuditFilters()).found

        assert refused["actor_email"].tolist() == own["actor_email"].tolist() == ["alice@interlock.local"]
        assert of_today["reason"].tolist() == [f"Reason {n}" for n in (4, 3, 2, 1, 0)]

    def test_every_action_can_be_chosen(self, admin: Client, db: psycopg.Connection) -> None:
        named = db.execute(
            "select distinct (regexp_matches(p.prosrc, 'private\\.audit\\(''([a-z_]+)''', 'g'))[1] from pg_proc p"
            " where p.pronamespace in ('public'::regnamespace, 'private'::regnamespace)"
        ).fetchall()

        assert len(named) > 10
        assert {name for (name,) in named} <= set(ACTIONS)


class TestEngine:
    @pytest.fixture
    def lease(self, admin: Client, service_client: Client) -> dict[str, Any]:
        held = commands.acquire_lease(service_client, shard="main", holder=f"engine-{uuid4()}", ttl_s=600)
        return {"shard": "main", "token": held.token}

    def test_late_job_and_difference_are_shown_with_what_to_do(
        self, lease: dict[str, Any], service_client: Client, open_page: OpenPage
    ) -> None:
        job = {"healthy": True, "age_s": 0.5, "limit_s": 10, "runs": 7, "failures": 0, "last_error": None}
        late = job | {"healthy": False, "age_s": 40, "last_error": "No answer"}
        commands.reconcile_apply(
            service_client, **lease, run={"kind": "full"},
            findings=[{"key": "POSITION_MISMATCH:IBM", "kind": "POSITION_MISMATCH", "symbol": "IBM",
                       "severity": "critical", "action": "Entries in IBM are locked.",
                       "advice": "Compare the fills.", "detail": {"ours": "10", "broker": "7"}}],
        )  # fmt: skip
        commands.heartbeat(service_client, **lease, version="1.2.3", market_at=datetime.now(UTC), ttl_s=600,
                           jobs={"submit": late, "reconcile": job}, detail={"data_age_s": 1})  # fmt: skip

        app = open_page("operator", ENGINE)

        assert not app.exception
        text = shown(app)
        assert "Shard main: alive, 1 job late." in text
        assert "1.2.3" in text
        assert "Position mismatch in IBM, shard main" in text
        assert "Done: Entries in IBM are locked." in text
        assert "To do: Compare the fills." in text
        assert app.dataframe[0].value[["state", "job", "error"]].values.tolist()[0] == ["✗ Late", "Submit", "No answer"]

    def test_silent_engine_is_said_to_be_silent(
        self, lease: dict[str, Any], open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        db.execute("update engine_heartbeats set beat_at = now() - interval '10 minutes'")

        app = open_page("operator", ENGINE)

        assert "Shard main: silent. No sign of life for 10 min." in shown(app).replace("**", "")


class TestAlerts:
    def test_it_is_opened_by_a_look_acknowledged_muted_and_heard_again(
        self, admin: Client, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("operator", ALERTS)
        assert not app.exception
        row = db.execute("select id::text from alerts where rule = 'ENGINE_DEAD' and resolved_at is null").fetchone()
        assert row is not None
        assert "**Engine dead**" in shown(app)

        app.text_input(key=f"ack_{row[0]}").set_value("Phoning the broker")
        app = press(app, f"ack_{row[0]}_send")
        assert "operator@interlock.local looks after it since" in shown(app)
        assert "Phoning the broker" in shown(app)
        app.text_input(key=f"mute_{row[0]}_why").set_value("Known")
        app.selectbox(key=f"mute_{row[0]}_what").set_value("Every alert of this rule")
        app = press(app, f"mute_{row[0]}_send")

        assert "Done: Engine dead sends no notice for 60 minutes." in told(app)
        mute = db.execute("select id::text, rule, subject from alert_mutes").fetchone()
        assert mute is not None
        assert mute[1:] == ("ENGINE_DEAD", "*")
        app.text_input(key=f"unmute_{mute[0]}").set_value("Over")
        app = press(app, f"unmute_{mute[0]}_send")
        assert "sends notices again" in told(app)

    def test_admin_sends_a_test_and_is_told_when_nobody_can_deliver_it(
        self, admin: Client, open_page: OpenPage
    ) -> None:
        app = press(open_page("admin", ALERTS), "alerts_test")

        assert "no engine has anywhere to send it to" in told(app)
        assert "Test: alerts arrive" in app.dataframe[-1].value["title"].tolist()


def test_overrides_in_force_are_those_of_the_profiles_that_are_asked_for(
    admin: Client, clean_db: psycopg.Connection
) -> None:
    ids = dict(clean_db.execute("select name, id from profiles").fetchall())
    one, other = list(ids.values())[:2]
    commands.grant_override(admin, profile_id=one, code="PRICE_COLLAR", reason="Gap", minutes=5)

    assert overrides_in_force(admin, [str(one)])["code"].tolist() == ["PRICE_COLLAR"]
    assert overrides_in_force(admin, [str(other)]).empty
    assert overrides_in_force(admin, []).empty
