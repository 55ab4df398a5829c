-- The gate: every check of an entry in one transaction, every answer recorded with its inputs.

create table public.decision_log (
    id             bigint generated always as identity primary key,
    order_id       uuid not null,
    owner_id       uuid not null,
    profile_id     uuid not null,
    symbol         text not null,
    side           public.order_side not null,
    outcome        public.order_state not null,
    code           text,
    checks         jsonb not null,               -- [{name, limit, observed, passed}] in the order of judgement
    inputs         jsonb not null,               -- the snapshot that was judged: enough to judge it again
    config_version int not null,
    market_at      timestamptz,
    created_at     timestamptz not null default now()
);
create index decision_log_order on public.decision_log (order_id);
create index decision_log_owner on public.decision_log (owner_id, created_at desc);
create index decision_log_created on public.decision_log using brin (created_at);
comment on table public.decision_log is 'One row per decision of the gate: every check with its limit and observed value. Append-only.';
create trigger decision_log_is_append_only
    before update or delete on public.decision_log
    for each statement execute function private.refuse_change();

alter table public.decision_log enable row level security;
revoke all on public.decision_log from anon, authenticated, service_role;
grant select on public.decision_log to authenticated, service_role;
create policy "owners and staff read decisions"
    on public.decision_log for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));

-- What the gate knows about one request when it judges it. engine/domain/risk.py holds the same shape.
create type private.gate_snapshot as (
    mode                      public.control_mode,   -- effective over global, profile and symbol
    trading_mode              public.trading_mode,
    profile_active            boolean,
    qty                       numeric,
    limit_price               numeric,
    reference_price           numeric,
    notional_usd              numeric,
    unknown_orders            int,                   -- in this symbol, whoever's
    open_entries              int,                   -- of this profile in this symbol and direction
    open_orders               int,                   -- of this profile: entries that work or may be sent
    positions                 int,                   -- symbols of this profile held or being entered, without this one
    position_notional_usd     numeric,               -- already held or being entered in this symbol
    capital_usd               numeric,
    reserved_usd              numeric,
    used_usd                  numeric,
    order_qty_max             numeric,               -- the limits; NULL: not set, which blocks
    order_notional_max_usd    numeric,
    price_collar_pct          numeric,               -- a fraction: 0.05 is 5 %
    open_orders_max           int,
    positions_max             int,
    position_notional_max_usd numeric
);

-- Judge a snapshot. Pure. Every check is evaluated, in the order in which the first failure counts.
-- A comparison with a limit that is not set is NULL and therefore not passed. Without a search_path of
-- its own, so that it is inlined where a batch is judged.
create function private.gate_checks(s private.gate_snapshot)
    returns jsonb
    language sql
    immutable
as $$
    select jsonb_build_array(
        jsonb_build_object('name', 'TRADING_HALTED', 'limit', 'RUNNING', 'observed', s.mode, 'passed', (s.mode <> 'HALTED') is true),
        jsonb_build_object('name', 'TRADING_PAUSED', 'limit', 'RUNNING', 'observed', s.mode, 'passed', (s.mode <> 'PAUSED') is true),
        jsonb_build_object('name', 'MODE_DISABLED', 'limit', 'paper or live', 'observed', s.trading_mode, 'passed', (s.trading_mode <> 'disabled') is true),
        jsonb_build_object('name', 'PROFILE_INACTIVE', 'limit', true, 'observed', s.profile_active, 'passed', s.profile_active is true),
        jsonb_build_object('name', 'ORDER_UNKNOWN', 'limit', 0, 'observed', s.unknown_orders, 'passed', (s.unknown_orders = 0) is true),
        jsonb_build_object('name', 'DUPLICATE_ORDER', 'limit', 0, 'observed', s.open_entries, 'passed', (s.open_entries = 0) is true),
        jsonb_build_object('name', 'ORDER_QTY_MAX', 'limit', s.order_qty_max, 'observed', s.qty, 'passed', (s.qty <= s.order_qty_max) is true),
        jsonb_build_object('name', 'ORDER_NOTIONAL_MAX', 'limit', s.order_notional_max_usd, 'observed', s.notional_usd,
                           'passed', (s.notional_usd <= s.order_notional_max_usd) is true),
        jsonb_build_object('name', 'PRICE_COLLAR', 'limit', s.price_collar_pct,
                           'observed', round(abs(s.limit_price - s.reference_price) / s.reference_price, 6),
                           'passed', (abs(s.limit_price - s.reference_price) <= s.price_collar_pct * s.reference_price) is true),
        jsonb_build_object('name', 'OPEN_ORDERS_MAX', 'limit', s.open_orders_max, 'observed', s.open_orders + 1,
                           'passed', (s.open_orders + 1 <= s.open_orders_max) is true),
        jsonb_build_object('name', 'POSITIONS_MAX', 'limit', s.positions_max, 'observed', s.positions + 1,
                           'passed', (s.positions + 1 <= s.positions_max) is true),
        jsonb_build_object('name', 'POSITION_LIMIT', 'limit', s.position_notional_max_usd, 'observed', s.position_notional_usd + s.notional_usd,
                           'passed', (s.position_notional_usd + s.notional_usd <= s.position_notional_max_usd) is true),
        jsonb_build_object('name', 'CAPITAL_INSUFFICIENT', 'limit', s.capital_usd, 'observed', s.reserved_usd + s.used_usd + s.notional_usd,
                           'passed', (s.reserved_usd + s.used_usd + s.notional_usd <= s.capital_usd) is true));
$$;

-- The code of the first check that failed, or NULL when all passed.
create function private.gate_code(p_checks jsonb)
    returns text
    language sql
    immutable
as $$
    select case when f.failed -> 'limit' = 'null' then 'LIMIT_NOT_SET' else f.failed ->> 'name' end
    from (select jsonb_path_query_first(p_checks, '$[*] ? (@.passed == false)') as failed) f;
$$;

-- A denial in plain words; NULL when all checks passed.
create function private.gate_reason(p_checks jsonb)
    returns text
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v_failed jsonb := jsonb_path_query_first(p_checks, '$[*] ? (@.passed == false)');
    v_over text;
begin
    if v_failed is null then
        return null;
    elsif v_failed -> 'limit' = 'null' then
        return format('The limit %s is not set; an unset limit blocks.', v_failed ->> 'name');
    end if;
    v_over := case v_failed ->> 'name'
        when 'ORDER_QTY_MAX' then 'The quantity'
        when 'ORDER_NOTIONAL_MAX' then 'The order''s notional in USD'
        when 'PRICE_COLLAR' then 'The limit price''s distance from the quote, as a fraction,'
        when 'OPEN_ORDERS_MAX' then 'The number of open entries'
        when 'POSITIONS_MAX' then 'The number of symbols held'
        when 'POSITION_LIMIT' then 'The position''s notional in USD'
        when 'CAPITAL_INSUFFICIENT' then 'The capital that would be committed, in USD,' end;
    if v_over is not null then
        return format('%s is %s; the limit is %s.', v_over, trim_scale((v_failed ->> 'observed')::numeric),
                      trim_scale((v_failed ->> 'limit')::numeric));
    end if;
    return case v_failed ->> 'name'
        when 'TRADING_HALTED' then 'Trading is halted.'
        when 'TRADING_PAUSED' then 'Trading is paused by an administrator.'
        when 'MODE_DISABLED' then 'The profile''s trading mode is disabled.'
        when 'PROFILE_INACTIVE' then 'The profile is not active.'
        when 'ORDER_UNKNOWN' then 'The fate of an earlier order in this symbol is not known yet.'
        when 'DUPLICATE_ORDER' then 'An entry of this profile in this symbol is already open.' end;
end;
$$;

-- What is wrong with the first malformed entry request; NULL when all are well formed.
create function private.entry_requests_error(p_requests jsonb, p_shard text)
    returns text
    language plpgsql
    stable
    set search_path = ''
as $$
declare
    v_error text;
begin
    if jsonb_typeof(p_requests) is distinct from 'array' then
        return 'p_requests must be an array of entry requests.';
    end if;
    select format('Entry request %s: %s.', coalesce(r.p ->> 'id', '(no id)'), e.error) into v_error
    from jsonb_array_elements(p_requests) with ordinality as r (p, position)
    left join public.profiles f on f.id = private.as_uuid(r.p ->> 'profile_id') and f.shard = p_shard
    cross join lateral (select case
        when private.as_uuid(r.p ->> 'id') is null then 'id must be a uuid'
        when f.id is null then format('profile %s does not exist in shard %s', r.p ->> 'profile_id', p_shard)
        when not coalesce(r.p ->> 'symbol' = any (f.symbols), false)
            then format('symbol %s is not one of the profile''s symbols (%s)', r.p ->> 'symbol', array_to_string(f.symbols, ', '))
        when coalesce(r.p ->> 'side', '') not in ('buy', 'sell') then 'side must be buy or sell'
        when coalesce(private.positive(r.p ->> 'qty'), 1e9) >= 1e9 then 'qty must be a number above 0 and below 1,000,000,000'
        when coalesce(private.positive(r.p ->> 'limit_price'), 1e6) >= 1e6 then 'limit_price must be a number above 0 and below 1,000,000'
        when coalesce(private.positive(r.p ->> 'reference_price'), 1e6) >= 1e6 then 'reference_price must be a number above 0 and below 1,000,000'
        when coalesce(private.positive(coalesce(r.p ->> 'stop_loss_price', '1')), 1e6) >= 1e6 then 'stop_loss_price must be a number above 0 and below 1,000,000'
        when coalesce(private.positive(coalesce(r.p ->> 'take_profit_price', '1')), 1e6) >= 1e6 then 'take_profit_price must be a number above 0 and below 1,000,000'
        end as error) e
    where e.error is not null
    order by r.position limit 1;
    return v_error;
end;
$$;

-- Judge and record the p_wave-th request of every profile in the batch, all at once. Requests of
-- one profile see each other's orders and reservations because they fall into different waves.
-- The caller holds the controls' shared lock and the profiles' capital rows.
create function private.decide_wave(p_requests jsonb, p_wave int, p_risk public.risk_configs)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan it afresh costs more than to run it
as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    with asked as (
        select r.*, f.owner_id, f.shard, f.strategy, f.trading_mode, f.active,
               c.capital_usd, c.reserved_usd, c.used_usd, round(r.qty * r.limit_price, 6) as notional_usd,
               case r.side when 'buy' then 'long' else 'short' end::public.position_side as position_side
        from (
            select a.*, row_number() over (partition by a.profile_id order by a.ordinality) as wave
            from rows from (jsonb_to_recordset(p_requests) as (
                id uuid, profile_id uuid, symbol text, side public.order_side, qty numeric, limit_price numeric,
                reference_price numeric, stop_loss_price numeric, take_profit_price numeric, time_in_force text,
                market_at timestamptz, signal jsonb)) with ordinality a) r
        join public.profiles f on f.id = r.profile_id
        join public.profile_capital c on c.profile_id = r.profile_id
        where r.wave = p_wave and not exists (select 1 from public.orders o where o.id = r.id)
    ), seen as materialized (
        select a.*, row(
            private.effective_mode(a.profile_id, a.symbol), a.trading_mode, a.active, a.qty, a.limit_price,
            a.reference_price, a.notional_usd,
            (select count(*) from public.orders o where o.symbol = a.symbol and o.state = 'unknown'),
            e.same_entries, e.entries,
            (select count(*) from (select unnest(e.symbols) union select n.symbol from public.positions n
                                   where n.profile_id = a.profile_id) h (symbol) where h.symbol <> a.symbol),
            e.symbol_reserved + coalesce((select sum(n.cost_usd) from public.positions n
                                          where n.profile_id = a.profile_id and n.symbol = a.symbol), 0),
            a.capital_usd, a.reserved_usd, a.used_usd,
            (p_risk.config #>> '{order_limits,qty_max}')::numeric,
            (p_risk.config #>> '{order_limits,notional_max_usd}')::numeric,
            (p_risk.config #>> '{order_limits,price_collar_pct}')::numeric,
            (p_risk.config #>> '{position_limits,open_orders_max}')::int,
            (p_risk.config #>> '{position_limits,positions_max}')::int,
            (p_risk.config #>> '{position_limits,position_notional_max_usd}')::numeric)::private.gate_snapshot as snapshot
        from asked a
        cross join lateral (
            select count(*) as entries,
                   count(*) filter (where o.symbol = a.symbol and o.position_side = a.position_side) as same_entries,
                   coalesce(sum(o.reserved_usd) filter (where o.symbol = a.symbol), 0) as symbol_reserved,
                   coalesce(array_agg(o.symbol), '{}') as symbols
            from public.orders o
            where o.profile_id = a.profile_id and o.purpose = 'entry'
              and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')) e
    ), judged as materialized (
        select s.*, private.gate_checks(s.snapshot) as checks from seen s
    ), coded as materialized (
        select j.*, private.gate_code(j.checks) as code from judged j
    ), decided as materialized (
        select d.*, case when d.code is not null then private.gate_reason(d.checks) end as reason,
               case when d.code is not null then 'denied'
                    when private.requires_approval(p_risk.config, d.trading_mode) then 'awaiting_approval'
                    else 'ready' end::public.order_state as state,
               case when jsonb_typeof(d.signal) = 'object' then gen_random_uuid() end as signal_id
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
        select d.id, d.owner_id, d.profile_id, d.symbol, d.side, d.state, d.code, d.checks, to_jsonb(d.snapshot),
               p_risk.version, d.market_at, v_now
        from decided d
    ), reserved as (
        update public.profile_capital c
           set reserved_usd = c.reserved_usd + d.notional_usd, updated_at = v_now
          from decided d
         where c.profile_id = d.profile_id and d.state <> 'denied'
           and c.reserved_usd + c.used_usd + d.notional_usd <= c.capital_usd
    )
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        order_class, time_in_force, limit_price, take_profit_price, stop_loss_price, reference_price, notional_usd,
        reserved_usd, state, code, reason, signal_id, trade_id, market_at, created_at, updated_at, ended_at)
    select d.id, d.owner_id, d.profile_id, d.shard, d.symbol, d.side, d.position_side, 'entry', d.qty, 'limit',
           case num_nonnulls(d.take_profit_price, d.stop_loss_price) when 2 then 'bracket' when 1 then 'oto' else 'simple' end,
           coalesce(d.time_in_force, 'gtc'), d.limit_price, d.take_profit_price, d.stop_loss_price, d.reference_price,
           d.notional_usd, case d.state when 'denied' then 0 else d.notional_usd end, d.state, d.code, d.reason,
           d.signal_id, d.id, d.market_at, v_now, v_now, case d.state when 'denied' then v_now end
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
    v_error text;
    v_risk public.risk_configs;
    v_waves int;
begin
    perform private.check_lease(p_shard, p_token);
    v_error := private.entry_requests_error(p_requests, p_shard);
    if v_error is not null then
        perform private.fail(422, 'INVALID', v_error);
    end if;

    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select (e.value ->> 'profile_id')::uuid from jsonb_array_elements(p_requests) e)
      order by c.profile_id for update;
    v_risk := private.risk_config();
    select max(w.requests) into v_waves
    from (select count(*) as requests from jsonb_array_elements(p_requests) e group by (e.value ->> 'profile_id')::uuid) w;
    for v_wave in 1 .. coalesce(v_waves, 0) loop
        perform private.decide_wave(p_requests, v_wave, v_risk);
    end loop;

    return (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'state', o.state, 'code', o.code, 'reason', o.reason)
                                      order by e.ordinality), '[]')
            from jsonb_array_elements(p_requests) with ordinality e
            join public.orders o on o.id = (e.value ->> 'id')::uuid);
end;
$$;
revoke execute on function public.request_entries(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.request_entries(text, bigint, jsonb) to service_role;
comment on function public.request_entries(text, bigint, jsonb) is
    'The gate: judges entries, reserves capital, records every check. Engine only.';
