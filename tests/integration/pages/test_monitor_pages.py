"""The monitor pages as each role finds them, over a real database, and what a click does there."""

import psycopg
import pytest
from streamlit.testing.v1 import AppTest

from db import commands
from tests.integration.pages.conftest import OpenPage
from tests.integration.pages.test_operate_pages import keys, shown, told
from tests.support.clients import SignIn
from tests.support.story import Story

OVERVIEW, POSITIONS, ORDERS, TRADES, PERFORMANCE = (
    f"monitor/{name}.py" for name in ("overview", "positions", "orders", "trades", "performance")
)
PAGES = (OVERVIEW, POSITIONS, ORDERS, TRADES, PERFORMANCE)


def figure(app: AppTest, label: str) -> str:
    return next(metric.value for metric in app.metric if metric.label == label)


def one(db: psycopg.Connection, query: str) -> str:
    row = db.execute(query).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("name", ["admin", "operator", "alice"])
def test_every_page_stands_for_every_role(name: str, story: Story, open_page: OpenPage) -> None:
    for page in PAGES:
        app = open_page(name, page)

        assert not app.exception, page
        assert not app.error, page
        assert {info.value for info in app.info} <= {"No engine has told of its jobs yet."}, page
        assert all(metric.help for metric in app.metric), "every figure says how it is worked out"


def test_every_page_says_so_when_there_is_nothing(clean_db: psycopg.Connection, open_page: OpenPage) -> None:
    for page in PAGES:
        app = open_page("alice", page)

        assert not app.exception, page
        assert not app.error, page
        assert app.info, page


class TestOverview:
    def test_exposure_and_risk_are_said_in_words(self, story: Story, open_page: OpenPage) -> None:
        text = shown(open_page("alice", OVERVIEW))

        assert "limit $40,000.00" in text
        assert "% to the stop" in text

    def test_figures_that_renew_themselves_begin_with_what_the_page_has_read(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("alice", OVERVIEW)

        assert figure(app, "Open positions") == one(
            db, "select count(*) from positions p join profiles f on f.id = p.profile_id where f.name like 'Alice%'"
        )

    def test_a_profile_that_was_renamed_has_its_new_name_in_the_next_run(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("alice", PERFORMANCE)
        db.execute("update profiles set name = 'Alice anew' where name = 'Alice trend daily'")

        app.run()

        assert "Alice anew" in app.multiselect(key="performance_profile").options
        assert "Alice trend daily" not in app.multiselect(key="performance_profile").options

    def test_jobs_of_a_silent_engine_are_unknown(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        db.execute(
            "update engine_heartbeats set beat_at = clock_timestamp() - interval '90 seconds',"
            """ jobs = '{"submit": {"healthy": true, "age_s": 1, "limit_s": 10, "runs": 1, "failures": 0}}'"""
        )

        app = open_page("admin", OVERVIEW)

        assert "The engine is silent" in app.warning[0].value
        assert figure(app, "Engine") == "STALE"
        assert "? unknown" in str(app.dataframe[-1].value.to_dict())


class TestPositions:
    def close(self, app: AppTest, db: psycopg.Connection, why: str) -> str:
        trade = keys(app, "close_")[0].removeprefix("close_")
        app.text_input(key=f"close_why_{trade}").set_value(why)
        app.button(key=f"close_{trade}").click().run()
        return trade

    def test_an_operator_closes_one_and_is_told_what_comes_next(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("operator", POSITIONS)

        trade = self.close(app, db, "Earnings tonight")

        assert db.execute(
            "select trade_id::text, state::text, exit_reason, reason from orders where purpose = 'exit'"
        ).fetchall() == [(trade, "ready", "manual", "Closed by operator@interlock.local: Earnings tonight")]
        assert "the engine closes" in told(app)
        assert "Ready" in str(app.dataframe[0].value["exit"].tolist())

    def test_nothing_happens_without_a_reason(self, story: Story, open_page: OpenPage, db: psycopg.Connection) -> None:
        app = open_page("admin", POSITIONS)

        self.close(app, db, " ")

        assert "Say why the position is closed" in told(app)
        assert db.execute("select count(*) from orders where purpose = 'exit'").fetchone() == (0,)

    def test_a_second_exit_is_refused_in_plain_words(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("admin", POSITIONS)
        self.close(app, db, "Once")

        self.close(app, db, "Twice")

        assert "An exit of this trade is already under way." in told(app)
        assert "Orders shows how far it is." in told(app)

    def test_an_analyst_is_not_offered_to_close(self, story: Story, open_page: OpenPage) -> None:
        assert keys(open_page("alice", POSITIONS), "close_") == []

    def test_owners_are_named_to_those_who_may_know_them(self, story: Story, open_page: OpenPage) -> None:
        owners = open_page("admin", POSITIONS).dataframe[0].value["owner"]

        assert set(owners) <= {"alice@interlock.local", "bob@interlock.local"}
        assert set(open_page("operator", POSITIONS).dataframe[0].value["owner"]) == {""}


class TestOrders:
    def test_the_address_opens_one_order_with_its_life(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("admin", ORDERS)
        app.query_params["order"] = one(
            db, "select id from orders where state = 'filled' and purpose = 'entry' limit 1"
        )

        app.run()

        text = shown(app)
        for stage in ("Signal", "Gate", "Ready to send", "Sent", "Accepted", "First fill", "Ended"):
            assert f"<td>{stage}<br>" in text
        assert "What the gate judged" in text

    def test_an_order_of_somebody_else_is_not_there(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        app = open_page("alice", ORDERS)
        app.query_params["order"] = one(
            db, "select o.id from orders o join profiles p on p.id = o.profile_id where p.name like 'Bob%' limit 1"
        )

        app.run()

        assert "There is no such order among those that you may see" in told(app)


class TestTrades:
    def test_a_day_shows_the_trades_that_were_closed_on_it(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        day, number = db.execute(
            "select (closed_at at time zone 'America/New_York')::date as day, count(*) from trades"
            " where closed_at is not null group by 1 order by 2 desc, 1 limit 1"
        ).fetchone() or (None, 0)
        app = open_page("admin", TRADES)

        app.date_input(key="trades_day").set_value(day).run()

        closed = app.dataframe[0].value["closed_at"].dt.tz_convert("America/New_York").dt.date
        assert len(closed) == number
        assert set(closed) == {day}

    def test_figures_are_those_of_all_that_match(
        self, story: Story, open_page: OpenPage, db: psycopg.Connection
    ) -> None:
        (result,) = db.execute("select sum(realized_pnl_usd) from trades where closed_at is not null").fetchone() or ()

        app = open_page("admin", TRADES)

        assert figure(app, "Result").replace("+", "").replace("$", "").replace(",", "") == f"{result:.2f}"
        assert {"Held", "In risks", "Went for it", "Went against it", "Kept"} <= {m.label for m in app.metric}


class TestPerformance:
    def test_a_profile_and_a_benchmark_can_be_chosen(self, story: Story, open_page: OpenPage) -> None:
        app = open_page("admin", PERFORMANCE)
        whole = figure(app, "Result")

        app.multiselect(key="performance_profile").set_value(["Alice trend daily"]).run()
        app.selectbox(key="performance_benchmark").set_value("IBM").run()

        assert not app.exception
        assert not app.error
        assert figure(app, "Result") != whole
        assert figure(app, "Beta") != "–"

    def test_every_day_of_the_month_leads_to_its_trades(self, story: Story, open_page: OpenPage) -> None:
        text = shown(open_page("alice", PERFORMANCE))

        assert text.count("/trades?trades_day=2007-02-") >= 5

    def test_the_split_follows_the_choice(self, story: Story, open_page: OpenPage) -> None:
        app = open_page("admin", PERFORMANCE)

        app.segmented_control(key="performance_by").set_value("Symbol").run()

        assert set(app.dataframe[-1].value["name"]) == {"AAPL", "IBM", "GOOG"}


def test_a_forgotten_pause_is_drawn_on_the_curve(story: Story, open_page: OpenPage, sign_in: SignIn) -> None:
    commands.pause_trading(sign_in("admin"), reason="News")
    commands.create_lockout(sign_in("operator"), ticker="IBM", reason="Rumour")
    story.tell(sessions=2)

    app = open_page("admin", OVERVIEW)

    captions = [caption.value for caption in app.caption]
    assert any("Shaded: trading was paused." in text and "locked out" in text for text in captions)
