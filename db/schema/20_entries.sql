-- Entries: how a request becomes a snapshot, is judged, and becomes an order.

-- The entries of one owner, and those of one broker account, are judged one call at a time, whichever engines ask:
-- exposures add up, and orders may not meet. Taken before the controls' lock, so that no pause waits for the queue.
create function private.lock_gate(p_profiles uuid[])
    returns void
    language plpgsql
    volatile
    set search_path = ''
as $$
begin
    perform pg_advisory_xact_lock(7203, o.key)
    from (select distinct unnest(array[hashtext(f.owner_id::text), hashtext('account ' || f.broker_account)]) as key
          from public.profiles f where f.id = any (p_profiles) order by 1) o;
end;
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

-- What some owners hold or are entering, in USD at cost. Keys: the owner's id for all of it,
-- the id and a sector for that sector.
create function private.owners_usd(p_owners uuid[], p_config jsonb)
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

-- How many orders in a symbol have a fate that is not known, but for one of them.
create function private.unknown_orders(p_symbol text, p_but uuid)
    returns bigint
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (select count(*) from public.orders o where o.symbol = p_symbol and o.state = 'unknown' and o.id <> p_but);
end;
$$;

-- How many findings of reconciliation are open in a symbol, or in a shard as a whole.
create function private.open_breaks(p_shard text, p_symbol text)
    returns bigint
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (select count(*) from public.reconciliation_findings d
            where d.shard = p_shard and d.status = 'open' and coalesce(d.symbol, p_symbol) = p_symbol);
end;
$$;

create function private.is_first_trade(p_profile_id uuid, p_symbol text)
    returns boolean
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return not exists (select from public.trades b where b.profile_id = p_profile_id and b.symbol = p_symbol);
end;
$$;

-- The lockout that keeps a profile out of a symbol; NULL: none.
create function private.lockout_at(p_symbol text, p_side public.order_side, p_profile_id uuid, p_at timestamptz)
    returns public.symbol_lockouts
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (select l from private.lockout_of(p_symbol, case p_side when 'buy' then 'long' else 'short' end::public.position_side,
                                             p_profile_id, p_at) l);
end;
$$;

-- The limits that an admin lets a profile pass in a symbol; NULL: none.
create function private.overrides_of(p_profile_id uuid, p_symbol text, p_at timestamptz)
    returns text[]
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (select array_agg(distinct v.code order by v.code) from public.gate_overrides v
            where v.profile_id = p_profile_id and v.revoked_at is null and v.starts_at <= p_at and p_at < v.expires_at
              and coalesce(v.symbol, p_symbol) = p_symbol);
end;
$$;

create function private.other_side(p_side public.order_side)
    returns public.order_side
    language sql
    immutable
as $$
    select case p_side when 'buy' then 'sell' else 'buy' end::public.order_side;
$$;

-- Whether an entry could trade with an order of ours on the other side in the same broker account. Looked up by price, and
-- apart from it what has none: as many orders may rest beyond the price as there are positions. Asked for in the order of
-- one index, with no other way to it: what is known of how many orders are open is often old, and any index looks cheap.
create function private.crosses(p_id uuid, p_symbol text, p_side public.order_side, p_price numeric, p_account text)
    returns boolean
    language plpgsql
    stable
    set search_path = ''
    set enable_sort = off
as $$
declare
    v_side public.order_side := private.other_side(p_side);
    v_from numeric := case p_side when 'buy' then 0 else p_price end;
    v_to numeric := case p_side when 'buy' then p_price else 'infinity' end;
begin
    return exists (
        select from (
            select o.id, o.profile_id from public.orders o
            where o.symbol = p_symbol and o.side = v_side and o.limit_price between v_from and v_to
              and o.order_type in ('limit', 'market') and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')
            order by o.limit_price) x
        join public.profiles p on p.id = x.profile_id
        where x.id <> p_id and p.broker_account = p_account)
    or exists (
        select from (
            select o.id, o.profile_id from public.orders o
            where o.symbol = p_symbol and o.side = v_side and o.limit_price is null
              and o.order_type in ('limit', 'market') and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')
            order by o.limit_price) x
        join public.profiles p on p.id = x.profile_id
        where x.id <> p_id and p.broker_account = p_account);
end;
$$;

-- What an order of this id reserves already.
create function private.reserved_by(p_id uuid)
    returns numeric
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return coalesce((select o.reserved_usd from public.orders o where o.id = p_id), 0);
end;
$$;

-- Gather what the gate has to know about each request, all at once. The planner puts this text in place of the
-- call. What starting a query costs, not its rows, is the price of one entry: hence few tables in it, and what few
-- entries need behind functions, which cost nothing until they are called. `p_again`: an order that is there already
-- does not count against itself; `p_locked`, `p_overridden`: whether there is any lockout or override at all.
create function private.snapshots_of(p_requests private.entry_request[], m private.gate_limits, p_config jsonb, p_usd jsonb,
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
create function private.gate_snapshots(p_requests private.entry_request[], p_config jsonb, p_now timestamptz)
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
                     and r.qty >= 1e-9 and r.qty < 1e9 and r.limit_price >= 1e-6 and r.limit_price < 1e6
                     and r.reference_price >= 1e-6 and r.reference_price < 1e6
                     and coalesce(r.stop_loss_price, 1) >= 1e-6 and coalesce(r.stop_loss_price, 1) < 1e6
                     and coalesce(r.take_profit_price, 1) >= 1e-6 and coalesce(r.take_profit_price, 1) < 1e6
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
        when coalesce(private.price(r.limit_price), 1e6) >= 1e6 then 'limit_price must be a number above 0 and below 1,000,000'
        when coalesce(private.price(r.reference_price), 1e6) >= 1e6 then 'reference_price must be a number above 0 and below 1,000,000'
        when r.stop_loss_price is not null and coalesce(private.price(r.stop_loss_price), 1e6) >= 1e6
            then 'stop_loss_price must be a number above 0 and below 1,000,000'
        when r.take_profit_price is not null and coalesce(private.price(r.take_profit_price), 1e6) >= 1e6
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
create function private.waves_of(p_requests private.entry_request[], p_owners uuid[], p_config jsonb)
    returns table (n int, wave bigint)
    language plpgsql
    stable
    set search_path = ''
    set plan_cache_mode = force_generic_plan
as $$
declare
    v_one_by_one boolean := exists (select from public.trading_controls t where t.stage_entries > 0)
                         or exists (select from unnest(p_requests) r group by r.symbol having min(r.side) <> max(r.side));
    v_usd jsonb := private.owners_usd(p_owners, p_config);
begin
    return query
        with asked as (
            select r.position, r.profile_id, f.owner_id, private.sector_of(p_config, r.symbol) as sector, r.qty * r.limit_price as usd
            from unnest(p_requests) r join public.profiles f on f.id = r.profile_id
        ), sectors as (
            select a.owner_id, sum(sum(a.usd)) over (partition by a.owner_id) as gross_usd,
                   sum(a.usd) + coalesce((v_usd ->> (a.owner_id || a.sector))::numeric, 0) as sector_usd
            from asked a group by a.owner_id, a.sector
        ), tight as (
            select s.owner_id, bool_or((
                       s.sector_usd <= (p_config #>> '{sector_exposure,max_pct}')::numeric * c.capital_usd
                       and s.gross_usd + coalesce((v_usd ->> s.owner_id::text)::numeric, 0)
                           <= (p_config #>> '{gross_exposure,max_pct}')::numeric * c.capital_usd) is not true) as is_tight
            from sectors s left join private.owner_capital c on c.owner_id = s.owner_id group by s.owner_id
        )
        select a.position, row_number() over (
            partition by case when v_one_by_one then null when t.is_tight then a.owner_id else a.profile_id end order by a.position)
        from asked a join tight t on t.owner_id = a.owner_id;
end;
$$;

-- Judge and record some requests, all at once; answers what became of each. Of the call's first p_permits requests, those
-- that pass get their permit under p_lease. The caller holds the controls' shared lock, the owners' locks and the profiles'
-- capital rows, and has set how plans are made. What few entries need has statements of its own, for those that do.
create function private.decide_wave(p_requests private.entry_request[], p_owners uuid[], p_risk public.risk_configs,
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

-- Ask for the approvals that entries of this call wait for, with the reasons that follow from what was judged.
create function private.ask_approvals(p_orders uuid[], p_risk public.risk_configs, p_now timestamptz)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    insert into public.operator_approvals (order_id, owner_id, profile_id, symbol, side, qty, limit_price, reference_price,
        notional_usd, trading_mode, reasons, shown_hash, config_version, requested_at, expires_at)
    select o.id, o.owner_id, o.profile_id, o.symbol, o.side, o.qty, o.limit_price, o.reference_price, o.notional_usd,
           s.trading_mode, private.approval_reasons(p_risk.config, l.snapshot), private.approval_hash(o.id, o.profile_id, o.symbol, o.side, o.qty,
           o.limit_price, s.trading_mode, f.broker_account), p_risk.version, p_now,
           p_now + make_interval(mins => coalesce((p_risk.config #>> '{operator_approval,approval_timeout_minutes}')::int, 15))
    from public.orders o
    join public.profiles f on f.id = o.profile_id
    join public.decisions l on l.order_id = o.id
    cross join lateral (select (l.snapshot).*) s
    where o.id = any (p_orders) and o.state = 'awaiting_approval';
end;
$$;

-- The answers to a call's entries, those of new ones that may be sent at once with their order.
create function private.with_permits(p_answers jsonb, p_new uuid[])
    returns jsonb
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select coalesce(jsonb_agg(case when o.id is null then a.value
        else a.value || jsonb_build_object('state', o.state, 'permit', to_jsonb(o)) end order by a.ordinality), '[]')
    from jsonb_array_elements(p_answers) with ordinality a
    left join public.orders o on o.id = (a.value ->> 'id')::uuid and o.state = 'submitting' and array_position(p_new, o.id) is not null;
$$;

-- The gate, for one or hundreds of entries. The same id sent again answers the same and does nothing. p_permits: of so many
-- from the first on those that pass may be sent at once, as claimed ones are; their answers carry the order.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any request is malformed, and then nothing changes.
create function public.request_entries(p_shard text, p_token bigint, p_requests jsonb, p_permits int default 0)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from the requests to their rows, one by one, however many rows there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_read private.entry_request[];
    v_new private.entry_request[];
    v_wave private.entry_request[];
    v_risk public.risk_configs;
    v_owners uuid[];
    v_locked boolean;
    v_overridden boolean;
    v_permits int := 0;
    v_lease public.engine_leases;
    v_waves int := 0;
    v_answers jsonb;
begin
    perform private.check_lease(p_shard, p_token);
    if p_permits > 0 and private.engine_is_current(p_shard) then
        v_permits := p_permits;
        select l.* into v_lease from public.engine_leases l where l.shard = p_shard;
    end if;
    v_read := private.read_entries(p_requests, p_shard);
    if v_read is null then
        perform private.fail(422, 'INVALID', private.entries_error(p_requests, p_shard));
    end if;

    perform private.lock_gate(array(select r.profile_id from unnest(v_read) r));
    perform private.apply_due();
    perform pg_advisory_xact_lock_shared(7201, 1);  -- private.lock_controls(false), without a call
    select coalesce(array_agg(x.r) filter (where x.known is null), '{}'), array_agg(x.owner_id),
           exists (select from public.symbol_lockouts l where l.removed_at is null and l.expires_at > now()),
           exists (select from public.gate_overrides o where o.revoked_at is null and o.expires_at > now())
      into v_new, v_owners, v_locked, v_overridden
    from (select r, o.id as known, c.owner_id
          from unnest(v_read) r
          join public.profile_capital c on c.profile_id = r.profile_id
          left join public.orders o on o.id = r.id
          order by c.profile_id for update of c) x;
    select c.* into v_risk from public.risk_configs c where c.active;
    v_risk.config := v_risk.config || '{}';  -- unpacked once: each look into a packed one unpacks it whole
    if cardinality(v_new) = 1 and cardinality(v_read) = 1 then
        v_answers := private.decide_wave(v_new, v_owners, v_risk, v_locked, v_overridden, v_permits, v_lease);
    else
        v_new := array(select distinct on (r.id) r from unnest(v_new) r order by r.id, r.position);
        for v_wave in select array_agg(r order by r.position) from unnest(v_new) r
                      join private.waves_of(v_new, v_owners, v_risk.config) w on w.n = r.position group by w.wave order by w.wave loop
            v_waves := v_waves + 1;
            v_answers := private.decide_wave(v_wave, v_owners, v_risk, v_locked, v_overridden, v_permits, v_lease);
        end loop;
        if v_waves <> 1 or cardinality(v_new) <> cardinality(v_read) then
            v_answers := (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'state', o.state, 'code', o.code, 'reason', o.reason)
                                                    order by r.position), '[]')
                          from unnest(v_read) r join public.orders o on o.id = r.id);
        end if;
    end if;
    return case when v_permits > 0 then private.with_permits(v_answers, array(select r.id from unnest(v_new) r)) else v_answers end;
end;
$$;
revoke execute on function public.request_entries(text, bigint, jsonb, int) from public, anon, authenticated;
grant execute on function public.request_entries(text, bigint, jsonb, int) to service_role;
comment on function public.request_entries(text, bigint, jsonb, int) is
    'The gate: judges entries, reserves capital, records every check. Engine only.';

-- What is known now of an entry that was put to the gate before: as it was asked, its signal and its quote as old as they were.
create function private.snapshot_again(o public.orders, p_config jsonb)
    returns private.gate_snapshot
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_then jsonb := (select to_jsonb(d.inputs) from public.decision_log d where d.order_id = o.id order by d.id limit 1);
    s private.gate_snapshot;
begin
    select (g.snapshot).* into s from private.gate_snapshots(array[row(1, o.id, o.profile_id, o.symbol, o.side, o.qty, o.limit_price,
        o.reference_price, o.stop_loss_price, o.take_profit_price, o.time_in_force, o.market_at, null, null, null)::private.entry_request],
        p_config, clock_timestamp()) g;
    s.signal_age_bars := (v_then ->> 'signal_age_bars')::numeric;
    s.quote_age_s := (v_then ->> 'quote_age_s')::numeric;
    s.market_open := (v_then ->> 'market_open')::boolean;
    s.stage_fraction := null;  -- its size was set when it was asked
    s.staged := false;
    s.qty := o.qty;
    s.notional_usd := o.notional_usd;
    return s;
end;
$$;

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
    s private.gate_snapshot := private.snapshot_again(o, v_risk.config);
    v_checks json;
begin
    v_checks := private.gate_checks(s);
    insert into public.decisions (order_id, owner_id, profile_id, symbol, side, outcome, code, snapshot, passed, config_version,
                                  market_at, created_at)
    values (o.id, o.owner_id, o.profile_id, o.symbol, o.side,
            case when private.gate_code(v_checks) is null then 'ready' else 'denied' end::public.order_state,
            private.gate_code(v_checks), s, private.gate_passes(s), v_risk.version, o.market_at, clock_timestamp());
    return v_checks;
end;
$$;
