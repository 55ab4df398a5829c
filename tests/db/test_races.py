"""Races, really raced: capital, permits against pause, claims, approvals of the same request."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import sleep
from uuid import uuid4

from db import commands
from db.client import engine_client


class TestCapital:
    def test_thirty_two_rivals_never_get_more_than_the_capital_allows(self, engine, env, db):
        alice = engine.profiles["Alice trend daily"]
        db.execute(
            "update profiles set symbols = (select array_agg('S' || n) from generate_series(1, 32) n) where id = %s",
            (alice,),
        )
        db.execute(
            "update risk_configs set config = jsonb_set(jsonb_set(config,"
            " '{position_limits,positions_max}', '100'), '{position_limits,open_orders_max}', '100') where active"
        )
        clients = [engine_client(env["SUPABASE_URL"], env["SUPABASE_SECRET_KEY"]) for _ in range(8)]

        def rival(n: int):
            request = engine.entry(symbol=f"S{n}", qty="25", limit_price="100", reference_price="100")
            return commands.request_entries(clients[n % 8], shard="main", token=engine.token, requests=[request])[0]

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(rival, range(1, 33)))

        assert sum(a.state == "ready" for a in answers) == 10  # 25,000 / 2,500
        assert {a.code for a in answers if a.state == "denied"} == {"CAPITAL_INSUFFICIENT"}
        assert db.execute("select reserved_usd from profile_capital where profile_id = %s", (alice,)).fetchone() == (
            25000,
        )


class TestPauseAgainstSenders:
    def test_no_permit_is_issued_after_a_pause_commits(self, engine, env, sign_in, db):
        admin = sign_in("admin")
        clients = [engine_client(env["SUPABASE_URL"], env["SUPABASE_SECRET_KEY"]) for _ in range(4)]
        stop = Event()

        def sender(n: int) -> None:
            profile = list(engine.profiles)[n]
            while not stop.is_set():
                commands.request_entries(
                    clients[n], shard="main", token=engine.token, requests=[engine.entry(profile, symbol="AAPL")]
                )
                for order in commands.claim_orders(clients[n], shard="main", token=engine.token):
                    commands.record_submission(
                        clients[n],
                        shard="main",
                        token=engine.token,
                        results=[{"id": str(order.id), "outcome": "not_sent"}],
                    )

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(sender, n) for n in range(4)]
            for turn in range(12):
                sleep(0.03)
                commands.pause_trading(admin, reason=f"Turn {turn}", request_id=uuid4())
                sleep(0.03)
                commands.resume_trading(admin, reason=f"Turn {turn}", request_id=uuid4())
            stop.set()
            for future in running:
                future.result()

        assert db.execute("select count(*) from orders where submitted_at is not null").fetchone()[0] > 20
        late = db.execute("""
            select count(*) from orders o
            join trading_control_events p on p.to_mode = 'PAUSED'
            join trading_control_events r on r.version = p.version + 1
            where o.submitted_at > p.changed_at and o.submitted_at < r.changed_at""").fetchone()
        assert late == (0,)


class TestClaims:
    def test_each_order_is_claimed_by_exactly_one_of_many(self, engine, env):
        asked = engine.ask(*(engine.entry(p, symbol=s) for p in engine.profiles for s in ("AAPL", "IBM", "GOOG")))
        clients = [engine_client(env["SUPABASE_URL"], env["SUPABASE_SECRET_KEY"]) for _ in range(4)]

        with ThreadPoolExecutor(4) as pool:
            claims = pool.map(
                lambda c: commands.claim_orders(c, shard="main", token=engine.token, limit=2), clients * 4
            )

        claimed = [order.id for claim in claims for order in claim]
        assert sorted(claimed) == sorted(a.id for a in asked if a.state == "ready")


class TestRepeats:
    def test_one_request_sent_eight_times_at_once_acts_once(self, engine, env, sign_in, db):
        admin, request_id = sign_in("admin"), uuid4()

        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda _: commands.pause_trading(admin, reason="Once", request_id=request_id), range(8))
            )

        assert all(a == answers[0] for a in answers)
        assert db.execute("select count(*) from trading_control_events where to_mode = 'PAUSED'").fetchone() == (1,)
