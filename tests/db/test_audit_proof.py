"""The audit log's proof: whatever was changed, removed, added or moved shows, however long the log is."""

from collections.abc import Iterator
from typing import Any

import pytest

from db import commands
from db.errors import Invalid

ALICE = "Alice trend daily"
FORGE = (
    "insert into audit_log overriding system value select %s, tenant, at, actor, actor_email, actor_role, action,"
    " target, outcome, reason, detail, prev_hash, hash from audit_log where id = %s"
)


@pytest.fixture
def log(engine, sign_in, db) -> Iterator[Any]:
    """A log of two chains, woven into each other; the owner may write into it while a test lasts."""
    admin = sign_in("admin")
    for turn in range(4):
        switched = {"profile_id": engine.profiles[ALICE], "active": bool(turn % 2)}
        commands.set_profile_active(admin, **switched, reason=f"Turn {turn}")
        commands.pause_trading(admin, reason=f"Turn {turn}")
        commands.resume_trading(admin, reason=f"Turn {turn}", override_reason="Testing")
    db.execute("alter table audit_log disable trigger all")
    yield db
    db.execute("alter table audit_log enable trigger all")


def ids(db, tenant: str = "%") -> list[int]:
    rows = db.execute("select id from audit_log where tenant::text like %s order by id", (tenant,)).fetchall()
    return [row[0] for row in rows]


def looks(client, rows: int) -> list[dict[str, Any]]:
    """Verify the log some rows at a time, as far as it goes."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        found.append(client.rpc("verify_audit_chain", {"p_after_id": after, "p_rows": rows}).execute().data)
        after = found[-1]["next_after_id"]
    return found


class TestInParts:
    @pytest.mark.parametrize("rows", [1, 2, 5, 1000])
    def test_the_parts_add_up_to_the_whole_log(self, log, sign_in, rows):
        parts = looks(sign_in("admin"), rows)

        assert all(part["ok"] for part in parts)
        assert sum(part["rows"] for part in parts) == len(ids(log))
        assert all(part["rows"] <= rows for part in parts)

    @pytest.mark.parametrize("rows", [1, 5])
    @pytest.mark.parametrize("victim", [0, 5, -1])
    def test_a_changed_row_is_named_wherever_the_parts_meet(self, log, sign_in, rows, victim):
        changed = ids(log)[victim]
        log.execute("update audit_log set reason = 'Never happened' where id = %s", (changed,))

        last = looks(sign_in("admin"), rows)[-1]

        assert (last["ok"], last["first_broken_id"]) == (False, changed)

    @pytest.mark.parametrize("arguments", [{"p_after_id": -1}, {"p_rows": 0}, {"p_rows": 10**9}, {"p_rows": None}])
    def test_a_part_that_makes_no_sense_is_refused(self, engine, sign_in, arguments):
        with pytest.raises(Invalid):
            commands.settings.call(sign_in("admin"), "verify_audit_chain", **arguments)

    def test_the_command_verifies_the_whole_log_in_calls_of_bounded_length(self, log, sign_in, monkeypatch):
        sent = commands.settings.call
        monkeypatch.setattr(commands.settings, "call", lambda *a, **more: sent(*a, **more, p_rows=3))

        proof = commands.verify_audit_chain(sign_in("admin"))

        assert (proof.ok, proof.rows, proof.chains) == (True, len(ids(log)), 2)


class TestForgery:
    @pytest.mark.parametrize(("rows", "cut"), [(3, 1), (1000, 2), (1000, 100)])
    def test_rows_cut_off_at_a_chains_end_show(self, log, sign_in, rows, cut):
        log.execute("delete from audit_log where id = any (%s)", (ids(log, "0000%")[-cut:],))

        last = looks(sign_in("admin"), rows)[-1]

        assert not last["ok"]
        assert "shorter than its head" in last["first_broken"]["why"]

    def test_rows_that_have_changed_places_show(self, log, sign_in):
        first, second = ids(log, "0000%")[2:4]
        log.execute(FORGE, (10**9, first))
        log.execute("delete from audit_log where id = %s", (first,))
        log.execute(FORGE, (first, second))
        log.execute("delete from audit_log where id = %s", (second,))
        log.execute(FORGE, (second, 10**9))
        log.execute("delete from audit_log where id = %s", (10**9,))

        proof = commands.verify_audit_chain(sign_in("admin"))

        assert (proof.ok, proof.first_broken_id) == (False, first)

    def test_a_row_moved_into_another_tenants_chain_shows(self, log, sign_in):
        log.execute("update audit_log set tenant = gen_random_uuid() where id = %s", (ids(log, "0000%")[-1],))

        assert not commands.verify_audit_chain(sign_in("admin")).ok

    def test_a_row_told_twice_shows(self, log, sign_in):
        log.execute(FORGE, (10**9, ids(log, "0000%")[-1]))

        proof = commands.verify_audit_chain(sign_in("admin"))

        assert (proof.ok, proof.first_broken_id) == (False, 10**9)
