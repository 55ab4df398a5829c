-- Entries: how a request becomes a snapshot, is judged, and becomes an order.

-- The entries of one owner, and those of one broker account, are judged one call at a time, whichever engines ask:
-- exposures add up, and orders may not meet. Taken before the controls' lock, so that no pause waits for the queue.
create function private.lock_gate(p_profiles uuid[])
    returns void
    language sql
    volatile
    set search_path = ''
as $$
    select pg_advisory_xact_lock(7203, o.key)
    from (select hashtext(f.owner_id::text) as key from public.profiles f where f.id = any (p_profiles)
          union select hashtext('account ' || f.broker_account) from public.profiles f where f.id = any (p_profiles)
          order by 1) o;
$$;

create function private.timeframe_s(p_timeframe text)
    returns int
    language sql
    immutable
as $$
    select case p_timeframe when '5Min' then 300 when '15Min' then 900 when '30Min' then 1800 when '1Hour' then 3600 else 86400 end;
$$;

create function private.sector_of(p_config jsonb, p_symbol text)
    returns text
    language sql
    immutable
as $$
    select coalesce(p_config #>> array['sector_exposure', 'sectors', p_symbol], 'other');
$$;

-- What the owners' profiles hold or are entering, in USD at cost, by sector.
create function private.sector_exposures(p_owners uuid[], p_config jsonb)
    returns table (of_owner uuid, of_sector text, exposure_usd numeric)
    language plpgsql
    stable
    set search_path = ''
    set plan_cache_mode = force_generic_plan
as $$
begin
    return query
        select e.owner_id, private.sector_of(p_config, e.symbol), sum(e.usd)
        from (select n.owner_id, n.symbol, n.cost_usd as usd from public.positions n where n.owner_id = any (p_owners)
              union all
              select f.owner_id, o.symbol, o.reserved_usd from public.profiles f
              join public.orders o on o.profile_id = f.id and o.purpose = 'entry'
                   and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')
              where f.owner_id = any (p_owners)) e
        group by 1, 2;
end;
$$;

-- The same over all sectors, beside the owner's whole capital.
create function private.gross_exposures(p_owners uuid[])
    returns table (of_owner uuid, exposure_usd numeric, owner_capital_usd numeric)
    language plpgsql
    stable
    set search_path = ''
    set plan_cache_mode = force_generic_plan
as $$
begin
    return query
        select c.owner_id, sum(c.reserved_usd + c.used_usd), sum(c.capital_usd)
        from public.profile_capital c where c.owner_id = any (p_owners) group by c.owner_id;
end;
$$;

-- Gather what the gate has to know about each request, all at once. A request's own order, when it is
-- judged again, does not count against it.
create function private.gate_snapshots(p_requests private.entry_request[], p_config jsonb, p_now timestamptz)
    returns table (n int, snapshot private.gate_snapshot)
    language plpgsql
    stable
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan it afresh costs more than to run it
as $$
begin
    return query
        with asked as materialized (
            select r.*, f.owner_id, f.shard, f.trading_mode, f.active, f.timeframe, f.broker_account,
                   c.capital_usd, c.used_usd, c.realized_usd, c.peak_equity_usd,
                   c.reserved_usd - coalesce((select w.reserved_usd from public.orders w where w.id = r.id), 0) as reserved_usd,
                   coalesce((select w.reserved_usd from public.orders w where w.id = r.id), 0) as own_usd,
                   case r.side when 'buy' then 'long' else 'short' end::public.position_side as position_side,
                   private.sector_of(p_config, r.symbol) as sector, k.mode, k.stage_fraction, k.staged,
                   case when k.stage_fraction is null then r.qty
                        else trunc(r.qty * k.stage_fraction, case when r.qty = trunc(r.qty) then 0 else 9 end) end as staged_qty
            from unnest(p_requests) r
            join public.profiles f on f.id = r.profile_id
            join public.profile_capital c on c.profile_id = r.profile_id
            cross join lateral (
                select max(t.mode) as mode, min(t.stage_fraction) filter (where t.stage_entries > 0) as stage_fraction,
                       coalesce(bool_or(t.stage_fraction is null) filter (where t.stage_entries > 0), false) as staged
                from public.trading_controls t
                where (t.scope = 'global' and t.scope_key = '*') or (t.scope = 'profile' and t.scope_key = r.profile_id::text)
                   or (t.scope = 'symbol' and t.scope_key = r.symbol)) k
        ), gross as materialized (
            select * from private.gross_exposures(array(select distinct a.owner_id from asked a))
        ), sectors as materialized (
            select * from private.sector_exposures(array(select distinct a.owner_id from asked a), p_config)
        ), limits as materialized (
            select (p_config #>> '{order_limits,qty_max}')::numeric as order_qty_max,
                   (p_config #>> '{order_limits,notional_max_usd}')::numeric as order_notional_max_usd,
                   (p_config #>> '{order_limits,price_collar_pct}')::numeric as price_collar_pct,
                   (p_config #>> '{order_limits,signal_bars_max}')::numeric as signal_bars_max,
                   (p_config #>> '{order_limits,quote_age_max_s}')::numeric as quote_age_max_s,
                   (p_config #>> '{position_limits,open_orders_max}')::int as open_orders_max,
                   (p_config #>> '{position_limits,positions_max}')::int as positions_max,
                   (p_config #>> '{position_limits,position_notional_max_usd}')::numeric as position_notional_max_usd,
                   (p_config #>> '{sector_exposure,max_pct}')::numeric as sector_max_pct,
                   (p_config #>> '{gross_exposure,max_pct}')::numeric as gross_max_pct,
                   (p_config #>> '{order_rate,per_minute_max}')::int as orders_per_minute_max,
                   (p_config #>> '{order_rate,per_day_max}')::int as orders_per_day_max,
                   (p_config #>> '{order_rate,repeats_max}')::int as repeats_max,
                   make_interval(secs => coalesce((p_config #>> '{order_rate,repeats_window_s}')::float8, 3600)) as repeats_window,
                   (p_config #>> '{loss_limits,daily_loss_max_pct}')::numeric as daily_loss_max_pct,
                   (p_config #>> '{loss_limits,drawdown_max_pct}')::numeric as drawdown_max_pct,
                   (p_config #>> '{loss_limits,loss_streak_max}')::int as loss_streak_max,
                   make_interval(secs => 86400 * coalesce((p_config #>> '{loss_limits,loss_streak_days}')::float8, 5)) as loss_streak_window,
                   coalesce((p_config #>> '{operator_approval,after_loss_streak}')::int, 0) as after_loss_streak,
                   (p_config #>> '{operator_approval,first_trade_in_symbol}')::boolean as asks_first_trade,
                   (p_config #>> '{market_hours,entries_when_closed}')::boolean as entries_when_closed
        )
        select a.position, row(
            a.mode, a.trading_mode, a.active, l.expires_at, l.reason,
            case when a.signal is not null then
                round((extract(epoch from a.market_at - (a.signal ->> 'bar_at')::timestamptz) / private.timeframe_s(a.timeframe) - 1)::numeric, 4) end,
            round(extract(epoch from a.market_at - a.quote_at)::numeric, 3),
            (select count(*) from public.orders o where o.symbol = a.symbol and o.state = 'unknown' and o.id <> a.id),
            (select count(*) from public.reconciliation_findings d
             where d.shard = a.shard and d.status = 'open' and coalesce(d.symbol, a.symbol) = a.symbol),
            e.same_entries, a.stage_fraction, a.staged_qty, a.limit_price, a.reference_price, round(a.staged_qty * a.limit_price, 6),
            e.entries,
            (select count(distinct y.symbol) from unnest(e.symbols || h.symbols) y (symbol) where y.symbol <> a.symbol),
            e.symbol_reserved + h.symbol_cost, a.sector, coalesce(x.exposure_usd, 0) - a.own_usd, g.exposure_usd - a.own_usd, g.owner_capital_usd,
            a.capital_usd, a.reserved_usd, a.used_usd, t.last_minute, t.last_day, t.repeats,
            greatest(0, coalesce((select d.equity_usd from public.equity_daily d
                                  where d.profile_id = a.profile_id and d.session_date < (a.market_at at time zone 'America/New_York')::date
                                  order by d.session_date desc limit 1), a.capital_usd) - q.equity_usd),
            greatest(0, round(1 - q.equity_usd / nullif(greatest(a.peak_equity_usd, a.capital_usd, q.equity_usd), 0), 6)),
            (select count(*) from (select bool_and(r.realized_pnl_usd < 0) over (order by r.closed_at desc, r.id) as losing from (
                select b.id, b.realized_pnl_usd, b.closed_at from public.trades b
                where b.profile_id = a.profile_id and b.closed_at > a.market_at - m.loss_streak_window
                order by b.closed_at desc, b.id limit greatest(m.loss_streak_max, m.after_loss_streak, 1)) r) s where s.losing),
            exists (select 1 from public.orders o join public.profiles p on p.id = o.profile_id
                    where o.symbol = a.symbol and o.side <> a.side and o.id <> a.id and p.broker_account = a.broker_account
                      and o.order_type in ('limit', 'market')
                      and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')
                      and (o.limit_price is null or case a.side when 'buy' then o.limit_price <= a.limit_price else o.limit_price >= a.limit_price end)),
            a.market_open,
            case when m.asks_first_trade then not exists (
                select 1 from public.trades b where b.profile_id = a.profile_id and b.symbol = a.symbol) end,
            a.staged,
            (select array_agg(distinct v.code order by v.code) from public.gate_overrides v
             where v.profile_id = a.profile_id and v.revoked_at is null and v.starts_at <= p_now and p_now < v.expires_at
               and coalesce(v.symbol, a.symbol) = a.symbol),
            m.order_qty_max, m.order_notional_max_usd, m.price_collar_pct, m.signal_bars_max,
            -- While the market is closed, its last quote is the newest there is, over a long weekend too.
            case when a.market_open is false and m.quote_age_max_s < 345600 then 345600 else m.quote_age_max_s end, m.open_orders_max,
            m.positions_max, m.position_notional_max_usd, m.sector_max_pct, m.gross_max_pct, m.orders_per_minute_max,
            m.orders_per_day_max, m.repeats_max, m.daily_loss_max_pct, m.drawdown_max_pct, m.loss_streak_max,
            m.entries_when_closed)::private.gate_snapshot
        from asked a
        cross join limits m
        join gross g on g.of_owner = a.owner_id
        left join sectors x on x.of_owner = a.owner_id and x.of_sector = a.sector
        left join lateral private.lockout_of(a.symbol, a.position_side, a.profile_id, p_now) l on true
        cross join lateral (
            select count(*) as entries,
                   count(*) filter (where o.symbol = a.symbol and o.position_side = a.position_side) as same_entries,
                   coalesce(sum(o.reserved_usd) filter (where o.symbol = a.symbol), 0) as symbol_reserved,
                   coalesce(array_agg(o.symbol), '{}') as symbols
            from public.orders o
            where o.profile_id = a.profile_id and o.purpose = 'entry' and o.id <> a.id
              and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')) e
        cross join lateral (
            select coalesce(sum(n.cost_usd) filter (where n.symbol = a.symbol), 0) as symbol_cost,
                   coalesce(sum(n.unrealized_pnl_usd), 0) as unrealized_usd,
                   coalesce(array_agg(n.symbol), '{}') as symbols
            from public.positions n where n.profile_id = a.profile_id) h
        cross join lateral (select a.capital_usd + a.realized_usd + h.unrealized_usd as equity_usd) q
        cross join lateral (
            select count(*) as last_day,
                   count(*) filter (where o.market_at > a.market_at - interval '1 minute') as last_minute,
                   count(*) filter (where o.symbol = a.symbol and o.side = a.side and o.market_at > a.market_at - m.repeats_window) as repeats
            from (select b.market_at, b.symbol, b.side from public.orders b
                  where b.profile_id = a.profile_id and b.purpose = 'entry' and b.state <> 'denied'
                    and b.market_at > a.market_at - interval '1 day' and b.id <> a.id
                  order by b.market_at desc limit coalesce(m.orders_per_day_max, 0) + 1) o) t;
end;
$$;

-- Read a call's entries; NULL when any is malformed, and then entries_error says what is wrong. Types and ranges
-- are judged at once: to look at each text first costs more than the gate's own rules.
create function private.read_entries(p_requests jsonb, p_shard text)
    returns private.entry_request[]
    language plpgsql
    stable
    set search_path = ''
    set plan_cache_mode = force_generic_plan
as $$
declare
    v_read private.entry_request[];
    v_well_formed boolean;
begin
    select array_agg(row(r.position, r.id, f.id, r.symbol, r.side, r.qty, r.limit_price, r.reference_price, r.stop_loss_price,
                         r.take_profit_price, r.time_in_force, r.market_at, r.quote_at, r.market_open, r.signal)::private.entry_request),
           bool_and((r.symbol = any (f.symbols) and r.id is not null and r.side is not null
                     and r.qty > 0 and r.qty < 1e9 and r.limit_price > 0 and r.limit_price < 1e6
                     and r.reference_price > 0 and r.reference_price < 1e6
                     and coalesce(r.stop_loss_price, 1) > 0 and coalesce(r.stop_loss_price, 1) < 1e6
                     and coalesce(r.take_profit_price, 1) > 0 and coalesce(r.take_profit_price, 1) < 1e6
                     and isfinite(r.market_at) and coalesce(isfinite(r.quote_at), true)
                     and coalesce(r.time_in_force, 'gtc') in ('day', 'gtc')
                     and (r.signal is null or jsonb_typeof(r.signal) = 'object' and isfinite((r.signal ->> 'bar_at')::timestamptz)
                          and coalesce(abs((r.signal ->> 'strength')::numeric), 0) < 1e15)) is true)
      into v_read, v_well_formed
    from rows from (jsonb_to_recordset(p_requests) as (
             id uuid, profile_id uuid, symbol text, side public.order_side, qty numeric, limit_price numeric, reference_price numeric,
             stop_loss_price numeric, take_profit_price numeric, time_in_force text, market_at timestamptz, quote_at timestamptz,
             market_open boolean, signal jsonb))
         with ordinality as r (id, profile_id, symbol, side, qty, limit_price, reference_price, stop_loss_price, take_profit_price,
                               time_in_force, market_at, quote_at, market_open, signal, position)
    left join public.profiles f on f.id = r.profile_id and f.shard = p_shard;
    return case when v_well_formed then v_read when p_requests = '[]' then '{}' end;
exception
    when data_exception or datatype_mismatch then
        return null;
end;
$$;

-- What is wrong with the first malformed entry of a call.
create function private.entries_error(p_requests jsonb, p_shard text)
    returns text
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    if jsonb_typeof(p_requests) is distinct from 'array'
       or exists (select 1 from jsonb_array_elements(p_requests) e where jsonb_typeof(e.value) <> 'object') then
        return 'p_requests must be an array of entry requests.';
    end if;
    return coalesce((select format('Entry request %s: %s.', coalesce(left(r.id, 60), '(no id)'), e.error)
    from rows from (jsonb_to_recordset(p_requests) as (
             id text, profile_id text, symbol text, side text, qty text, limit_price text, reference_price text, stop_loss_price text,
             take_profit_price text, time_in_force text, market_at text, quote_at text, market_open text, signal jsonb))
         with ordinality as r (id, profile_id, symbol, side, qty, limit_price, reference_price, stop_loss_price, take_profit_price,
                               time_in_force, market_at, quote_at, market_open, signal, position)
    left join public.profiles f on f.id = private.as_uuid(r.profile_id) and f.shard = p_shard
    cross join lateral (select case
        when private.as_uuid(r.id) is null then 'id must be a uuid'
        when f.id is null then format('profile %s does not exist in shard %s', left(r.profile_id, 60), p_shard)
        when not coalesce(r.symbol = any (f.symbols), false)
            then format('symbol %s is not one of the profile''s symbols (%s)', left(r.symbol, 60), array_to_string(f.symbols, ', '))
        when coalesce(r.side, '') not in ('buy', 'sell') then 'side must be buy or sell'
        when coalesce(private.positive(r.qty), 1e9) >= 1e9 then 'qty must be a number above 0 and below 1,000,000,000'
        when coalesce(private.positive(r.limit_price), 1e6) >= 1e6 then 'limit_price must be a number above 0 and below 1,000,000'
        when coalesce(private.positive(r.reference_price), 1e6) >= 1e6 then 'reference_price must be a number above 0 and below 1,000,000'
        when r.stop_loss_price is not null and coalesce(private.positive(r.stop_loss_price), 1e6) >= 1e6
            then 'stop_loss_price must be a number above 0 and below 1,000,000'
        when r.take_profit_price is not null and coalesce(private.positive(r.take_profit_price), 1e6) >= 1e6
            then 'take_profit_price must be a number above 0 and below 1,000,000'
        when private.is_time(r.market_at) is not true then 'market_at must be a time such as 2026-01-05T15:00:00Z'
        when private.is_time(r.quote_at) is false then 'quote_at must be a time, or absent when it is not known'
        when coalesce(r.market_open, 'true') not in ('true', 'false') then 'market_open must be true or false'
        when coalesce(r.time_in_force, 'gtc') not in ('day', 'gtc') then 'time_in_force must be day or gtc'
        when r.signal is not null and jsonb_typeof(r.signal) <> 'object' then 'signal must be an object'
        when r.signal is not null and private.is_time(r.signal ->> 'bar_at') is not true then 'signal.bar_at must be a time'
        when coalesce(r.signal ->> 'strength', '0') !~ '^-?[0-9]{1,15}(\.[0-9]{1,30})?$' then 'signal.strength must be a number'
        end as error) e
    where e.error is not null order by r.position limit 1), 'An entry request holds a value that cannot be read.');
end;
$$;

-- The wave in which each request is judged. The n-th requests of all profiles go together, so that a batch is a
-- few statements and requests of one profile still see each other's orders. One owner's requests go one by one
-- when together they could pass a limit on its exposure; all of them while a staged resume counts entries, and
-- when some buy what others sell.
create function private.waves_of(p_requests private.entry_request[], p_config jsonb)
    returns table (n int, wave bigint)
    language plpgsql
    stable
    set search_path = ''
    set plan_cache_mode = force_generic_plan
as $$
begin
    return query
        with asked as (
            select r.position, r.profile_id, f.owner_id, private.sector_of(p_config, r.symbol) as sector, r.qty * r.limit_price as usd
            from unnest(p_requests) r join public.profiles f on f.id = r.profile_id
        ), owners as (
            select a.owner_id, sum(a.usd) as usd from asked a group by a.owner_id having count(*) > 1
        ), tight as (
            select o.owner_id from owners o join private.gross_exposures(array(select w.owner_id from owners w)) g on g.of_owner = o.owner_id
            where not coalesce(g.exposure_usd + o.usd <= (p_config #>> '{gross_exposure,max_pct}')::numeric * g.owner_capital_usd
                and coalesce((select max(x.exposure_usd) from private.sector_exposures(array[o.owner_id], p_config) x), 0) + o.usd
                    <= (p_config #>> '{sector_exposure,max_pct}')::numeric * g.owner_capital_usd, false)
        )
        select a.position, row_number() over (
            partition by case when exists (select 1 from public.trading_controls t where t.stage_entries > 0)
                                or exists (select 1 from unnest(p_requests) x join unnest(p_requests) y on y.symbol = x.symbol and y.side > x.side) then null
                              when a.owner_id in (select t.owner_id from tight t) then a.owner_id
                              else a.profile_id end
            order by a.position)
        from asked a;
end;
$$;

-- Judge and record some requests, all at once. The caller holds the controls' shared lock, the owners'
-- locks and the profiles' capital rows.
create function private.decide_wave(p_requests private.entry_request[], p_risk public.risk_configs)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    with judged as materialized (
        select r.*, f.owner_id, f.shard, f.strategy, f.trading_mode, f.broker_account, s.snapshot, private.gate_checks(s.snapshot) as checks
        from private.gate_snapshots(p_requests, p_risk.config, v_now) s
        join unnest(p_requests) r on r.position = s.n
        join public.profiles f on f.id = r.profile_id
    ), coded as materialized (
        select j.*, private.gate_code(j.checks) as code,
               (j.snapshot).qty as final_qty, (j.snapshot).notional_usd as notional_usd,
               private.approval_reasons(p_risk.config, j.snapshot) as asks
        from judged j
    ), decided as materialized (
        select d.*, case when d.code is not null then private.gate_reason(d.checks) end as why,
               case when d.code is not null then 'denied' when cardinality(d.asks) > 0 then 'awaiting_approval'
                    else 'ready' end::public.order_state as state,
               case when d.signal is not null then gen_random_uuid() end as signal_id
        from coded d
    ), noted_signals as (
        insert into public.signals (id, owner_id, profile_id, symbol, side, strategy, strength, bar_at, detail, market_at, created_at)
        select d.signal_id, d.owner_id, d.profile_id, d.symbol, d.side, coalesce(d.signal ->> 'strategy', d.strategy),
               (d.signal ->> 'strength')::numeric, (d.signal ->> 'bar_at')::timestamptz,
               coalesce(d.signal -> 'detail', '{}'), d.market_at, v_now
        from decided d where d.signal_id is not null
    ), noted_decisions as (
        insert into public.decision_log (order_id, owner_id, profile_id, symbol, side, outcome, code, checks, inputs,
                                         config_version, market_at, created_at)
        select d.id, d.owner_id, d.profile_id, d.symbol, d.side, d.state, d.code, d.checks, row_to_json(d.snapshot),
               p_risk.version, d.market_at, v_now
        from decided d
    ), noted_approvals as (
        insert into public.operator_approvals (order_id, owner_id, profile_id, symbol, side, qty, limit_price, reference_price,
            notional_usd, trading_mode, reasons, shown_hash, config_version, requested_at, expires_at)
        select d.id, d.owner_id, d.profile_id, d.symbol, d.side, d.final_qty, d.limit_price, d.reference_price, d.notional_usd,
               d.trading_mode, d.asks, private.approval_hash(d.id, d.profile_id, d.symbol, d.side, d.final_qty, d.limit_price,
               d.trading_mode, d.broker_account), p_risk.version, v_now,
               v_now + make_interval(mins => coalesce((p_risk.config #>> '{operator_approval,approval_timeout_minutes}')::int, 15))
        from decided d where d.state = 'awaiting_approval'
    ), switched_off as (
        update public.profiles f
           set active = false, updated_at = v_now, disabled_reason = format('%s Switched off until an admin re-enables it.', d.why)
          from decided d where f.id = d.profile_id and d.code = 'REPEATED_EXECUTION'
    ), staged as (
        update public.trading_controls t
           set stage_entries = t.stage_entries - 1
          from decided d
         where t.stage_entries > 0 and d.state <> 'denied' and private.in_scope(t.scope, t.scope_key, d.profile_id, d.symbol)
    ), reserved as (
        update public.profile_capital c
           set reserved_usd = c.reserved_usd + d.notional_usd, updated_at = v_now
          from decided d
         where c.profile_id = d.profile_id and d.state <> 'denied'
           and c.reserved_usd + c.used_usd + d.notional_usd <= c.capital_usd
    )
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        order_class, time_in_force, limit_price, take_profit_price, stop_loss_price, reference_price, notional_usd,
        reserved_usd, state, code, reason, signal_id, trade_id, market_at, created_at, updated_at, ended_at, ready_at)
    select d.id, d.owner_id, d.profile_id, d.shard, d.symbol, d.side,
           case d.side when 'buy' then 'long' else 'short' end::public.position_side, 'entry',
           case when d.final_qty > 0 then d.final_qty else d.qty end, 'limit',
           case num_nonnulls(d.take_profit_price, d.stop_loss_price) when 2 then 'bracket' when 1 then 'oto' else 'simple' end,
           coalesce(d.time_in_force, 'gtc'), d.limit_price, d.take_profit_price, d.stop_loss_price, d.reference_price,
           d.notional_usd, case d.state when 'denied' then 0 else d.notional_usd end, d.state, d.code, d.why,
           d.signal_id, d.id, d.market_at, v_now, v_now, case d.state when 'denied' then v_now end,
           case d.state when 'ready' then v_now end
    from decided d;
end;
$$;

-- The gate, for one or hundreds of entries. The same id sent again answers the same and does nothing.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any request is malformed, and then nothing changes.
create function public.request_entries(p_shard text, p_token bigint, p_requests jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_read private.entry_request[];
    v_new private.entry_request[];
    v_wave private.entry_request[];
    v_risk public.risk_configs;
begin
    perform private.check_lease(p_shard, p_token);
    v_read := private.read_entries(p_requests, p_shard);
    if v_read is null then
        perform private.fail(422, 'INVALID', private.entries_error(p_requests, p_shard));
    end if;

    perform private.lock_gate(array(select r.profile_id from unnest(v_read) r));
    perform private.apply_due();
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select r.profile_id from unnest(v_read) r) order by c.profile_id for update;
    v_risk := private.active_risk_config();
    v_new := array(select distinct on (r.id) r from unnest(v_read) r
                   where not exists (select 1 from public.orders o where o.id = r.id) order by r.id, r.position);
    if cardinality(v_new) = 1 then
        perform private.decide_wave(v_new, v_risk);
    else
        for v_wave in select array_agg(r order by r.position) from unnest(v_new) r
                      join private.waves_of(v_new, v_risk.config) w on w.n = r.position group by w.wave order by w.wave loop
            perform private.decide_wave(v_wave, v_risk);
        end loop;
    end if;

    return (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'state', o.state, 'code', o.code, 'reason', o.reason)
                                      order by r.position), '[]')
            from unnest(v_read) r join public.orders o on o.id = r.id);
end;
$$;
revoke execute on function public.request_entries(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.request_entries(text, bigint, jsonb) to service_role;
comment on function public.request_entries(text, bigint, jsonb) is
    'The gate: judges entries, reserves capital, records every check. Engine only.';

-- Judge an approved entry again at its release and note the decision; answers the checks. The ages of its
-- signal and quote and the market's state are those of the request: the approval's own expiry bounds them,
-- and its limit price binds. The caller holds the locks of its owner and capital.
create function private.gate_again(o public.orders)
    returns json
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_risk public.risk_configs := private.active_risk_config();
    v_then json := (select d.inputs from public.decision_log d where d.order_id = o.id order by d.id limit 1);
    s private.gate_snapshot;
    v_checks json;
begin
    select (g.snapshot).* into s from private.gate_snapshots(array[row(1, o.id, o.profile_id, o.symbol, o.side, o.qty, o.limit_price,
        o.reference_price, o.stop_loss_price, o.take_profit_price, o.time_in_force, o.market_at, null, null, null)::private.entry_request],
        v_risk.config, clock_timestamp()) g;
    s.signal_age_bars := (v_then ->> 'signal_age_bars')::numeric;
    s.quote_age_s := (v_then ->> 'quote_age_s')::numeric;
    s.market_open := (v_then ->> 'market_open')::boolean;
    s.stage_fraction := null;  -- its size was set when it was asked
    s.staged := false;
    s.qty := o.qty;
    s.notional_usd := o.notional_usd;
    v_checks := private.gate_checks(s);
    insert into public.decision_log (order_id, owner_id, profile_id, symbol, side, outcome, code, checks, inputs, config_version,
                                     market_at, created_at)
    values (o.id, o.owner_id, o.profile_id, o.symbol, o.side,
            case when private.gate_code(v_checks) is null then 'ready' else 'denied' end::public.order_state,
            private.gate_code(v_checks), v_checks, row_to_json(s), v_risk.version, o.market_at, clock_timestamp());
    return v_checks;
end;
$$;
