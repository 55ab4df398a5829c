-- What the broker says of many orders is taken over at once. Made from db/schema; the two build the same database.

-- What this schema is called and the oldest engine that may open positions on it. `schema` is the version of
-- the newest migration; raise `oldest_engine` where an older one would decide or record something wrongly.
-- Called by: an engine at its start.
create or replace function public.schema_version()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('schema', '20261124090000', 'oldest_engine', '0.2.0');
$$;

-- What an order is filled with by now, as the broker tells it.
create type private.told_fill as (
    order_id   uuid,
    filled_qty numeric,
    avg_price  numeric,
    at         timestamptz                       -- market time
);

-- Book what orders were filled with beyond what is known, at the prices that the averages imply.
-- The caller holds the profiles' capital rows, and the orders are as they were before they are updated.
create function private.book_fills(p_told private.told_fill[])
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_trades uuid[];
begin
    with told as materialized (
        select o.*, t.filled_qty as told_qty, t.avg_price as told_price, t.at, t.place
        from unnest(p_told) with ordinality t (order_id, filled_qty, avg_price, at, place) join public.orders o on o.id = t.order_id
    ), noted as (
        insert into public.fills (order_id, trade_id, owner_id, profile_id, symbol, side, purpose, qty, price, cumulative_qty, executed_at)
        select t.id, t.trade_id, t.owner_id, t.profile_id, t.symbol, t.side, t.purpose, t.told_qty - t.filled_qty,
               case when f.price > 0 then f.price else t.told_price end,  -- else the broker has corrected what was filled before
               t.told_qty, t.at
        from told t
        cross join lateral (select round((t.told_qty * t.told_price - t.filled_qty * coalesce(t.filled_avg_price, 0))
                                         / nullif(t.told_qty - t.filled_qty, 0), 18) as price) f
        order by t.place
    ), opened as (
        insert into public.trades (id, owner_id, profile_id, symbol, position_side, opened_at)
        select t.trade_id, t.owner_id, t.profile_id, t.symbol, t.position_side, t.at from told t where t.purpose = 'entry'
        on conflict (id) do nothing
    )
    select array_agg(distinct t.trade_id) into v_trades from told t;
    perform private.restate_trades(v_trades);
end;
$$;

-- Bring trades, their positions and their profiles' capital in line with their fills, counted in shares of today. An
-- exit may be told before its entry: it counts once the entry has made the trade.
create function private.restate_trades(p_ids uuid[])
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    with restated as materialized (
        select s.*, s.qty_entered - s.qty_exited as open_qty,
               greatest(round(s.entry_notional_usd * (s.qty_entered - s.qty_exited) / s.qty_entered, 9), 0) as cost_usd,
               t.realized_pnl_usd as pnl_before_usd, coalesce(p.cost_usd, 0) as cost_before_usd,
               o.stop_loss_price, o.take_profit_price
        from private.sums_of_fills(p_ids) s
        join public.trades t on t.id = s.id
        join public.orders o on o.id = s.id
        left join public.positions p on p.trade_id = s.id
    ), of_capital as (
        update public.profile_capital c
           set used_usd = c.used_usd + d.used_usd, realized_usd = c.realized_usd + d.realized_usd, updated_at = clock_timestamp()
          from (select r.profile_id, sum(r.cost_usd - r.cost_before_usd) as used_usd,
                       sum(r.realized_pnl_usd - r.pnl_before_usd) as realized_usd
                from restated r group by r.profile_id) d
         where c.profile_id = d.profile_id
    ), of_trades as (
        update public.trades n
           set qty_entered = r.qty_entered, entry_notional_usd = r.entry_notional_usd, qty_exited = r.qty_exited,
               exit_notional_usd = r.exit_notional_usd, realized_pnl_usd = r.realized_pnl_usd, exit_reason = r.exit_reason,
               opened_at = r.opened_at, closed_at = r.closed_at
          from restated r
         where n.id = r.id
    ), closed as (
        delete from public.positions p using restated r where p.trade_id = r.id and r.open_qty <= 0
    )
    insert into public.positions as p (trade_id, owner_id, profile_id, symbol, side, qty, avg_entry_price, cost_usd, stop_price,
                                       take_profit_price, opened_at)
    select r.id, r.owner_id, r.profile_id, r.symbol, r.position_side, r.open_qty, r.entry_notional_usd / r.qty_entered, r.cost_usd,
           r.stop_loss_price, r.take_profit_price, r.opened_at
    from restated r where r.open_qty > 0
    on conflict (trade_id) do update
        set qty = excluded.qty, avg_entry_price = excluded.avg_entry_price, cost_usd = excluded.cost_usd,
            opened_at = excluded.opened_at, updated_at = clock_timestamp();
end;
$$;

-- Trades as their fills and the splits since them tell them.
create function private.sums_of_fills(p_ids uuid[])
    returns table (id uuid, owner_id uuid, profile_id uuid, symbol text, position_side public.position_side, qty_entered numeric,
                   entry_notional_usd numeric, qty_exited numeric, exit_notional_usd numeric, realized_pnl_usd numeric,
                   exit_reason text, opened_at timestamptz, closed_at timestamptz)
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    return query
        select t.id, t.owner_id, t.profile_id, t.symbol, t.position_side, f.qty_entered, f.entry_notional_usd, f.qty_exited,
               f.exit_notional_usd,
               round((f.exit_notional_usd - f.entry_notional_usd * f.qty_exited / f.qty_entered)
                     * case t.position_side when 'long' then 1 else -1 end, 9),
               case when f.has_exits then (
                   select coalesce(o.exit_reason, n.purpose::text)
                   from public.fills n join public.orders o on o.id = n.order_id
                   where n.trade_id = t.id and n.purpose <> 'entry' order by n.id desc limit 1) end,
               f.opened_at, case when f.qty_exited >= f.qty_entered then f.last_at end
        from public.trades t
        cross join lateral (
            select round(coalesce(sum(n.qty * n.factor) filter (where n.purpose = 'entry'), 0), 9) as qty_entered,
                   coalesce(sum(n.notional_usd) filter (where n.purpose = 'entry'), 0) as entry_notional_usd,
                   round(coalesce(sum(n.qty * n.factor) filter (where n.purpose <> 'entry'), 0), 9) as qty_exited,
                   coalesce(sum(n.notional_usd) filter (where n.purpose <> 'entry'), 0) as exit_notional_usd,
                   min(n.executed_at) filter (where n.purpose = 'entry') as opened_at, max(n.executed_at) as last_at,
                   coalesce(bool_or(n.purpose <> 'entry'), false) as has_exits
            from (select d.*, case when exists (select from public.splits) then
                                       private.split_factor(a.broker_account, d.symbol, d.executed_at) else 1 end as factor
                  from public.fills d join public.profiles a on a.id = d.profile_id where d.trade_id = t.id) n) f
        where t.id = any (p_ids);
end;
$$;

-- Note a split of shares and restate the open trades that were entered before it, of every shard on the
-- account: fills stay what they were, their sums are counted in new shares. It is noted only if our books then
-- say what the broker holds. Called by: the engine. Errors: LEASE_LOST, INVALID.
create or replace function public.record_split(p_shard text, p_token bigint, p_symbol text, p_ratio numeric, p_effective_at timestamptz,
                                    p_expected_qty numeric, p_source text default '')
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_account text := private.account_of(p_shard);
    v_qty numeric;
begin
    perform private.check_lease(p_shard, p_token);
    if not coalesce(p_ratio > 1e-6 and round(p_ratio, 9) <> 1 and p_ratio < 1e6, false) or p_effective_at is null or p_symbol is null or p_expected_qty is null then
        perform private.fail(422, 'INVALID', 'A split needs a symbol, a ratio above 0 other than 1, the time it took effect and the quantity now held.');
    end if;
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select f.id from public.profiles f where f.broker_account = v_account) order by c.profile_id for update;
    if exists (select 1 from public.splits s where s.broker_account = v_account and s.symbol = p_symbol and s.effective_at = p_effective_at) then
        return false;
    end if;
    select coalesce(sum(private.qty_after_split(n.trade_id, p_ratio, p_effective_at) * case n.side when 'long' then 1 else -1 end), 0) into v_qty
      from public.positions n join public.profiles f on f.id = n.profile_id
     where f.broker_account = v_account and n.symbol = p_symbol;
    if v_qty <> p_expected_qty then
        return false;
    end if;
    insert into public.splits (broker_account, symbol, ratio, effective_at, source)
    values (v_account, p_symbol, p_ratio, p_effective_at, left(coalesce(p_source, ''), 200));
    perform private.restate_trades(array(
        select n.trade_id from public.positions n join public.profiles f on f.id = n.profile_id
        where f.broker_account = v_account and n.symbol = p_symbol));
    -- Where an order rests at the broker, the broker has divided its price, and the position follows it.
    update public.positions n
       set stop_price = case when private.rests(n.trade_id, 'stop_loss') then n.stop_price else round(n.stop_price / p_ratio, 2) end,
           take_profit_price = case when private.rests(n.trade_id, 'take_profit') then n.take_profit_price
                                    else round(n.take_profit_price / p_ratio, 2) end,
           mark_price = round(n.mark_price / p_ratio, 6)
      from public.profiles f
     where f.id = n.profile_id and f.broker_account = v_account and n.symbol = p_symbol and n.opened_at < p_effective_at;
    perform private.audit('record_split', 'symbol:' || p_symbol, 'done', p_source,
                          jsonb_build_object('ratio', p_ratio, 'effective_at', p_effective_at, 'account', v_account));
    return true;
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
create or replace function private.crosses(p_id uuid, p_symbol text, p_side public.order_side, p_price numeric, p_account text)
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
        from (select true as is_entry, o.symbol, o.position_side = 'long' as is_long, o.reserved_usd as usd, null::numeric as unrealized_usd
              from public.orders o
              where o.profile_id = r.profile_id and o.purpose = 'entry' and o.id <> r.id
                and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')
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

-- What a word of the broker's changes about one of our orders.
create type private.order_change as (
    id              uuid,
    profile_id      uuid,
    word            jsonb,
    told_qty        numeric,                     -- filled by now
    told_at         timestamptz,                 -- market time
    has_filled      boolean,                     -- more than we knew
    release_usd     numeric,                     -- of what is reserved, for what has filled
    state           public.order_state,
    qty             numeric,
    limit_price     numeric,
    stop_price      numeric,
    has_moved       boolean,                     -- its prices did, and it still rests
    has_grown       boolean                      -- a protective order that asks for more than we knew
);

-- What the broker says about orders and we do not know yet; words that are older than what we know, and that say
-- nothing new, are left out. Locks the orders. Errors: INVALID, CONFLICT.
create function private.order_changes(p_ids uuid[], p_words jsonb[])
    returns private.order_change[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_changes private.order_change[];
    v_unsound text;
    v_taken text;
begin
    with told as (
        select o.id, o.profile_id, o.purpose, o.trade_id, o.state as old_state, o.qty as old_qty, o.filled_qty as old_filled_qty,
               o.limit_price as old_limit_price, o.stop_price as old_stop_price, o.reserved_usd, o.broker_order_id, o.broker_status,
               o.broker_updated_at, w.b, coalesce((w.b ->> 'filled_qty')::numeric, 0) as told_qty,
               (w.b ->> 'updated_at')::timestamptz as told_at, w.b ->> 'broker_order_id' as told_id, w.place,
               coalesce(private.price(w.b ->> 'limit_price'), o.limit_price) as limit_price,
               coalesce(private.price(w.b ->> 'stop_price'), o.stop_price) as stop_price,
               ((w.b ->> 'filled_qty')::numeric >= 0 and (w.b ->> 'filled_qty')::numeric < 1e15
                and ((w.b ->> 'filled_qty')::numeric = 0 or (w.b ->> 'filled_avg_price')::numeric between 1e-9 and 1e9)) is not false
               and (length(w.b ->> 'status') between 1 and 60) is true as is_sound
        from unnest(p_ids, p_words) with ordinality w (id, b, place)
        join public.orders o on o.id = w.id
        for update of o
    ), judged as (
        select t.*, t.told_qty > t.old_filled_qty as has_filled,
               case when private.is_terminal(t.old_state) then t.old_state
                    else private.state_of(t.b ->> 'status', greatest(t.told_qty, t.old_filled_qty)) end as state,
               -- The broker restates what rests there: after a split, beside a partly filled sibling, where a stop trails.
               case when t.purpose = 'entry' and greatest(t.told_qty, t.old_filled_qty) > 0 then t.old_qty  -- what is reserved goes by it
                    when g.has_grown then
                        -- After a split the position follows later, and until then nothing may look as if it covered too much.
                        greatest(t.old_qty, least(r.qty, (select n.qty from public.positions n where n.trade_id = t.trade_id)))
                    else r.qty end as qty, g.has_grown
        from told t
        cross join lateral (
            select greatest(coalesce(private.positive(t.b ->> 'qty'), t.old_qty), t.told_qty, t.old_filled_qty) as qty) r
        cross join lateral (select t.purpose in ('stop_loss', 'take_profit') and r.qty > t.old_qty as has_grown) g
        where not t.is_sound  -- is refused, however old it is
           or (t.told_at < t.broker_updated_at and t.told_qty <= t.old_filled_qty
               and not private.is_terminal(private.state_of(t.b ->> 'status', t.told_qty))) is not true
    )
    select min(j.id::text) filter (where not j.is_sound),
           min(j.told_id) filter (where j.broker_order_id is distinct from j.told_id and exists (
               select from public.orders x where x.broker_order_id = j.told_id and x.id <> j.id)),
           array_agg(row(j.id, j.profile_id, j.b, j.told_qty, j.told_at, j.has_filled,
                         case when not j.has_filled then 0 when j.told_qty >= j.old_qty then j.reserved_usd
                              else round(j.reserved_usd * (j.told_qty - j.old_filled_qty) / (j.old_qty - j.old_filled_qty), 9) end,
                         j.state, j.qty, j.limit_price, j.stop_price,
                         (j.limit_price, j.stop_price) is distinct from (j.old_limit_price, j.old_stop_price)
                         and not private.is_terminal(j.state), j.has_grown)::private.order_change order by j.place)
               -- What has ended stays as it ended; new are at most fills, or that it had been at the broker at all.
               filter (where (j.has_filled or not private.is_terminal(j.old_state) or j.broker_order_id is null)
                         and (j.state <> j.old_state or j.has_filled or j.broker_status is distinct from j.b ->> 'status'
                              or (j.qty, j.limit_price, j.stop_price) is distinct from (j.old_qty, j.old_limit_price, j.old_stop_price)
                              or j.id = private.as_uuid(j.b ->> 'client_order_id')
                                 and j.broker_order_id is distinct from coalesce(j.told_id, j.broker_order_id)))
      into v_unsound, v_taken, v_changes
    from judged j;
    if v_unsound is not null then
        perform private.fail(422, 'INVALID', format('The broker''s word on order %s has no status, or a filled quantity or price that is no number.', v_unsound));
    elsif v_taken is not null then
        perform private.fail(409, 'CONFLICT', format('The broker''s order %s is another order here already.', left(v_taken, 60)));
    end if;
    return coalesce(v_changes, '{}');
end;
$$;

-- Take over what the broker says about orders, each of them told of once: fills first, then the state; never backwards.
-- Answers which of them changed. The caller holds the profiles' capital rows.
create function private.apply_words(p_ids uuid[], p_words jsonb[])
    returns uuid[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_changes private.order_change[] := private.order_changes(p_ids, p_words);
    v_fills private.told_fill[];
    v_moved uuid[];
    v_have_grown boolean;
    v_changed uuid[];
    v_one_by_one uuid[] := '{}';
begin
    select array_agg(row(c.id, c.told_qty, (c.word ->> 'filled_avg_price')::numeric,
                         coalesce(c.told_at, clock_timestamp()))::private.told_fill) filter (where c.has_filled),
           array_agg(c.id) filter (where c.has_moved), bool_or(c.has_grown), coalesce(array_agg(c.id), '{}')
      into v_fills, v_moved, v_have_grown, v_changed
    from unnest(v_changes) c;
    if v_have_grown and cardinality(p_ids) > 1 then  -- how much it may cover goes by what is held at its turn
        for i in 1 .. cardinality(p_ids) loop
            v_one_by_one := v_one_by_one || private.apply_words(p_ids[i:i], p_words[i:i]);
        end loop;
        return v_one_by_one;
    end if;
    if v_fills is not null then
        perform private.book_fills(v_fills);
        update public.profile_capital p
           set reserved_usd = p.reserved_usd - c.release_usd
          from (select d.profile_id, sum(d.release_usd) as release_usd from unnest(v_changes) d
                where d.release_usd > 0 group by d.profile_id) c
         where p.profile_id = c.profile_id;
        if v_have_grown then
            v_changes := private.order_changes(p_ids, p_words);
        end if;
    end if;
    update public.orders u
       set state = c.state,
           -- Under our own id the broker's word holds; a leg goes by the broker's id from the start.
           broker_order_id = case when u.id = private.as_uuid(c.word ->> 'client_order_id')
                                  then coalesce(c.word ->> 'broker_order_id', u.broker_order_id)
                                  else coalesce(u.broker_order_id, c.word ->> 'broker_order_id') end,
           broker_status = c.word ->> 'status',
           broker_request_id = coalesce(c.word ->> 'request_id', u.broker_request_id),
           broker_updated_at = greatest(u.broker_updated_at, c.told_at),
           accepted_at = coalesce(u.accepted_at, clock_timestamp()),
           filled_qty = greatest(u.filled_qty, c.told_qty),
           -- Only with a fill: a later one is priced by the difference of the averages.
           filled_avg_price = case when c.has_filled then (c.word ->> 'filled_avg_price')::numeric else u.filled_avg_price end,
           qty = c.qty, limit_price = c.limit_price, stop_price = c.stop_price,
           reserved_usd = u.reserved_usd - c.release_usd,
           reason = coalesce(c.word ->> 'reason', u.reason)
      from unnest(v_changes) c
     where u.id = c.id;
    perform private.follow_leg(m.id) from unnest(v_moved) m (id);
    return v_changed;
end;
$$;

-- Make orders of the legs that are not known yet; answers the broker's ids of these.
create function private.make_legs(p_parents uuid[], p_legs jsonb[])
    returns text[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_new text[];
begin
    with made as (
        insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
            order_class, time_in_force, limit_price, stop_price, state, exit_reason, trade_id, parent_id,
            broker_order_id, broker_status, broker_updated_at, market_at, created_at, updated_at, submitted_at, accepted_at, replaces_id)
        select distinct on (l.leg ->> 'broker_order_id')
               coalesce(private.as_uuid(l.leg ->> 'broker_order_id'), gen_random_uuid()), o.owner_id, o.profile_id, o.shard, o.symbol,
               (l.leg ->> 'side')::public.order_side, o.position_side,
               case when l.leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end::public.order_purpose,
               private.positive(l.leg ->> 'qty'), l.leg ->> 'type', o.order_class, o.time_in_force,
               private.price(l.leg ->> 'limit_price'), private.price(l.leg ->> 'stop_price'), 'working'::public.order_state,
               case when l.leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end,
               o.trade_id, o.id, l.leg ->> 'broker_order_id', l.leg ->> 'status', (l.leg ->> 'updated_at')::timestamptz, o.market_at,
               clock_timestamp(), clock_timestamp(), o.submitted_at, clock_timestamp(),
               case when l.leg ->> 'replaces' is not null then
                   (select r.id from public.orders r where r.broker_order_id = l.leg ->> 'replaces') end
        from unnest(p_parents, p_legs) l (parent_id, leg) join public.orders o on o.id = l.parent_id
        where not exists (select from public.orders x where x.broker_order_id = l.leg ->> 'broker_order_id')
        returning broker_order_id)
    select coalesce(array_agg(m.broker_order_id), '{}') into v_new from made m;
    return v_new;
end;
$$;

-- Take over what the broker says about orders and about their legs, which become orders of their own the first time they
-- are seen. Each order is told of once. Answers what changed, and whose legs did. Errors: INVALID, CONFLICT.
create function private.apply_broker_orders(p_ids uuid[], p_words jsonb[])
    returns uuid[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_parents uuid[];
    v_legs jsonb[];
    v_places bigint[];                           -- of the words that tell of the legs
    v_unsound uuid[];
    v_have_moved boolean;                        -- some took another's place
    v_new text[];                                -- the broker's ids of the legs not seen before
    v_ids uuid[];
    v_words jsonb[];
    v_changed uuid[];
begin
    select array_agg(i.id), array_agg(l.value), array_agg(i.place), bool_or(l.value ->> 'replaces' is not null),
           array_agg(i.id) filter (where (private.positive(l.value ->> 'qty') > 0 and l.value ->> 'side' in ('buy', 'sell')
               and l.value ->> 'type' = any (private.order_types()) and l.value ->> 'broker_order_id' is not null) is not true)
      into v_parents, v_legs, v_places, v_have_moved, v_unsound
    from unnest(p_ids, p_words) with ordinality i (id, word, place),
         jsonb_array_elements(case jsonb_typeof(i.word -> 'legs') when 'array' then i.word -> 'legs' end) l;
    if v_legs is null then
        return private.apply_words(p_ids, p_words);
    elsif v_unsound is not null then
        perform private.fail(422, 'INVALID', format('A leg of order %s has no id, quantity, side or type that is known here.', v_unsound[1]));
    end if;
    v_new := private.make_legs(v_parents, v_legs);
    select array_agg(k.id order by k.place, k.leg_place), array_agg(k.word order by k.place, k.leg_place) into v_ids, v_words
    from (select i.id, i.word, i.place, 0 as leg_place from unnest(p_ids, p_words) with ordinality i (id, word, place)
          union all
          (select distinct on (o.id) o.id, l.leg, l.place, l.leg_place
           from unnest(v_legs, v_places) with ordinality l (leg, place, leg_place)
           join public.orders o on o.broker_order_id = l.leg ->> 'broker_order_id'
           where o.id not in (select unnest(p_ids))
             -- A new one was made of its word: there may be more in it.
             and (l.leg ->> 'broker_order_id' not in (select unnest(v_new)) or coalesce((l.leg ->> 'filled_qty')::numeric, 0) <> 0
                  or (length(l.leg ->> 'status') between 1 and 60) is not true
                  or private.state_of(l.leg ->> 'status', 0) <> 'working')
           order by o.id, l.leg_place desc)) k;
    v_changed := private.apply_words(v_ids, v_words);
    if v_have_moved then
        perform private.follow_leg(o.id) from unnest(v_legs) l (leg) join public.orders o on o.broker_order_id = l.leg ->> 'broker_order_id'
        where l.leg ->> 'replaces' is not null and l.leg ->> 'broker_order_id' = any (v_new);
    end if;
    return v_changed || array(
        select l.parent_id from unnest(v_parents, v_legs) l (parent_id, leg)
        join public.orders o on o.broker_order_id = l.leg ->> 'broker_order_id'
        where l.leg ->> 'broker_order_id' in (select unnest(v_new)) or o.id in (select unnest(v_changed)));
end;
$$;

-- Whether no order is told of by two of these words, nor as a leg or as the one that was replaced: only then can they be
-- taken over all at once.
create function private.are_apart(p_words jsonb[])
    returns boolean
    language sql
    immutable
    set search_path = ''
as $$
    select count(*) = count(distinct t.id)
    from (select distinct w.place, n.id
          from unnest(p_words) with ordinality w (b, place)
          cross join lateral (
              select x.id from unnest(array[w.b ->> 'client_order_id', w.b ->> 'broker_order_id', w.b ->> 'replaces']) x (id)
              union all
              select l.value ->> 'broker_order_id'
              from jsonb_array_elements(case jsonb_typeof(w.b -> 'legs') when 'array' then w.b -> 'legs' end) l) n
          where n.id is not null) t;
$$;

-- Whether one of these words tells, beside its order, of a leg that has grown: how much that may cover depends on the words
-- before it.
create function private.tell_of_growth(p_words jsonb[])
    returns boolean
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    return exists (
        select from unnest(p_words) w (b)
        cross join lateral jsonb_array_elements(case jsonb_typeof(w.b -> 'legs') when 'array' then w.b -> 'legs' end) l
        join public.orders o on o.broker_order_id = l.value ->> 'broker_order_id'
        where private.positive(l.value ->> 'qty') > o.qty);
end;
$$;

-- Lock the capital of every profile that a batch touches, in one order for all callers.
create or replace function private.lock_capital_of(p_ids uuid[], p_broker_ids text[])
    returns void
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select 1 from public.profile_capital c
     where c.profile_id = any (array(
         select o.profile_id from public.orders o where o.id = any (p_ids)
         union
         select o.profile_id from public.orders o where o.broker_order_id = any (p_broker_ids)))
     order by c.profile_id for update;
$$;

-- Record what came of sending orders; answers what each of them is now. The caller holds the profiles' capital rows.
-- Errors: NOT_FOUND, INVALID, CONFLICT.
create function private.apply_submissions(p_results jsonb[], p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_bad jsonb;
    v_is_known boolean;
    v_ids uuid[];
    v_words jsonb[];
    v_changed uuid[];
    v_answers jsonb := '[]';
begin
    select array_agg(private.as_uuid(r.p ->> 'id')), array_agg((r.p -> 'order') || jsonb_build_object('request_id', r.p ->> 'request_id'))
      into v_ids, v_words
    from unnest(p_results) r (p) where r.p ->> 'outcome' = 'accepted';
    if cardinality(p_results) > 1
       and (not private.are_apart(v_words) or (select count(distinct r.p ->> 'id') < count(*) from unnest(p_results) r (p))) then
        for i in 1 .. cardinality(p_results) loop
            v_answers := v_answers || private.apply_submissions(p_results[i:i], p_shard);
        end loop;
        return v_answers;
    end if;
    select r.p, o.id is not null into v_bad, v_is_known
    from unnest(p_results) with ordinality r (p, place)
    left join public.orders o on o.id = private.as_uuid(r.p ->> 'id') and o.shard = p_shard
    where o.id is null or coalesce(r.p ->> 'outcome', '') not in ('accepted', 'rejected', 'unknown', 'not_sent')
    order by r.place limit 1;
    if v_is_known then
        perform private.fail(422, 'INVALID', format('Outcome %L of order %s is not known.', v_bad ->> 'outcome', v_bad ->> 'id'));
    elsif found then
        perform private.fail(404, 'NOT_FOUND', format('Order %s does not exist in shard %s.', left(v_bad ->> 'id', 60), p_shard));
    end if;
    if v_ids is not null then
        v_changed := private.apply_broker_orders(v_ids, v_words);
    end if;
    if cardinality(v_ids) < cardinality(p_results) is not false or not v_ids <@ v_changed then
        update public.orders u
           set state = case when r.p ->> 'outcome' = 'accepted' then u.state
                            else case r.p ->> 'outcome' when 'rejected' then 'rejected' when 'unknown' then 'unknown'
                                 else case u.purpose when 'entry' then 'canceled' else 'ready' end end::public.order_state end,
               code = case when r.p ->> 'outcome' = 'accepted' then u.code else coalesce(r.p ->> 'code', u.code) end,
               reason = case when r.p ->> 'outcome' = 'accepted' then u.reason else coalesce(left(r.p ->> 'reason', 500), u.reason) end,
               broker_request_id = coalesce(r.p ->> 'request_id', u.broker_request_id)
          from unnest(p_results) r (p)
         where u.id = private.as_uuid(r.p ->> 'id')
           and case r.p ->> 'outcome' when 'accepted' then u.broker_request_id is distinct from coalesce(r.p ->> 'request_id', u.broker_request_id)
                    else u.state in ('submitting', 'unknown') end;
    end if;
    return (select jsonb_agg(jsonb_build_object('id', u.id, 'state', u.state) order by r.place)
            from unnest(p_results) with ordinality r (p, place) join public.orders u on u.id = private.as_uuid(r.p ->> 'id'));
end;
$$;

-- Record what came of sending. accepted: the broker's order; rejected: its definitive no; unknown: ambiguous;
-- not_sent: the permit is handed back. Called by: the engine. Errors: LEASE_LOST, NOT_FOUND, INVALID.
create or replace function public.record_submission(p_shard text, p_token bigint, p_results jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from what is told to the orders, one by one, however many orders there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_results jsonb[];
    v_answers jsonb;
begin
    perform private.check_lease(p_shard, p_token);
    v_results := array(select e.value from jsonb_array_elements(p_results) e);
    perform private.lock_controls(p_exclusive => false);  -- a pause waits for this, or sees what it settles
    perform private.lock_capital_of(array(select private.as_uuid(r.p ->> 'id') from unnest(v_results) r (p)), '{}');
    v_answers := private.apply_submissions(v_results, p_shard);
    perform private.settle_quiescence();
    return coalesce(v_answers, '[]');
end;
$$;

-- A word of the broker's beside the order that it tells of, as we have it; NULL when there is none.
create type private.told_order as (
    place int,
    word  jsonb,
    known public.orders
);

-- Find the orders that words of the broker's tell of, by our id or by the broker's.
create function private.orders_told_of(p_words jsonb[])
    returns private.told_order[]
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    return array(
        select row(w.place, w.b, (
            select o from public.orders o
            where o.id = private.as_uuid(w.b ->> 'client_order_id') or o.broker_order_id = w.b ->> 'broker_order_id'
            order by (o.broker_order_id = w.b ->> 'broker_order_id') is true desc limit 1))::private.told_order
        from unnest(p_words) with ordinality w (b, place) order by w.place);
end;
$$;

-- Whether an order that had ended on our side lives at the broker, and the engine has to cancel it, or has filled after
-- its end. What the broker itself has ended does not live again: a word that says so is an old one. `p_old`: the order
-- as it was, or the one whose place it took.
create function private.is_late(p_old public.orders, p_order public.orders, p_filled_before numeric, b jsonb)
    returns boolean
    language sql
    immutable
    set search_path = ''
as $$
    select private.is_terminal(p_old.state) and p_old.state not in ('filled', 'replaced')
       and (not private.is_terminal(private.state_of(b ->> 'status', 0))
            and (p_old.id = p_order.id and p_old.broker_status in ('filled', 'canceled', 'expired', 'rejected')) is not true
            or p_order.filled_qty > p_filled_before);
$$;

-- Take over what the broker says about orders; answers what became of each. The caller holds the profiles' capital rows.
create function private.apply_updates(p_words jsonb[], p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_told private.told_order[] := private.orders_told_of(p_words);
    t private.told_order;
    v_old public.orders;                         -- the one whose place the only word's order took
    v_was public.orders;
    v_now public.orders;
    v_ids uuid[];
    v_words jsonb[];
    v_have_ended boolean;                        -- some had ended here before
    v_changed uuid[];
    v_late uuid[];
    v_after_pause uuid[];
    v_answers jsonb := '[]';
begin
    if cardinality(p_words) > 1
       and (not private.are_apart(p_words) or private.tell_of_growth(p_words)
            or (select count(distinct (k.known).id) < count((k.known).id)
                       or bool_or((k.known).id is null and k.word ->> 'replaces' is not null
                                  or (k.known).purpose <> 'entry' and private.positive(k.word ->> 'qty') > (k.known).qty)
                from unnest(v_told) k)) then
        for i in 1 .. cardinality(p_words) loop
            v_answers := v_answers || private.apply_updates(p_words[i:i], p_shard);
        end loop;
        return v_answers;
    end if;
    t := v_told[1];
    if (t.known).id is null and t.word ->> 'replaces' is not null then
        select o.* into v_old from public.orders o where o.broker_order_id = t.word ->> 'replaces';
        if v_old.shard = p_shard and not private.is_terminal(v_old.state) then
            -- Its predecessor is not known to be over: that one is looked up first.
            return jsonb_build_array(jsonb_build_object('id', null, 'client_order_id', t.word ->> 'client_order_id', 'state', null,
                                                        'changed', false, 'deferred', true));
        elsif v_old.shard = p_shard then
            v_ids := array[private.take_place(v_old, t.word)];
            t.known := (select o from public.orders o where o.id = v_ids[1]);
        else
            t.known := v_old;
        end if;
        v_told := array[t];
    end if;
    select array_agg((k.known).id), array_agg(k.word), bool_or(private.is_terminal(coalesce(v_old.state, (k.known).state)))
      into v_ids, v_words, v_have_ended
    from unnest(v_told) k where (k.known).shard = p_shard;
    if v_ids is not null then
        v_changed := private.apply_broker_orders(v_ids, v_words);
    end if;
    if v_have_ended then
        for t in select k.* from unnest(v_told) k
                 where (k.known).shard = p_shard and private.is_terminal(coalesce(v_old.state, (k.known).state)) loop
            v_was := case when v_old.id is null then t.known else v_old end;
            select o.* into v_now from public.orders o where o.id = (t.known).id;
            if private.is_late(v_was, v_now, (t.known).filled_qty, t.word) then
                v_late := v_late || v_now.id;
                if v_now.purpose = 'entry' and private.was_paused_since_end(v_was) then
                    v_after_pause := v_after_pause || v_now.id;
                end if;
                perform private.note_late(v_now, t.word, v_now.id = any (v_after_pause));
            end if;
        end loop;
    end if;
    return (
        select jsonb_agg(case
            when (k.known).id is null then
                jsonb_build_object('id', null, 'client_order_id', k.word ->> 'client_order_id', 'state', null, 'changed', false)
            when (k.known).shard <> p_shard then  -- another engine's in the same account: known, and that engine's to record
                jsonb_build_object('id', (k.known).id, 'state', (k.known).state, 'changed', false, 'late', false)
            else jsonb_build_object('id', o.id, 'state', o.state, 'changed', o.id in (select unnest(v_changed)),
                                    'late', coalesce(o.id = any (v_late), false),
                                    'after_pause', coalesce(o.id = any (v_after_pause), false)) end order by k.place)
        from unnest(v_told) k left join public.orders o on o.id = (k.known).id);
end;
$$;

-- Take over the broker's view of orders; sent twice or out of order it changes nothing more.
-- Called by: the engine. Errors: LEASE_LOST.
create or replace function public.record_order_updates(p_shard text, p_token bigint, p_updates jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from what is told to the orders, one by one, however many orders there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_words jsonb[];
    v_answers jsonb;
begin
    perform private.check_lease(p_shard, p_token);
    v_words := array(select e.value from jsonb_array_elements(p_updates) e);
    perform private.lock_controls(p_exclusive => false);  -- a pause waits for this, or sees what it settles
    perform private.lock_capital_of(
        array(select private.as_uuid(w.b ->> 'client_order_id') from unnest(v_words) w (b)),
        array(select r.id from unnest(v_words) w (b)
              cross join lateral (values (w.b ->> 'broker_order_id'), (w.b ->> 'replaces')) r (id)));
    v_answers := private.apply_updates(v_words, p_shard);
    perform private.settle_quiescence();
    return coalesce(v_answers, '[]');
end;
$$;

-- Record exits that were sent while this database could not be reached, with what the broker answered: accepted,
-- rejected, or unknown, which is looked up next. Told again, in any order, it changes nothing more.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any exit is malformed, and then nothing changes.
create or replace function public.record_offline_exits(p_shard text, p_token bigint, p_exits jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- as record_submission, whose plans it shares
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_exit jsonb;
    v_error text;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_exits) is distinct from 'array' then
        perform private.fail(422, 'INVALID', 'p_exits must be an array of exits.');
    end if;
    for v_exit in select e.value from jsonb_array_elements(p_exits) e loop
        v_error := private.offline_exit_error(v_exit, p_shard);
        if v_error is not null then
            perform private.fail(422, 'INVALID', format('Exit %s: %s.', coalesce(v_exit ->> 'id', '(no id)'), v_error));
        end if;
    end loop;
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select t.profile_id from jsonb_array_elements(p_exits) e
                             join public.trades t on t.id = (e.value ->> 'trade_id')::uuid)
      order by c.profile_id for update;
    for v_exit in select e.value from jsonb_array_elements(p_exits) e loop
        perform private.have_offline_exit(v_exit, p_shard, p_token);
        v_answers := v_answers || private.apply_submissions(array[v_exit], p_shard);
    end loop;
    return v_answers;
end;
$$;

-- Make an order row of an external order, then take over what the broker says about it.
create or replace function private.book_external(f public.profiles, b jsonb, p_qty numeric, p_closes uuid)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_id uuid := coalesce(private.as_uuid(b ->> 'broker_order_id'), gen_random_uuid());
    v_notional numeric := case when p_closes is null then
        round(p_qty * coalesce(private.price(b ->> 'limit_price'), private.price(b ->> 'filled_avg_price')), 6) end;
    v_side public.position_side := case when p_closes is null then case b ->> 'side' when 'buy' then 'long' else 'short' end
                                        else case b ->> 'side' when 'buy' then 'short' else 'long' end end;
begin
    update public.profile_capital c set reserved_usd = c.reserved_usd + v_notional where c.profile_id = f.id and v_notional is not null;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type, order_class,
        limit_price, stop_price, notional_usd, reserved_usd, state, reason, exit_reason, trade_id, broker_order_id, market_at,
        submitted_at, accepted_at)
    values (v_id, f.owner_id, f.id, f.shard, b ->> 'symbol', (b ->> 'side')::public.order_side, v_side,
        case when p_closes is null then 'entry' else 'exit' end::public.order_purpose, p_qty, b ->> 'type', 'simple',
        private.price(b ->> 'limit_price'), private.price(b ->> 'stop_price'), v_notional, coalesce(v_notional, 0), 'working',
        'Made outside of Interlock and adopted.', case when p_closes is not null then 'external' end,
        coalesce(p_closes, v_id), b ->> 'broker_order_id', (b ->> 'updated_at')::timestamptz, clock_timestamp(), clock_timestamp());
    perform private.audit('adopt_order', 'profile:' || f.id, 'done', 'An order of the account that is not ours was adopted.',
                          jsonb_build_object('order_id', v_id, 'symbol', b ->> 'symbol', 'side', b ->> 'side', 'qty', p_qty), f.owner_id);
    perform private.apply_broker_orders(array[v_id], array[b]);
end;
$$;

drop function private.book_fill(public.orders, numeric, numeric, timestamptz);
drop function private.restate_trade(uuid);
drop function private.sum_fills(uuid);
drop function private.apply_broker_order(uuid, jsonb);
drop function private.make_legs(uuid, jsonb);
drop function private.apply_legs(uuid, jsonb);
drop function private.apply_submission(jsonb, text);
drop function private.apply_update(jsonb, text);
