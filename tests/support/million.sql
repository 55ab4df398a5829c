-- A million orders and what goes with them, for million.py, which puts numbers in the place of :names.
-- A block is three orders: an entry with its two legs, or three denied entries. The newest blocks are
-- open: legs that work, and entries that wait for a person.

create function pg_temp.id(n bigint) returns uuid language sql immutable return lpad(to_hex(n), 32, '0')::uuid;

create temp table block as
select b, pg_temp.id(3 * b) as id, p.id as profile, p.owner, b % 3 = 0 as denied, b > :blocks - :profiles as open,
       (array['AAPL', 'MSFT', 'IBM', 'GOOG', 'FB'])[1 + (b / :profiles) % 5] as symbol,
       timestamptz ':first_day' + b * interval '180 s' as at
from generate_series(0, :blocks) b
join (select n, pg_temp.id(1000 + n) as id, pg_temp.id(10 + n % 10) as owner from generate_series(0, :profiles - 1) n
      union all select 99, pg_temp.id(1099), pg_temp.id(99)) p
    on p.n = case when b % :small_every = 0 then 99 else b % :profiles end
order by b;

create unique index on block (b);

analyze block;

insert into members (user_id, email, role)
select pg_temp.id(n), 'person' || n || '@example.org',
       case n when 1 then 'admin' when 2 then 'operator' else 'analyst' end::member_role
from (select unnest(array[1, 2, 99]) union all select generate_series(10, 19)) as m (n);

insert into profiles (id, owner_id, name, strategy, symbols, capital_usd)
select pg_temp.id(n), pg_temp.id(case n when 1099 then 99 else 10 + (n - 1000) % 40 % 10 end), 'Profile ' || n, 'trend',
       array['AAPL', 'MSFT', 'IBM', 'GOOG', 'FB'], 100000
from (select generate_series(1000, 1039) union all select 1099) as p (n);

insert into orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type, order_class,
    limit_price, stop_price, reference_price, notional_usd, state, code, reason, signal_id, trade_id, parent_id,
    broker_order_id, broker_status, filled_qty, filled_avg_price, market_at, created_at, updated_at, ended_at)
select n.id, b.owner, b.profile, 'main', b.symbol, 'buy', 'long', 'entry', 10, 'limit', 'simple', 100, null, 100, 1000,
       w.state, case w.state when 'denied' then 'PRICE_COLLAR' end, case w.state when 'denied' then 'Too far from the quote.' end,
       n.id, n.id, null, null, null, 0, null, b.at, b.at + k * interval '1 s', b.at, b.at
from block b cross join generate_series(0, 2) k
cross join lateral (select case when b.open and k = 0 then 'awaiting_approval' else 'denied' end::order_state as state) w
cross join lateral (select pg_temp.id(3 * b.b + k) as id) n
where b.denied and 3 * b.b + k < :orders;

insert into orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type, order_class,
    limit_price, stop_price, reference_price, notional_usd, state, code, reason, signal_id, trade_id, parent_id,
    broker_order_id, broker_status, filled_qty, filled_avg_price, market_at, created_at, updated_at, ended_at)
select pg_temp.id(3 * b.b + leg.k), b.owner, b.profile, 'main', b.symbol, leg.side, 'long', leg.purpose, 10, leg.type, 'bracket',
       100, null, 100, 1000, case when b.open then leg.open_state else leg.end_state end, null, null,
       case leg.k when 0 then b.id end, b.id, case when leg.k > 0 then b.id end, 'broker-' || (3 * b.b + leg.k), 'new',
       case when (case when b.open then leg.open_state else leg.end_state end) = 'filled' then 10 else 0 end, 100,
       b.at, b.at + leg.k * interval '1 s', b.at, b.at
from block b cross join (values
    (0, 'buy'::order_side, 'entry'::order_purpose, 'limit', 'filled'::order_state, 'filled'::order_state),
    (1, 'sell', 'take_profit', 'limit', 'filled', 'working'),
    (2, 'sell', 'stop_loss', 'stop', 'canceled', 'working')) as leg (k, side, purpose, type, end_state, open_state)
where not b.denied and 3 * b.b + leg.k < :orders;

insert into order_events (order_id, owner_id, from_state, to_state, at)
select o.id, o.owner_id, null, case when o.state = 'denied' then 'denied' else 'ready' end::order_state, o.created_at from orders o;

insert into order_events (order_id, owner_id, from_state, to_state, at)
select o.id, o.owner_id, 'ready', o.state, o.created_at from orders o where o.state <> 'denied';

insert into decisions (order_id, owner_id, profile_id, symbol, side, outcome, code, checks, inputs, config_version,
                          market_at, created_at)
select o.id, o.owner_id, o.profile_id, o.symbol, o.side, case o.state when 'denied' then 'denied' else 'ready' end::order_state,
       o.code, '[{"name": "PRICE_COLLAR", "limit": 0.05, "observed": 0.06, "passed": false}]',
       '{"mode": "RUNNING", "qty": 10, "limit_price": 100}', 1, o.market_at, o.created_at
from orders o where o.purpose = 'entry';

insert into signals (id, owner_id, profile_id, symbol, side, strategy, bar_at, market_at, created_at)
select o.signal_id, o.owner_id, o.profile_id, o.symbol, o.side, 'trend', o.market_at, o.market_at, o.created_at
from orders o where o.purpose = 'entry';

insert into trades (id, owner_id, profile_id, symbol, position_side, qty_entered, entry_notional_usd, qty_exited,
                    exit_notional_usd, realized_pnl_usd, exit_reason, opened_at, closed_at, recorded_at)
select b.id, b.owner, b.profile, b.symbol, 'long', 10, 1000, case when b.open then 0 else 10 end,
       case when b.open then 0 else 1010 end, case when b.open then 0 else 10 end,
       case when b.b % 2 = 0 then 'take_profit' else 'stop_loss' end, b.at,
       case when not b.open then b.at + interval '1 hour' end, b.at
from block b where not b.denied;

select private.rebuild_trade_months();

insert into fills (order_id, trade_id, owner_id, profile_id, symbol, side, purpose, qty, price, cumulative_qty,
                   executed_at, recorded_at)
select o.id, o.trade_id, o.owner_id, o.profile_id, o.symbol, o.side, o.purpose, 10, 100, 10, o.created_at, o.created_at
from orders o where o.state = 'filled';

insert into positions (trade_id, owner_id, profile_id, symbol, side, qty, avg_entry_price, cost_usd, mark_price,
                       unrealized_pnl_usd, opened_at)
select t.id, t.owner_id, t.profile_id, t.symbol, 'long', 10, 100, 1000, 101, 10, t.opened_at
from trades t where t.closed_at is null;

update orders set reserved_usd = notional_usd where state = 'awaiting_approval';

insert into profile_capital (profile_id, owner_id, capital_usd, reserved_usd, used_usd)
select p.id, p.owner_id, p.capital_usd,
       coalesce((select sum(o.reserved_usd) from orders o where o.profile_id = p.id and o.state = 'awaiting_approval'), 0),
       coalesce((select sum(n.cost_usd) from positions n where n.profile_id = p.id), 0)
from profiles p;

insert into private.owner_capital (owner_id, capital_usd)
select p.owner_id, sum(p.capital_usd) from profiles p group by p.owner_id
on conflict (owner_id) do update set capital_usd = excluded.capital_usd;

insert into engine_heartbeats (shard, holder, token, started_at, beat_at, market_at)
values ('main', 'engine', 0, now(), now(), now());

insert into equity_snapshots (profile_id, market_at, owner_id, session_date, equity_usd, cash_usd, exposure_usd,
                              realized_usd, unrealized_usd, recorded_at)
select p.id, d.day + k * interval '30 min', p.owner_id, d.day::date, 100000 + n, 90000, 10000, n, 0, d.day + k * interval '30 min'
from generate_series(1, 500) n cross join generate_series(1, 13) k cross join profiles p
cross join lateral (select timestamptz '2024-11-01 14:00Z' + n * interval '1 day' as day) d
order by 2, 1;

insert into equity_daily (session_date, profile_id, owner_id, market_at, equity_usd, cash_usd, exposure_usd,
                          realized_usd, unrealized_usd)
select distinct on (s.session_date, s.profile_id) s.session_date, s.profile_id, s.owner_id, s.market_at, s.equity_usd,
       s.cash_usd, s.exposure_usd, s.realized_usd, s.unrealized_usd
from equity_snapshots s order by s.session_date, s.profile_id, s.market_at desc;

insert into equity_daily_totals (session_date, owner_id, shard, market_at, equity_usd, cash_usd, exposure_usd, realized_usd,
                                 unrealized_usd, profiles)
select d.session_date, d.owner_id, p.shard, max(d.market_at), sum(d.equity_usd), sum(d.cash_usd), sum(d.exposure_usd),
       sum(d.realized_usd), sum(d.unrealized_usd), count(*)
from equity_daily d join profiles p on p.id = d.profile_id group by 1, 2, 3;

insert into audit_log (tenant, at, actor, actor_email, actor_role, action, target, outcome, reason, prev_hash, hash)
select case b.b % 4 when 0 then b.owner else pg_temp.id(0) end, b.at, pg_temp.id(1 + b.b % 2), 'person@example.org',
       'admin', 'pause_trading', 'global:*', 'done', 'Check', sha256(int8send(b.b)), sha256(int8send(b.b + 1))
from block b where b.b < 100000;

insert into private.audit_chain_heads (tenant, hash, length)
select a.tenant, (array_agg(a.hash order by a.id desc))[1], count(*) from audit_log a group by a.tenant;

insert into trading_control_events (scope, scope_key, from_mode, to_mode, version, reason_code, reason, changed_by_email,
                                    changed_at, entries_canceled, entries_in_flight)
select 'global', '*', case n % 2 when 0 then 'PAUSED' else 'RUNNING' end::control_mode,
       case n % 2 when 0 then 'RUNNING' else 'PAUSED' end::control_mode, n, 'manual', 'Check', 'person1@example.org',
       b.at, 0, 0
from generate_series(1, 20000) n join block b on b.b = n * 15;

insert into operator_approvals (order_id, owner_id, profile_id, symbol, side, qty, limit_price, reference_price, notional_usd,
    trading_mode, reasons, shown_hash, status, config_version, requested_at, expires_at, decided_at)
select b.id, b.owner, b.profile, b.symbol, 'buy', 10, 100, 100, 1000, 'live', array['mode'], 'hash',
       case when b.open then 'pending' else 'approved' end::approval_status, 1, b.at,
       case when b.open then now() + interval '1 day' else b.at + interval '15 min' end, case when not b.open then b.at end
from block b where b.open and b.denied or b.b % 4 = 0 and not b.open and not b.denied;

insert into symbol_lockouts (ticker, profile_id, owner_id, lockout_type, reason, starts_at, expires_at, created_by_email)
select b.symbol, case b.b % 12 when 0 then b.profile end, case b.b % 12 when 0 then b.owner end, 'cooldown', 'After a loss',
       b.at, case when b.open then now() + interval '1 hour' else b.at + interval '10 min' end, 'engine'
from block b where b.b % 6 = 0;

insert into gate_overrides (profile_id, owner_id, code, reason, granted_by, granted_by_email, starts_at, expires_at)
select b.profile, b.owner, 'PRICE_COLLAR', 'Once', pg_temp.id(1), 'person1@example.org', b.at, b.at + interval '10 min'
from block b where b.b % 15 = 0;

insert into reconciliation_runs (id, shard, kind, started_at, finished_at, orders_checked, positions_checked, findings)
select b.id, 'main', 'incremental', b.at, b.at, 10, 10, 0 from block b where b.b % 2 = 0;

insert into reconciliation_findings (run_id, shard, key, kind, symbol, status, first_seen_at, last_seen_at)
select b.id, 'main', 'key-' || b.b, 'ORDER_MISSING', b.symbol, case when b.open then 'open' else 'repaired' end, b.at, b.at
from block b where b.b % 6 = 0;

insert into price_bars (symbol, timeframe, bar_at, open, high, low, close, volume)
select s, '5Min', timestamptz '2024-11-01 14:00Z' + n * interval '5 min', 100, 101, 99, 100, 1000
from unnest(array['AAPL', 'MSFT', 'IBM', 'GOOG', 'FB']) s cross join generate_series(1, 40000) n;

insert into price_bars (symbol, timeframe, bar_at, open, high, low, close, volume)
select s, '1Day', timestamptz '2024-11-01 05:00Z' + n * interval '1 day', 100, 101, 99, 100, 1000
from unnest(array['AAPL', 'MSFT', 'IBM', 'GOOG', 'FB']) s cross join generate_series(1, 500) n;
