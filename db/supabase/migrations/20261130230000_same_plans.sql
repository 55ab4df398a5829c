-- What an engine reads and reconciles takes the same time whatever the planner knows. Made from db/schema; the two build
-- the same database.

drop index public.orders_open_entries_of_owner;
-- What an owner's entries keep reserved, for the limits on exposure: what has ended keeps nothing.
create index orders_reserved on public.orders (owner_id, symbol) where reserved_usd > 0;

-- What some owners hold or are entering, in USD at cost. Keys: the owner's id for all of it,
-- the id and a sector for that sector.
create or replace function private.owners_usd(p_owners uuid[], p_config jsonb)
    returns jsonb
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (
        select jsonb_object_agg(x.key, x.usd)
        from (select e.owner_id || coalesce(e.sector, '') as key, sum(e.usd) as usd
              from (select n.owner_id, private.sector_of(p_config, n.symbol) as sector, n.cost_usd as usd
                    from public.positions n where n.owner_id = any (p_owners)
                    union all
                    select o.owner_id, private.sector_of(p_config, o.symbol), o.reserved_usd
                    from public.orders o
                    where o.owner_id = any (p_owners) and o.reserved_usd > 0) e
              group by grouping sets ((e.owner_id), (e.owner_id, e.sector))) x);
end;
$$;

-- Gather what the gate has to know about each request, all at once. The planner puts this text in place of the
-- call. What starting a query costs, not its rows, is the price of one entry: hence few tables in it, and what few
-- entries need behind functions, which cost nothing until they are called. `p_again`: an order that is there already
-- does not count against itself; `p_locked`, `p_overridden`: whether there is any lockout or override at all.
create or replace function private.snapshots_of(p_requests private.entry_request[], m private.gate_limits, p_config jsonb, p_usd jsonb,
                                     p_again boolean, p_locked boolean, p_overridden boolean, p_now timestamptz)
    returns table (place int, id uuid, profile_id uuid, symbol text, side public.order_side, asked_qty numeric, limit_price numeric,
                   reference_price numeric, stop_loss_price numeric, take_profit_price numeric, time_in_force text,
                   market_at timestamptz, signal jsonb, owner_id uuid, shard text, strategy text, snapshot private.gate_snapshot)
    language sql
    stable
as $$
    select r.position, r.id, r.profile_id, r.symbol, r.side, r.qty, r.limit_price, r.reference_price, r.stop_loss_price,
           r.take_profit_price, r.time_in_force, r.market_at, r.signal, f.owner_id, f.shard, f.strategy, row(
        k.mode, f.trading_mode, f.active, (q.lockout).expires_at, (q.lockout).reason,
        case when r.signal is not null then
            round((extract(epoch from r.market_at - (r.signal ->> 'bar_at')::timestamptz) / private.timeframe_s(f.timeframe) - 1)::numeric, 4) end,
        round(extract(epoch from r.market_at - r.quote_at)::numeric, 3),
        case when exists (select from public.orders o where o.symbol = r.symbol and o.state = 'unknown')
             then private.unknown_orders(r.symbol, r.id) else 0 end,
        case when exists (select from public.reconciliation_findings d where d.shard = f.shard and d.status = 'open')
             then private.open_breaks(f.shard, r.symbol) else 0 end,
        h.same_entries, k.stage_fraction, q.qty, r.limit_price, r.reference_price,
        -- A sale may bring more than its limit: what it opens is counted at the quote.
        round(q.qty * case r.side when 'sell' then greatest(r.limit_price, r.reference_price) else r.limit_price end, 6),
        h.entries, h.other_symbols, h.symbol_usd, q.sector,
        coalesce((p_usd ->> (f.owner_id || q.sector))::numeric, 0) - q.own_usd,
        coalesce((p_usd ->> f.owner_id::text)::numeric, 0) - q.own_usd,
        (select w.capital_usd from private.owner_capital w where w.owner_id = f.owner_id),
        c.capital_usd, c.reserved_usd - q.own_usd, c.used_usd, t.last_minute, t.last_day, t.repeats,
        greatest(0, coalesce((select d.equity_usd from public.equity_daily d
                              where d.profile_id = r.profile_id and d.session_date < (r.market_at at time zone 'America/New_York')::date
                              order by d.session_date desc limit 1), c.capital_usd) - h.equity_usd),
        greatest(0, round(1 - h.equity_usd / nullif(greatest(c.peak_equity_usd, c.capital_usd, h.equity_usd), 0), 6)),
        (select count(*) from (
            select from public.trades b
            where b.profile_id = r.profile_id and b.closed_at > greatest(r.market_at - m.loss_streak_window, (
                select w.closed_at from public.trades w
                where w.profile_id = r.profile_id and w.realized_pnl_usd >= 0 order by w.closed_at desc limit 1))
            limit m.streak_looked_at) z),
        exists (select from public.orders o
                where o.symbol = r.symbol and o.side = private.other_side(r.side) and o.order_type in ('limit', 'market')
                  and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled'))
            and private.crosses(r.id, r.symbol, r.side, r.limit_price, f.broker_account),
        r.market_open,
        case when m.asks_first_trade then private.is_first_trade(r.profile_id, r.symbol) end,
        k.staged,
        case when p_overridden then private.overrides_of(r.profile_id, r.symbol, p_now) end,
        m.order_qty_max, m.order_notional_max_usd, m.price_collar_pct, m.signal_bars_max,
        -- While the market is closed, its last quote is the newest there is, over a long weekend too.
        case when r.market_open is false and m.quote_age_max_s < 345600 then 345600 else m.quote_age_max_s end, m.open_orders_max,
        m.positions_max, m.position_notional_max_usd, m.sector_max_pct, m.gross_max_pct, m.orders_per_minute_max,
        m.orders_per_day_max, m.repeats_max, m.daily_loss_max_pct, m.drawdown_max_pct, m.loss_streak_max,
        m.entries_when_closed)::private.gate_snapshot
    from unnest(p_requests) r
    join public.profiles f on f.id = r.profile_id
    join public.profile_capital c on c.profile_id = r.profile_id
    cross join lateral (
        select max(t.mode) as mode, min(t.stage_fraction) filter (where t.stage_entries > 0) as stage_fraction,
               coalesce(bool_or(t.stage_fraction is null) filter (where t.stage_entries > 0), false) as staged
        from public.trading_controls t
        where t.scope = any ('{global,profile,symbol}') and t.scope_key = any (array['*', r.profile_id::text, r.symbol])
          and private.in_scope(t.scope, t.scope_key, r.profile_id, r.symbol)) k
    cross join lateral (
        select case when k.stage_fraction is null then r.qty
                    else trunc(r.qty * k.stage_fraction, case when r.qty = trunc(r.qty) then 0 else 9 end) end as qty,
               private.sector_of(p_config, r.symbol) as sector,
               case when p_again then private.reserved_by(r.id) else 0 end as own_usd,
               case when p_locked then private.lockout_at(r.symbol, r.side, r.profile_id, p_now) end as lockout offset 0) q
    cross join lateral (
        select count(*) filter (where y.is_entry) as entries,
               count(*) filter (where y.is_entry and y.symbol = r.symbol and y.is_long = (r.side = 'buy')) as same_entries,
               count(distinct y.symbol) filter (where y.symbol <> r.symbol) as other_symbols,
               coalesce(sum(y.usd) filter (where y.symbol = r.symbol), 0) as symbol_usd,
               c.capital_usd + c.realized_usd + coalesce(sum(y.unrealized_usd), 0) as equity_usd
        from ((select true as is_entry, o.symbol, o.position_side = 'long' as is_long, o.reserved_usd as usd, null::numeric as unrealized_usd
              from public.orders o
              where o.profile_id = r.profile_id and o.purpose = 'entry' and o.id <> r.id
                and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')
              order by o.symbol)
              union all
              select false, n.symbol, null, n.cost_usd, n.unrealized_pnl_usd
              from public.positions n where n.profile_id = r.profile_id) y) h
    cross join lateral (
        select count(*) as last_day,
               count(*) filter (where o.market_at > r.market_at - interval '1 minute') as last_minute,
               count(*) filter (where o.symbol = r.symbol and o.side = r.side and o.market_at > r.market_at - m.repeats_window) as repeats
        from (select b.market_at, b.symbol, b.side from public.orders b
              where b.profile_id = r.profile_id and b.purpose = 'entry' and b.state <> 'denied'
                and b.market_at > r.market_at - interval '1 day' and b.id <> r.id
              order by b.market_at desc limit coalesce(m.orders_per_day_max, 0) + 1) o) t
    offset 0;
$$;

-- The snapshots of some requests as the gate would judge them now, for those that only ask.
create or replace function private.gate_snapshots(p_requests private.entry_request[], p_config jsonb, p_now timestamptz)
    returns table (place int, profile_id uuid, snapshot private.gate_snapshot)
    language plpgsql
    stable
    set search_path = ''
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_sort = off
as $$
#variable_conflict use_column
declare
    m private.gate_limits := private.gate_limits_of(p_config);
    v_usd jsonb := private.owners_usd(array(select c.owner_id from public.profile_capital c
                                            where c.profile_id = any (array(select r.profile_id from unnest(p_requests) r))), p_config);
begin
    return query
        select s.place, s.profile_id, s.snapshot
        from private.snapshots_of(p_requests, m, p_config, v_usd, true, true, true, p_now) s;
end;
$$;

-- Judge and record some requests, all at once; answers what became of each. Of the call's first p_permits requests, those
-- that pass get their permit under p_lease. The caller holds the controls' shared lock, the owners' locks and the profiles'
-- capital rows, and has set how plans are made. What few entries need has statements of its own, for those that do.
create or replace function private.decide_wave(p_requests private.entry_request[], p_owners uuid[], p_risk public.risk_configs,
                                    p_locked boolean, p_overridden boolean, p_permits int, p_lease public.engine_leases)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set enable_sort = off  -- what is asked for in the order of an index is looked up there, however few orders seem to be open
as $$
declare
    v_now timestamptz := clock_timestamp();
    m private.gate_limits := p_risk.limits;
    v_usd jsonb := private.owners_usd(p_owners, p_risk.config);
    v_ttl interval := make_interval(secs => coalesce((p_risk.config #>> '{order_limits,permit_ttl_s}')::numeric, 10)::float8);
    v_answers jsonb;
    v_asking boolean;
    v_repeated boolean;
    v_staged boolean;
begin
    with judged as materialized (
        select s.*, private.judge(s.snapshot, m) as v, (s.snapshot).notional_usd as notional_usd,
               case when s.signal is not null then gen_random_uuid() end as signal_id
        from private.snapshots_of(p_requests, m, p_risk.config, v_usd, false, p_locked, p_overridden, v_now) s
    ), noted_signals as (
        insert into public.signals (id, owner_id, profile_id, symbol, side, strategy, strength, bar_at, detail, market_at, created_at)
        select d.signal_id, d.owner_id, d.profile_id, d.symbol, d.side, coalesce(d.signal ->> 'strategy', d.strategy),
               (d.signal ->> 'strength')::numeric, (d.signal ->> 'bar_at')::timestamptz,
               coalesce(d.signal -> 'detail', '{}'), d.market_at, v_now
        from judged d where d.signal_id is not null
    ), noted_decisions as (
        insert into public.decisions (order_id, owner_id, profile_id, symbol, side, outcome, code, snapshot, passed, config_version,
                                      market_at, created_at)
        select d.id, d.owner_id, d.profile_id, d.symbol, d.side, (d.v).outcome, (d.v).code, d.snapshot, (d.v).passed, p_risk.version,
               d.market_at, v_now
        from judged d
    ), reserved as (
        update public.profile_capital c
           set reserved_usd = c.reserved_usd + d.notional_usd, updated_at = v_now
          from judged d
         where c.profile_id = d.profile_id and (d.v).outcome <> 'denied'
           and c.reserved_usd + c.used_usd + d.notional_usd <= c.capital_usd
    ), noted_orders as (
        insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
            order_class, time_in_force, limit_price, take_profit_price, stop_loss_price, reference_price, notional_usd,
            reserved_usd, state, code, reason, signal_id, trade_id, market_at, created_at, updated_at, ended_at, ready_at,
            claimed_by, permit_token, submitted_at, permit_deadline)
        select d.id, d.owner_id, d.profile_id, d.shard, d.symbol, d.side,
               case d.side when 'buy' then 'long' else 'short' end::public.position_side, 'entry',
               case when (d.snapshot).qty > 0 then (d.snapshot).qty else d.asked_qty end, 'limit',
               case num_nonnulls(d.take_profit_price, d.stop_loss_price) when 2 then 'bracket' when 1 then 'oto' else 'simple' end,
               coalesce(d.time_in_force, 'gtc'), d.limit_price, d.take_profit_price, d.stop_loss_price,
               d.reference_price, d.notional_usd, case (d.v).outcome when 'denied' then 0 else d.notional_usd end,
               case when p.is_out then 'submitting' else (d.v).outcome end,
               (d.v).code, (d.v).reason, d.signal_id, d.id, d.market_at, v_now, v_now,
               case (d.v).outcome when 'denied' then v_now end, case (d.v).outcome when 'ready' then v_now end,
               case when p.is_out then p_lease.holder end, case when p.is_out then p_lease.token end,
               case when p.is_out then v_now end, case when p.is_out then v_now + v_ttl end
        from judged d
        cross join lateral (select (d.v).outcome = 'ready' and d.place <= p_permits as is_out) p
    )
    select jsonb_agg(jsonb_build_object('id', d.id, 'state', (d.v).outcome, 'code', (d.v).code, 'reason', (d.v).reason) order by d.place),
           bool_or((d.v).outcome = 'awaiting_approval'), bool_or((d.v).code = 'REPEATED_EXECUTION'),
           bool_or((d.v).outcome <> 'denied' and ((d.snapshot).staged or (d.snapshot).stage_fraction is not null))
      into v_answers, v_asking, v_repeated, v_staged
    from judged d;

    if v_asking then
        perform private.ask_approvals(array(select r.id from unnest(p_requests) r), p_risk, v_now);
    end if;
    if v_repeated then
        update public.profiles f
           set active = false, updated_at = v_now, disabled_reason = format('%s Switched off until an admin re-enables it.', o.reason)
          from unnest(p_requests) r join public.orders o on o.id = r.id
         where f.id = o.profile_id and o.code = 'REPEATED_EXECUTION';
    end if;
    if v_staged then
        update public.trading_controls t
           set stage_entries = t.stage_entries - 1
          from unnest(p_requests) r join public.orders o on o.id = r.id
         where t.stage_entries > 0 and o.state <> 'denied' and private.in_scope(t.scope, t.scope_key, o.profile_id, o.symbol);
    end if;
    return v_answers;
end;
$$;

-- What this schema is called and the oldest engine that may open positions on it. `schema` is the version of
-- the newest migration; raise `oldest_engine` where an older one would decide or record something wrongly.
-- Called by: an engine at its start.
create or replace function public.schema_version()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('schema', '20261130230000', 'oldest_engine', '0.2.0');
$$;

-- What an engine reads of its shard, and no more. As json, which is text from the start: to build whole rows as jsonb
-- takes several times as long. What is open is gone through once: while statistics are old, hardly anything seems to be,
-- and the planner would go through all of it again for each trade.
create or replace function private.brief_snapshot(p_shard text)
    returns json
    language plpgsql
    stable
    security definer
    set search_path = ''
    set enable_nestloop = off
as $$
begin
    return (
        with held as (
            select n.* from public.positions n join public.profiles f on f.id = n.profile_id where f.shard = p_shard
        ), told as (
            select json_agg(b order by o.created_at, o.id) filter (where o.is_ours) as orders,
                   json_agg(b order by o.created_at, o.id) filter (where not o.is_ours) as legs
              from (select true as is_ours, o.* from public.orders o
                     where o.shard = p_shard
                       and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')
                    union all
                    select false, o.* from held n join public.orders o on o.trade_id = n.trade_id
                     where o.shard <> p_shard and o.purpose in ('stop_loss', 'take_profit')
                       and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) o
             cross join lateral (select o.id, o.profile_id, o.symbol, o.side, o.purpose, o.qty, o.order_type, o.order_class,
                    o.time_in_force, o.state, o.trade_id, o.parent_id, o.limit_price, o.stop_price, o.take_profit_price,
                    o.stop_loss_price, o.broker_order_id, o.broker_status, o.filled_qty, o.market_at, o.broker_updated_at,
                    o.submitted_at, o.permit_deadline, o.cancel_requested_at, o.replaces_broker_id) b
        )
        select json_build_object(
            'profiles', (select coalesce(json_agg(b order by b.id), '[]') from (
                select f.id, f.name, f.strategy, f.symbols, f.params, f.timeframe, f.active, f.capital_usd
                  from public.profiles f where f.shard = p_shard) b),
            'trades', (select coalesce(json_agg(b order by b.opened_at, b.trade_id), '[]') from (
                select n.trade_id, n.profile_id, n.symbol, n.side, n.qty, n.avg_entry_price, n.mark_price, n.stop_price,
                       n.take_profit_price, n.opened_at, n.marked_at,
                       n.trade_id in (select o.trade_id from public.orders o where o.purpose = 'exit' and o.trade_id is not null
                                       and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) as exit_working
                  from held n) b),
            'orders', coalesce(t.orders, '[]'),
            'legs', coalesce(t.legs, '[]'),
            'risk_config', (select json_build_object('version', r.version, 'config', r.config)
                              from public.risk_configs r where r.active))
          from told t);
end;
$$;

-- What our books of all shards say the shard's broker account holds. Called by: the engine. Errors: LEASE_LOST.
create or replace function public.reconcile_books(p_shard text, p_token bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_account text := private.account_of(p_shard);  -- once: as a condition it would be asked for each profile
begin
    perform private.require_lease(p_shard, p_token);
    return (select coalesce(jsonb_object_agg(h.symbol, h.qty::text), '{}')
            from (select n.symbol, sum(case n.side when 'long' then n.qty else -n.qty end) as qty
                  from public.positions n join public.profiles f on f.id = n.profile_id
                  where f.broker_account = v_account group by n.symbol) h);
end;
$$;

create or replace function private.note_findings(p_shard text, p_run uuid, p_findings jsonb, p_now timestamptz)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_account text := private.account_of(p_shard);
    v_found public.reconciliation_findings[] := array(
        select distinct on (n.key) row(0, p_run, p_shard, n.key, n.kind, n.symbol, coalesce(n.detail, '{}'),
                   case when g.ignored then 'repaired' else coalesce(n.status, 'open') end, p_now, p_now, coalesce(n.severity, 'warning'),
                   case when g.ignored then 'Ignored, as the account''s policy says.' else coalesce(n.action, '') end,
                   coalesce(n.advice, ''), g.ignored)::public.reconciliation_findings
        from jsonb_to_recordset(p_findings) as n (key text, kind text, symbol text, detail jsonb, status text, severity text, action text, advice text)
        cross join lateral (select n.kind in ('ORDER_NOT_OURS', 'POSITION_MISMATCH')
            and (private.external_policy_of(v_account, n.symbol)).policy = 'ignore' as ignored) g);
begin
    update public.reconciliation_findings f
       set status = 'repaired', ignored = false, last_seen_at = p_now
     where f.shard = p_shard and (f.status = 'open' or f.ignored)
       and not exists (select 1 from unnest(v_found) n where n.key = f.key and (n.status = 'open' and f.status = 'open' or n.ignored and f.ignored));
    insert into public.reconciliation_findings as f (run_id, shard, key, kind, symbol, detail, status, first_seen_at, last_seen_at,
                                                     severity, action, advice, ignored)
    select n.run_id, n.shard, n.key, n.kind, n.symbol, n.detail, n.status, p_now, p_now, n.severity, n.action, n.advice, n.ignored
    from unnest(v_found) n
    where n.status = 'open' or n.ignored and not exists (select 1 from public.reconciliation_findings f where f.shard = p_shard and f.key = n.key and f.ignored)
          or n.status = 'repaired' and not n.ignored
    on conflict (shard, key) where status = 'open' do update
        set last_seen_at = p_now, detail = excluded.detail, run_id = excluded.run_id, severity = excluded.severity,
            action = excluded.action, advice = excluded.advice
        where (f.detail, f.severity, f.action, f.advice) is distinct from (excluded.detail, excluded.severity, excluded.action, excluded.advice);
end;
$$;
