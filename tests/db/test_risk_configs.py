"""Risk configuration: validated, versioned, merged, in force for the next order."""

from typing import Any
from uuid import uuid4

import pytest

from db import commands
from db.errors import Conflict, Forbidden, Invalid, NotFound
from engine.domain.risk_config import PortfolioRiskConfig


@pytest.fixture
def admin(sign_in, engine):
    return sign_in("admin")


def change(admin, section: str, key: str, value: Any, **more: Any):
    active = commands.risk_config(admin)
    config = active.config | {section: active.config.get(section, {}) | {key: value}}
    return commands.update_risk_config(
        admin, config=config, reason="Test", **{"expected_version": active.version} | more
    )


class TestUpdate:
    def test_a_change_holds_for_the_next_order(self, engine, admin):
        assert engine.ask_one(qty="6").state == "ready"

        change(admin, "order_limits", "qty_max", "5")

        assert engine.ask_one(qty="6", symbol="IBM").code == "ORDER_QTY_MAX"

    def test_a_version_says_who_when_why_and_what_differs(self, admin, db):
        before = commands.risk_config(admin)

        answer = change(admin, "order_limits", "qty_max", "5")

        assert answer.diff == [{"path": "order_limits.qty_max", "from": "10000", "to": "5"}]
        active = commands.risk_config(admin)
        assert (active.version, active.created_by_email, active.reason) == (
            answer.version,
            "admin@interlock.local",
            "Test",
        )
        assert active.version > before.version and active.diff == answer.diff
        audited = db.execute("select detail -> 'diff', reason from audit_log").fetchall()
        assert audited == [(answer.diff, "Test")]
        assert db.execute("select count(*) from risk_configs where active").fetchone() == (1,)

    def test_the_second_of_two_editors_is_told_of_the_first(self, admin, db):
        version = commands.risk_config(admin).version
        change(admin, "order_limits", "qty_max", "5")

        with pytest.raises(Conflict, match="at version"):
            change(admin, "order_limits", "qty_max", "6", expected_version=version)

        assert commands.risk_config(admin).config["order_limits"]["qty_max"] == "5"

    def test_what_changes_nothing_makes_no_version(self, admin):
        before = commands.risk_config(admin)

        answer = change(admin, "order_limits", "qty_max", before.config["order_limits"]["qty_max"])

        assert (answer.changed, answer.version, answer.diff) == (False, before.version, [])

    def test_unknown_keys_are_kept(self, admin):
        change(admin, "house_rules", "motto", "Festina lente")

        assert commands.risk_config(admin).config["house_rules"] == {"motto": "Festina lente"}

    @pytest.mark.parametrize(
        ("section", "key", "value", "says"),
        [
            ("order_limits", "qty_max", "lots", "order_limits.qty_max must be a number above 0"),
            ("order_limits", "qty_max", -1, "order_limits.qty_max"),
            ("order_limits", "price_collar_pct", "1.5", "at most 1"),
            ("position_limits", "positions_max", 2.5, "whole number"),
            ("operator_approval", "auto_approve_paper", "yes", "true or false"),
            ("operator_approval", "approval_timeout_minutes", 0, "from 1 to 1440"),
            ("sector_exposure", "sectors", {"AAPL": 7}, "must map symbols"),
        ],
    )
    def test_a_value_out_of_its_bounds_is_refused_and_named(self, admin, section, key, value, says):
        before = commands.risk_config(admin)

        with pytest.raises(Invalid, match=says):
            change(admin, section, key, value)

        assert commands.risk_config(admin) == before

    def test_a_section_that_is_no_object_is_refused(self, admin):
        active = commands.risk_config(admin)

        with pytest.raises(Invalid, match="order_limits must be a JSON object"):
            commands.update_risk_config(
                admin, config=active.config | {"order_limits": []}, expected_version=active.version, reason="x"
            )

    @pytest.mark.parametrize("name", ["operator", "alice"])
    def test_only_admins_read_and_change_it_here(self, engine, sign_in, name):
        with pytest.raises(Forbidden):
            commands.risk_config(sign_in(name))
        with pytest.raises(Forbidden):
            commands.update_risk_config(sign_in(name), config={}, expected_version=1, reason="x")

    def test_the_same_request_sent_twice_makes_one_version(self, admin, db):
        request_id, version = uuid4(), commands.risk_config(admin).version

        answers = [
            change(admin, "order_limits", "qty_max", "5", request_id=request_id, expected_version=version)
            for _ in range(2)
        ]

        assert answers[0] == answers[1]


class TestRevert:
    def test_an_earlier_version_comes_back_as_a_new_one(self, engine, admin):
        first = commands.risk_config(admin)
        second = change(admin, "order_limits", "qty_max", "5")

        answer = commands.revert_risk_config(
            admin, version=first.version, expected_version=second.version, reason="Oops"
        )

        assert answer.version > second.version and answer.config == first.config
        assert engine.ask_one().state == "ready"

    def test_a_version_that_never_was_is_not_found(self, admin):
        with pytest.raises(NotFound):
            commands.revert_risk_config(admin, version=10**6, expected_version=1, reason="x")


class TestApprovalSettings:
    def test_operators_read_them_with_the_defaults_filled_in(self, engine, sign_in, db):
        db.execute("update risk_configs set config = config - 'operator_approval' where active")

        settings = commands.approval_config(sign_in("operator"))

        assert settings["auto_approve_paper"] is True
        assert settings["require_approval_for_live"] is True
        assert settings["approval_timeout_minutes"] == 15
        with pytest.raises(Forbidden):
            commands.approval_config(sign_in("alice"))

    def test_a_change_leaves_every_other_key_alone(self, admin):
        change(admin, "operator_approval", "house_rule", "kept")
        before = commands.risk_config(admin).config

        commands.update_approval_config(admin, patch={"auto_approve_paper": False})

        after = commands.risk_config(admin).config
        assert after == before | {"operator_approval": before["operator_approval"] | {"auto_approve_paper": False}}

    def test_only_admins_change_them(self, engine, sign_in):
        with pytest.raises(Forbidden):
            commands.update_approval_config(sign_in("operator"), patch={"auto_approve_paper": False})

    @pytest.mark.parametrize(
        ("patch", "says"),
        [
            ({}, "Give the settings"),
            ({"auto_aprove_paper": False}, "no approval setting"),  # a typo must not pass for a change
            ({"auto_approve_paper": None}, "true or false"),
        ],
    )
    def test_a_change_that_makes_no_sense_is_refused(self, admin, patch, says):
        with pytest.raises(Invalid, match=says):
            commands.update_approval_config(admin, patch=patch)

    def test_an_outdated_version_conflicts(self, admin):
        with pytest.raises(Conflict):
            commands.update_approval_config(admin, patch={"auto_approve_paper": False}, expected_version=0)


def test_what_python_writes_is_what_the_database_accepts(admin):
    active = commands.risk_config(admin)
    written = PortfolioRiskConfig.from_db_json(active.config | {"extra": {"kept": True}}).to_db_json()

    answer = commands.update_risk_config(admin, config=written, expected_version=active.version, reason="Round trip")

    assert answer.config["extra"] == {"kept": True}
    assert PortfolioRiskConfig.from_db_json(answer.config) == PortfolioRiskConfig.from_db_json(written)
