"""The pages that say why, over a real database: what each role finds there, and whether it is what was recorded."""

from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from streamlit.testing.v1 import AppTest
from supabase import Client

from db import commands
from db.queries.decisions import (
    DecisionFilters,
    entries_before,
    entries_page,
    entry_outcomes,
    lockouts_at,
    modes_at,
)
from db.queries.replays import lockout_spans, paths_of, pause_spans, recorded_entries
from engine.domain.cost_of_control import cost_of_control
from engine.domain.replay import Change, Controls, Fate, RecordedEntry
from engine.domain.what_if import what_if
from pages.components.time_zone import EXCHANGE
from pages.session.clock import now
from tests.integration.pages.conftest import OpenPage
from tests.integration.pages.test_operate_pages import shown
from tests.support.clients import SignIn
from tests.support.story import Story

DECISIONS, WHAT_IF, COST, SIGNALS = (
    f"analyse/{name}.py" for name in ("decisions", "what_if", "cost_of_control", "signals")
)
PAGES = (DECISIONS, WHAT_IF, COST, SIGNALS)


def lately(**more: tuple[str, ...]) -> DecisionFilters:
    return DecisionFilters(now() - timedelta(hours=1), now() + timedelta(minutes=1), **more)


def counted(db: psycopg.Connection, where: str) -> int:
    row = db.execute(f"select count(*) from orders where purpose = 'entry' and {where}").fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def table(app: AppTest, column: str) -> list[str]:
    """Return a column of the first table that has it."""
    return next(found.value[column].tolist() for found in app.dataframe if column in found.value)


@pytest.mark.parametrize("name", ["admin", "operator", "alice"])
def test_every_page_stands_for_every_role(name: str, story: Story, open_page: OpenPage) -> None:
    for page in PAGES:
        app = open_page(name, page)

        assert not app.exception, page
        assert not app.error, page
        assert all(metric.help for metric in app.metric), "every figure says how it is worked out"


def test_every_page_says_so_when_there_is_nothing(clean_db: psycopg.Connection, open_page: OpenPage) -> None:
    for page in PAGES:
        app = open_page("alice", page)

        assert not app.exception, page
        assert not app.error, page
        assert app.info, page


class TestDecisions:
    def test_the_gates_answer_now_names_what_is_in_the_way(
        self, story: Story, open_page: OpenPage, sign_in: SignIn
    ) -> None:
        commands.pause_trading(sign_in("admin"), reason_code="news", reason="Fed decision")

        app = open_page("alice", DECISIONS)

        assert set(table(app, "answer")) == {"✗ Would be denied"}
        assert "Trading is paused by an administrator." in table(app, "reason")
        assert table(app, "result")[0] == "✗ NO", "the failed check comes first"
        assert table(app, "asks")[0] == "Trading is not paused"

    def test_the_funnel_and_the_list_hold_what_was_recorded_and_for_an_analyst_their_own(
        self, story: Story, sign_in: SignIn, db: psycopg.Connection
    ) -> None:
        outcomes = entry_outcomes(sign_in("admin"), lately()).found
        everything = entries_page(sign_in("admin"), lately()).found
        code = everything["code"].dropna().iloc[0]

        of_a_code = entries_page(sign_in("admin"), lately(codes=(code,))).found
        own = entries_page(sign_in("alice"), lately()).found

        assert len(outcomes) == len(everything) == counted(db, "true") > 0
        assert (outcomes["state"] == "denied").sum() == counted(db, "state = 'denied'") > 0
        assert (outcomes["filled_qty"] > 0).sum() == counted(db, "filled_qty > 0") > 0
        assert len(of_a_code) == (everything["code"] == code).sum()
        is_alices = "owner_id = (select user_id from members where email = 'alice@interlock.local')"
        assert len(own) == counted(db, is_alices) < len(everything)

    def test_a_denied_order_opens_its_checks(self, story: Story, open_page: OpenPage, db: psycopg.Connection) -> None:
        denied = db.execute("select id::text from orders where state = 'denied' limit 1").fetchone()
        assert denied is not None
        app = open_page("admin", DECISIONS)

        app.query_params["order"] = denied[0]
        app.run()

        assert not app.error
        assert any("✗ FAILED" in str(found.value) for found in app.dataframe)


class TestAPastMoment:
    @pytest.fixture
    def paused(self, story: Story, sign_in: SignIn) -> Client:
        """Trading was paused, asked for an entry, and resumed; IBM was locked out meanwhile."""
        commands.pause_trading(sign_in("admin"), reason_code="news", reason="Fed decision")
        commands.create_lockout(sign_in("operator"), ticker="IBM", reason="Rumour")
        story.ask("Alice trend daily", "IBM")
        return sign_in("admin")

    def test_what_held_then_and_the_gates_last_word_are_found(self, paused: Client) -> None:
        asked = now()

        modes, lockouts, said = (
            modes_at(paused, asked),
            lockouts_at(paused, "IBM", asked),
            entries_before(paused, "IBM", asked),
        )

        assert modes[["scope", "to_mode", "reason"]].values.tolist() == [["global", "PAUSED", "Fed decision"]]
        assert lockouts["reason"].tolist() == ["Rumour"]
        assert lockouts_at(paused, "AAPL", asked).empty
        assert said["code"].iloc[0] == "TRADING_PAUSED"
        earlier = asked - timedelta(hours=1)
        assert modes_at(paused, earlier).empty
        assert lockouts_at(paused, "IBM", earlier).empty
        assert entries_before(paused, "IBM", earlier).empty

    def test_the_page_tells_it(self, paused: Client, open_page: OpenPage) -> None:
        app = open_page("admin", DECISIONS)
        soon = (now() + timedelta(minutes=2)).astimezone(EXCHANGE).replace(tzinfo=None, second=0, microsecond=0)

        app.selectbox(key="why_symbol").set_value("IBM")
        app.segmented_control(key="why_when").set_value("At a past moment").run()
        app.datetime_input(key="why_at").set_value(soon).run()

        assert "all trading: PAUSED, set by admin@interlock.local: Fed decision" in shown(app)
        assert "IBM was locked out by operator@interlock.local: Rumour" in shown(app)
        assert "TRADING_PAUSED" in table(app, "code")


def recorded(client: Client) -> list[RecordedEntry]:
    return recorded_entries(client, lately()).entries


class TestWhatIf:
    def test_unchanged_the_recorded_decisions_answer_as_they_did(
        self, story: Story, sign_in: SignIn, db: psycopg.Connection
    ) -> None:
        entries = recorded(sign_in("admin"))

        found = what_if(entries, Change(), paths_of(sign_in("admin"), entries))

        assert len(entries) == counted(db, "true") > 20
        assert not found.changed
        assert [e.result_usd for e in entries if e.result_usd], "closed trades bring their results along"

    def test_a_looser_limit_lets_a_denied_entry_through_and_follows_it_over_the_bars(
        self, story: Story, sign_in: SignIn
    ) -> None:
        entries = recorded(sign_in("admin"))
        denied = [entry for entry in entries if entry.fate is Fate.DENIED]
        assert denied
        wider = Decimal(10) ** 9
        names = ("order_notional_max_usd", "order_qty_max", "position_notional_max_usd", "capital_usd", "gross_max_pct",
                 "sector_max_pct")  # fmt: skip

        found = what_if(entries, Change(limits=dict.fromkeys(names, wider)), paths_of(sign_in("admin"), entries))

        assert {verdict.judged.entry.id for verdict in found.added} & {entry.id for entry in denied}
        followed = [verdict for verdict in found.added if verdict.path and verdict.path.entry_price]
        assert followed
        assert found.difference_usd == sum(verdict.effect_usd or 0 for verdict in found.added)

    def test_the_page_says_what_would_have_been_and_that_it_is_counterfactual(
        self, story: Story, open_page: OpenPage
    ) -> None:
        app = open_page("admin", WHAT_IF)
        assert "the same answer" in shown(app)

        app.selectbox(key="what_pauses").set_value("Paused throughout").run()

        assert not app.error
        assert {would.partition(":")[0] for would in table(app, "would")} == {"Denied"}
        assert "nobody traded it" in shown(app)


class TestCostOfControl:
    def test_what_a_pause_and_a_lockout_kept_back_is_theirs(self, story: Story, sign_in: SignIn) -> None:
        commands.create_lockout(sign_in("operator"), ticker="IBM", reason="Rumour")
        story.ask("Alice trend daily", "IBM")
        commands.pause_trading(sign_in("admin"), reason_code="news", reason="Fed decision")
        story.ask("Alice trend daily", "AAPL")
        admin = sign_in("admin")
        entries = recorded(admin)

        costs = cost_of_control(entries, paths_of(admin, entries), pause_spans(admin), lockout_spans(admin, lately()))

        words = {cost.cause.words: len(cost.entries) for cost in costs}
        assert words["IBM by operator@interlock.local: Rumour"] == 1
        assert words["PAUSED by admin@interlock.local: Fed decision"] == 1

    def test_the_page_counts_the_denials(self, story: Story, open_page: OpenPage, db: psycopg.Connection) -> None:
        app = open_page("admin", COST)

        assert not app.error
        costs = next(found.value for found in app.dataframe if "gains_usd" in found.value)
        assert costs["entries"].sum() == counted(db, "state in ('denied', 'approval_expired', 'approval_rejected')")
        assert (costs["effect_usd"].round(2) == (costs["spared_usd"] - costs["gains_usd"]).round(2)).all()


class TestSignals:
    def test_a_layers_word_is_shown_its_switch_counted_and_what_passed_leads_to_its_checks(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        db.execute(
            "insert into signals (owner_id, profile_id, symbol, side, strategy, blocked_by, detail)"
            " select owner_id, id, 'IBM', 'buy', 'test', 'macro',"
            """ '{"reason": "Up", "layers": [{"layer": "macro", "passed": false, "reason": "Below its average."},"""
            """ {"layer": "competitive", "passed": true, "reason": "Ahead."}]}' from profiles order by name limit 1"""
        )

        app = open_page("admin", SIGNALS)

        assert "✗ Kept back by macro" in table(app, "outcome")
        assert "✗ Below its average. ✓ Ahead." in table(app, "layers")
        assert [metric.value for metric in app.metric if "layer" in metric.label] == [
            "1 of 1 kept back", "0 of 1 kept back",
        ]  # fmt: skip
        led_to = db.execute(
            "select '/decisions?order=' || o.id from orders o join profiles p on p.id = o.profile_id"
            " where p.name = %s and o.signal_id is not null", (app.selectbox(key="signals_profile").value,),
        ).fetchall()  # fmt: skip
        assert led_to
        links = [link for link in table(app, "link") if isinstance(link, str)]
        assert sorted(links) == sorted(link for (link,) in led_to)
        assert len(links) == len(table(app, "link")) - 1, "what a layer kept back has no checks"


class TestWhatAControlTookBack:
    def test_an_entry_that_a_pause_withdrew_is_its_own_and_goes_on_without_it(
        self, story: Story, sign_in: SignIn
    ) -> None:
        admin = sign_in("admin")
        assert story.ask("Alice trend daily", "IBM", qty="1").state == "ready"
        commands.pause_trading(admin, reason_code="news", reason="Fed decision")
        entries = recorded(admin)
        taken_back = [entry for entry in entries if entry.fate is Fate.WITHDRAWN]

        found = what_if(entries, Change(pauses=Controls.NONE), {})
        costs = cost_of_control(entries, {}, pause_spans(admin), [])

        assert [entry.symbol for entry in taken_back] == ["IBM"]
        assert [v.judged.entry.id for v in found.added] == [taken_back[0].id]
        assert ("pause", "PAUSED by admin@interlock.local: Fed decision") in {
            (cost.cause.kind, cost.cause.words) for cost in costs
        }
