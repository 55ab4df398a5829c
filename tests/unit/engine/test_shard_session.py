import threading
from collections.abc import Callable
from typing import Any

import pytest
from postgrest.exceptions import APIError

from db import errors
from engine.adapters.supabase_authority import ASK_AGAIN_S, ShardSession, SupabaseSchema
from engine.config import Settings
from engine.domain.errors import AuthorityUnavailable, ConfigError, LeaseLost, Refused
from engine.domain.versions import SCHEMA
from engine.upgrade import schema_check
from tests.unit.engine.fakes import ManualClock


@pytest.fixture
def session(clock: ManualClock) -> ShardSession:
    return ShardSession(object(), "main", clock)


def away(_: Any) -> None:
    raise errors.Unreachable("The database cannot be reached.")


def here(_: Any) -> str:
    return "answer"


def lose(session: ShardSession) -> None:
    with pytest.raises(AuthorityUnavailable):
        session.call(away)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, AuthorityUnavailable),  # a gateway's answer: PostgREST would say why
        ("PGRST001", AuthorityUnavailable),  # PostgREST lost its connection
        ("PGRST003", AuthorityUnavailable),  # none was free in time
        ("25006", AuthorityUnavailable),  # a standby: it takes no writes
        ("53300", AuthorityUnavailable),  # too many connections
        ("57014", AuthorityUnavailable),  # the call took too long and was ended
        ("57P01", AuthorityUnavailable),  # Postgres is restarting
        ("23514", Refused),  # a rule of ours
        ("40P01", AuthorityUnavailable),  # a deadlock: nothing of the call has happened, it is asked again
        ("PGRST202", Refused),  # no such function
    ],
)
def test_a_database_that_cannot_act_counts_as_away_and_one_that_refuses_does_not(session, code, expected):
    def answered(_: Any) -> None:
        with errors.translated():
            raise APIError({"code": code, "message": "no", "details": None, "hint": None})

    with pytest.raises(expected):
        session.call(answered)

    assert session.is_away is (expected is AuthorityUnavailable)


class TestAway:
    def test_nothing_is_asked_for_a_moment_after_a_call_went_unanswered(self, session, clock):
        lose(session)
        assert session.is_away

        with pytest.raises(AuthorityUnavailable, match="cannot be reached"):
            session.call(here)

        clock.sleep(ASK_AGAIN_S)
        assert session.call(here) == "answer"
        assert not session.is_away

    def test_one_call_at_a_time_sees_whether_it_is_back(self, session, clock):
        lose(session)
        clock.sleep(ASK_AGAIN_S)
        asking, done = threading.Event(), threading.Event()

        def slow(_: Any) -> None:
            asking.set()
            assert done.wait(5)
            away(_)

        def probe() -> None:
            with pytest.raises(AuthorityUnavailable):
                session.call(slow)

        prober = threading.Thread(target=probe)
        prober.start()
        assert asking.wait(5)

        with pytest.raises(AuthorityUnavailable, match="cannot be reached"):
            session.call(here)
        done.set()
        prober.join()

    @pytest.mark.parametrize(
        ("error", "raised"),
        [
            (errors.LeaseLost("stale", code="LEASE_LOST"), LeaseLost),
            (errors.Invalid("no", code="INVALID"), Refused),
        ],
    )
    def test_a_refusal_is_an_answer(self, session, clock, error, raised):
        lose(session)
        clock.sleep(ASK_AGAIN_S)

        def refuse(_: Any) -> None:
            raise error

        with pytest.raises(raised):
            session.call(refuse)
        assert not session.is_away


class Schema(SupabaseSchema):
    """A database that says what it is told to say."""

    def __init__(self, *answers: tuple[str, str] | None) -> None:
        self.answers = list(answers)

    def read(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def settings() -> Callable[..., Settings]:
    keys = dict.fromkeys(
        ("supabase_url", "supabase_publishable_key", "supabase_secret_key", "alpaca_api_key", "alpaca_secret_key"), "x"
    )
    return lambda **more: Settings(_env_file=None, **keys | more)


class TestSchemaCheck:
    def test_an_engine_starts_when_the_schema_is_its_own_and_asks_once(self, settings):
        schema = Schema((SCHEMA, "0.2.0"), None)
        check = schema_check(schema, settings())

        check()
        check()

        assert len(schema.answers) == 1

    def test_an_older_database_is_refused_unless_its_upgrade_was_asked_for(self, settings):
        with pytest.raises(ConfigError, match="supabase db push --workdir db"):
            schema_check(Schema(None), settings())()

    def test_an_upgrade_needs_the_owners_connection(self, settings, monkeypatch):
        monkeypatch.delenv("DATABASE_URL", raising=False)

        with pytest.raises(ConfigError, match="set DATABASE_URL"):
            schema_check(Schema(None), settings(engine_upgrade_db=True))()

    def test_a_database_that_cannot_be_upgraded_is_told_of(self, settings):
        nowhere = settings(engine_upgrade_db=True, database_url="postgresql://owner@127.0.0.1:1/none")

        with pytest.raises(ConfigError, match="was not upgraded"):
            schema_check(Schema(None), nowhere)()

    def test_an_engine_that_is_too_old_does_not_start(self, settings):
        with pytest.raises(ConfigError, match="Install the current version"):
            schema_check(Schema((SCHEMA, "99.0.0")), settings())()


@pytest.mark.parametrize("shard", ["../west", "", "a b", ".", "x" * 61])
def test_a_shard_that_is_no_folders_name_is_refused(settings, shard):
    with pytest.raises(ValueError, match="pattern"):
        settings(engine_shard=shard)
