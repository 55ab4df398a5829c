-- The gate: every check of an entry in one transaction, every answer recorded with its inputs.

-- One entry as it is put to the gate. Times are market times.
create type private.entry_request as (
    position          int,                           -- in the call
    id                uuid,
    profile_id        uuid,
    symbol            text,
    side              public.order_side,
    qty               numeric,
    limit_price       numeric,
    reference_price   numeric,
    stop_loss_price   numeric,
    take_profit_price numeric,
    time_in_force     text,
    market_at         timestamptz,
    quote_at          timestamptz,                   -- of reference_price
    market_open       boolean,
    signal            jsonb
);

-- What the gate knows about one request when it judges it. engine/domain/risk.py holds the same shape.
create type private.gate_snapshot as (
    mode                      public.control_mode,   -- effective over global, profile and symbol
    trading_mode              public.trading_mode,
    profile_active            boolean,
    locked_until              timestamptz,           -- NULL: not locked out
    lock_reason               text,
    signal_age_bars           numeric,               -- since the signal's bar was complete; NULL: no signal
    quote_age_s               numeric,               -- NULL: not known, which blocks
    unknown_orders            int,                   -- in this symbol, whoever's
    breaks                    int,                   -- open findings of reconciliation in this symbol
    open_entries              int,                   -- of this profile in this symbol and direction
    stage_fraction            numeric,               -- of a staged resume; NULL: full size
    qty                       numeric,               -- after stage_fraction
    limit_price               numeric,
    reference_price           numeric,
    notional_usd              numeric,
    open_orders               int,                   -- of this profile: entries that work or may be sent
    positions                 int,                   -- symbols of this profile held or being entered, without this one
    position_notional_usd     numeric,               -- already held or being entered in this symbol
    sector                    text,
    sector_exposure_usd       numeric,               -- of the owner, held or being entered
    gross_exposure_usd        numeric,               -- of the owner, held or being entered
    owner_capital_usd         numeric,
    capital_usd               numeric,
    reserved_usd              numeric,
    used_usd                  numeric,
    orders_last_minute        int,                   -- entries of this profile that the gate let through
    orders_last_day           int,
    repeats                   int,                   -- of them in this symbol and direction, within the window
    daily_loss_usd            numeric,               -- since the last session's close
    drawdown_pct              numeric,               -- a fraction below the peak
    loss_streak               int,
    crosses_own_order         boolean,               -- an order of ours on the other side could trade with it
    market_open               boolean,
    first_trade               boolean,               -- of this profile in this symbol; NULL: no rule asks
    staged                    boolean,               -- a staged resume asks for approval
    overrides                 text[],                -- limits that an admin lets it pass; NULL: none
    order_qty_max             numeric,               -- the limits; NULL: not set, which blocks
    order_notional_max_usd    numeric,
    price_collar_pct          numeric,               -- a fraction: 0.05 is 5 %
    signal_bars_max           numeric,
    quote_age_max_s           numeric,
    open_orders_max           int,
    positions_max             int,
    position_notional_max_usd numeric,
    sector_max_pct            numeric,               -- fractions of the owner's capital
    gross_max_pct             numeric,
    orders_per_minute_max     int,
    orders_per_day_max        int,
    repeats_max               int,
    daily_loss_max_pct        numeric,               -- fractions of the profile's capital and peak
    drawdown_max_pct          numeric,
    loss_streak_max           int,
    entries_when_closed       boolean
);

-- What the gate decided. The list of checks and the inputs are read from public.decision_log, which makes them of the
-- snapshot: to write both as JSON costs more than to judge.
create table public.decisions (
    id             bigint generated always as identity primary key,
    order_id       uuid not null,
    owner_id       uuid not null,
    profile_id     uuid not null,
    symbol         text not null,
    side           public.order_side not null,
    outcome        public.order_state not null,
    code           text,
    snapshot       private.gate_snapshot,        -- what was judged, limits and observed values: enough to judge it again
    passed         boolean[],                    -- what was found, by check
    config_version int not null,
    market_at      timestamptz,
    created_at     timestamptz not null default now(),
    checks         json,                         -- of decisions that were noted as JSON; NULL: made of the snapshot
    inputs         json
);
create index decisions_order on public.decisions (order_id);
create index decisions_owner on public.decisions (owner_id, created_at desc);
create index decisions_created on public.decisions using brin (created_at);
comment on table public.decisions is 'One row per decision of the gate: the snapshot it judged and what each check found. Append-only.';
create trigger decisions_are_append_only
    before update or delete on public.decisions
    for each statement execute function private.refuse_change();

alter table public.decisions enable row level security;
create policy "owners and staff read decisions"
    on public.decisions for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- Judge a snapshot. Pure. Every rule is evaluated, in the order in which the first failure counts; a comparison
-- with a limit that is not set, or with what is not known, has not passed.
create function private.gate_passes(s private.gate_snapshot)
    returns boolean[]
    language sql
    immutable
as $$
    select array[
        (s.mode <> 'HALTED') is true,
        (s.mode <> 'PAUSED') is true,
        (s.trading_mode <> 'disabled') is true,
        s.profile_active is true,
        s.locked_until is null,
        (coalesce(s.signal_age_bars, 0) <= s.signal_bars_max) is true,
        (s.quote_age_s <= s.quote_age_max_s) is true,
        (s.unknown_orders = 0) is true,
        (s.breaks = 0) is true,
        (s.open_entries = 0) is true,
        (s.qty > 0) is true,
        (s.qty <= s.order_qty_max) is true,
        (s.notional_usd <= s.order_notional_max_usd) is true,
        (abs(s.limit_price - s.reference_price) <= s.price_collar_pct * s.reference_price) is true,
        (s.open_orders + 1 <= s.open_orders_max) is true,
        (s.positions + 1 <= s.positions_max) is true,
        (s.position_notional_usd + s.notional_usd <= s.position_notional_max_usd) is true,
        (s.sector_exposure_usd + s.notional_usd <= s.sector_max_pct * s.owner_capital_usd) is true,
        (s.gross_exposure_usd + s.notional_usd <= s.gross_max_pct * s.owner_capital_usd) is true,
        (s.reserved_usd + s.used_usd + s.notional_usd <= s.capital_usd) is true,
        (s.orders_last_minute + 1 <= s.orders_per_minute_max) is true,
        (s.orders_last_day + 1 <= s.orders_per_day_max) is true,
        (s.repeats + 1 <= s.repeats_max) is true,
        (s.daily_loss_usd < s.daily_loss_max_pct * s.capital_usd) is true,
        (s.drawdown_pct < s.drawdown_max_pct) is true,
        (s.loss_streak < s.loss_streak_max) is true,
        (not s.crosses_own_order) is true,
        (s.entries_when_closed or s.entries_when_closed is not null and s.market_open) is true];
$$;

-- The list of checks: each rule's name, limit, observed value and whether it passed. Pure. One formatted text,
-- because building the list value by value takes five times as long; what is NULL leaves a gap that is filled.
-- `p` is what the gate found when it judged; without it the snapshot is judged now.
create function private.gate_checks(s private.gate_snapshot, p boolean[] default null)
    returns json
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v_checks text;
begin
    p := coalesce(p, private.gate_passes(s));
    v_checks := replace(format(
        '[{"name":"TRADING_HALTED","limit":"RUNNING","observed":"%s","passed":%s},'
        '{"name":"TRADING_PAUSED","limit":"RUNNING","observed":"%s","passed":%s},'
        '{"name":"MODE_DISABLED","limit":"paper or live","observed":"%s","passed":%s},'
        '{"name":"PROFILE_INACTIVE","limit":true,"observed":%s,"passed":%s},'
        '{"name":"SYMBOL_LOCKED","limit":"not locked out","observed":%s,"passed":%s},'
        '{"name":"SIGNAL_STALE","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"QUOTE_STALE","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"ORDER_UNKNOWN","limit":0,"observed":%s,"passed":%s},'
        '{"name":"RECONCILIATION_BREAK","limit":0,"observed":%s,"passed":%s},'
        '{"name":"DUPLICATE_ORDER","limit":0,"observed":%s,"passed":%s},'
        '{"name":"STAGED_SIZE","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"ORDER_QTY_MAX","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"ORDER_NOTIONAL_MAX","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"PRICE_COLLAR","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"OPEN_ORDERS_MAX","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"POSITIONS_MAX","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"POSITION_LIMIT","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"SECTOR_EXPOSURE","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"GROSS_EXPOSURE","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"CAPITAL_INSUFFICIENT","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"ORDER_RATE","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"ORDER_RATE","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"REPEATED_EXECUTION","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"DAILY_LOSS","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"DRAWDOWN","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"LOSS_STREAK","limit":%s,"observed":%s,"passed":%s},'
        '{"name":"WASH_TRADE","limit":false,"observed":%s,"passed":%s},'
        '{"name":"MARKET_CLOSED","limit":%s,"observed":%s,"passed":%s}]',
        s.mode, p[1]::text,
        s.mode, p[2]::text,
        s.trading_mode, p[3]::text,
        s.profile_active::text, p[4]::text,
        to_char(s.locked_until at time zone 'UTC', '"\""YYYY-MM-DD"T"HH24:MI:SS"Z\""'), p[5]::text,
        s.signal_bars_max, s.signal_age_bars, p[6]::text,
        s.quote_age_max_s, s.quote_age_s, p[7]::text,
        s.unknown_orders, p[8]::text,
        s.breaks, p[9]::text,
        s.open_entries, p[10]::text,
        coalesce(s.stage_fraction, 1), s.qty, p[11]::text,
        s.order_qty_max, s.qty, p[12]::text,
        s.order_notional_max_usd, s.notional_usd, p[13]::text,
        s.price_collar_pct, round(abs(s.limit_price - s.reference_price) / s.reference_price, 6), p[14]::text,
        s.open_orders_max, s.open_orders + 1, p[15]::text,
        s.positions_max, s.positions + 1, p[16]::text,
        s.position_notional_max_usd, s.position_notional_usd + s.notional_usd, p[17]::text,
        s.sector_max_pct * s.owner_capital_usd, s.sector_exposure_usd + s.notional_usd, p[18]::text,
        s.gross_max_pct * s.owner_capital_usd, s.gross_exposure_usd + s.notional_usd, p[19]::text,
        s.capital_usd, s.reserved_usd + s.used_usd + s.notional_usd, p[20]::text,
        s.orders_per_minute_max, s.orders_last_minute + 1, p[21]::text,
        s.orders_per_day_max, s.orders_last_day + 1, p[22]::text,
        s.repeats_max, s.repeats + 1, p[23]::text,
        s.daily_loss_max_pct * s.capital_usd, s.daily_loss_usd, p[24]::text,
        s.drawdown_max_pct, s.drawdown_pct, p[25]::text,
        s.loss_streak_max, s.loss_streak, p[26]::text,
        s.crosses_own_order::text, p[27]::text,
        s.entries_when_closed::text, s.market_open::text, p[28]::text), '":,', '":null,');
    if s.overrides is not null then
        return private.with_overrides(v_checks::jsonb, s.overrides);
    end if;
    return v_checks;
end;
$$;

-- The checks with those passed that an admin has overridden; a limit that is not set stays unpassed.
create function private.with_overrides(p_checks jsonb, p_overrides text[])
    returns json
    language sql
    immutable
    set search_path = ''
as $$
    select json_agg(case when not (c.value ->> 'passed')::boolean and c.value ->> 'name' = any (p_overrides) and c.value -> 'limit' <> 'null'
                         then c.value || '{"passed": true, "overridden": true}' else c.value end order by c.ordinality)
    from jsonb_array_elements(p_checks) with ordinality c;
$$;

-- Every decision as people and replays read it.
create view public.decision_log with (security_invoker = true) as
select d.id, d.order_id, d.owner_id, d.profile_id, d.symbol, d.side, d.outcome, d.code,
       coalesce(d.checks, private.gate_checks(d.snapshot, d.passed)) as checks,  -- [{name, limit, observed, passed}] in the order of judgement
       coalesce(d.inputs, row_to_json(d.snapshot)) as inputs,                    -- the snapshot that was judged
       d.config_version, d.market_at, d.created_at
from public.decisions d;
comment on view public.decision_log is 'One row per decision of the gate: every check with its limit and observed value, and the inputs.';
revoke all on public.decisions, public.decision_log from anon, authenticated, service_role;
grant select on public.decisions, public.decision_log to authenticated, service_role;
grant execute on function private.gate_checks(private.gate_snapshot, boolean[]) to authenticated, service_role;
grant execute on function private.gate_passes(private.gate_snapshot) to authenticated, service_role;
grant execute on function private.with_overrides(jsonb, text[]) to authenticated, service_role;

-- The code of the first check that failed, or NULL when all passed.
create function private.gate_code(p_checks json)
    returns text
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v_failed jsonb;
begin
    if strpos(p_checks::text, '"passed":false') > 0 or strpos(p_checks::text, '"passed": false') > 0 then
        v_failed := jsonb_path_query_first(p_checks::jsonb, '$[*] ? (@.passed == false)');
        return case when v_failed -> 'limit' = 'null' then 'LIMIT_NOT_SET' else v_failed ->> 'name' end;
    end if;
    return null;
end;
$$;

-- A denial in plain words; NULL when all checks passed.
create function private.gate_reason(p_checks json)
    returns text
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v_failed jsonb := jsonb_path_query_first(p_checks::jsonb, '$[*] ? (@.passed == false)');
    v_over text;
begin
    if v_failed is null then
        return null;
    elsif v_failed -> 'limit' = 'null' then
        return format('The limit %s is not set; an unset limit blocks.', v_failed ->> 'name');
    elsif v_failed ->> 'name' = 'SYMBOL_LOCKED' then
        return format('The symbol is locked out until %s.', to_char((v_failed ->> 'observed')::timestamptz at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'));
    elsif v_failed ->> 'name' = 'QUOTE_STALE' and v_failed -> 'observed' = 'null' then
        return 'The time of the quote is not known.';
    end if;
    v_over := case v_failed ->> 'name'
        when 'SIGNAL_STALE' then 'The signal''s age, in bars,'
        when 'QUOTE_STALE' then 'The quote''s age, in seconds,'
        when 'ORDER_QTY_MAX' then 'The quantity'
        when 'ORDER_NOTIONAL_MAX' then 'The order''s notional in USD'
        when 'PRICE_COLLAR' then 'The limit price''s distance from the quote, as a fraction,'
        when 'OPEN_ORDERS_MAX' then 'The number of open entries'
        when 'POSITIONS_MAX' then 'The number of symbols held'
        when 'POSITION_LIMIT' then 'The position''s notional in USD'
        when 'SECTOR_EXPOSURE' then 'The exposure to the symbol''s sector, in USD,'
        when 'GROSS_EXPOSURE' then 'The exposure of all the owner''s profiles, in USD,'
        when 'CAPITAL_INSUFFICIENT' then 'The capital that would be committed, in USD,'
        when 'ORDER_RATE' then 'The number of entries in the time allowed for them'
        when 'REPEATED_EXECUTION' then 'The number of times that the same entry was made'
        when 'DAILY_LOSS' then 'Today''s loss in USD'
        when 'DRAWDOWN' then 'The drawdown, as a fraction,'
        when 'LOSS_STREAK' then 'The number of losing trades in a row' end;
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
        when 'RECONCILIATION_BREAK' then 'Our books and the broker''s differ in this symbol.'
        when 'DUPLICATE_ORDER' then 'An entry of this profile in this symbol is already open.'
        when 'STAGED_SIZE' then 'The fraction of its size that the staged resume allows is less than one share.'
        when 'WASH_TRADE' then 'It could trade with an order of ours on the other side.'
        when 'MARKET_CLOSED' then 'The market is closed.' end;
end;
$$;

-- What the gate finds about a snapshot.
create type private.gate_verdict as (
    passed  boolean[],                               -- by check, in the order of judgement
    code    text,                                    -- of a denial
    reason  text,
    outcome public.order_state
);

-- The gate's finding about a snapshot. Pure. The list of checks is made of it when somebody reads it.
create function private.judge(s private.gate_snapshot, m private.gate_limits)
    returns private.gate_verdict
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v private.gate_verdict;
    v_checks json;
begin
    v.passed := private.gate_passes(s);
    if false = any (v.passed) then
        v_checks := private.gate_checks(s, v.passed);
        v.code := private.gate_code(v_checks);
        v.reason := private.gate_reason(v_checks);
    end if;
    v.outcome := case when v.code is not null then 'denied' when private.asks_approval(s, m) then 'awaiting_approval' else 'ready' end;
    return v;
end;
$$;

-- Whether a person has to approve an entry that passed every check: whether private.approval_reasons has any. Pure.
create function private.asks_approval(s private.gate_snapshot, m private.gate_limits)
    returns boolean
    language sql
    immutable
as $$
    select coalesce(case s.trading_mode when 'live' then m.asks_live when 'paper' then m.asks_paper end
                    or s.notional_usd >= m.asks_above_usd, false)
        or coalesce(m.asks_first_trade and s.first_trade, false)
        or coalesce(m.asks_off_hours and not coalesce(s.market_open, false), false)
        or coalesce(s.loss_streak >= m.asks_after_streak, false) or coalesce(s.staged, false);
$$;

-- Why a person has to approve an entry that passed every check; empty when nobody has to. Pure.
create function private.approval_reasons(p_config jsonb, s private.gate_snapshot)
    returns text[]
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v_rules jsonb := p_config -> 'operator_approval';
begin
    return array_remove(array[
        case when private.requires_approval(p_config, s.trading_mode) then 'mode' end,
        case when s.notional_usd >= (v_rules ->> 'notional_above_usd')::numeric then 'notional' end,
        case when (v_rules ->> 'first_trade_in_symbol')::boolean and s.first_trade then 'first_trade' end,
        case when (v_rules ->> 'off_hours')::boolean and not coalesce(s.market_open, false) then 'off_hours' end,
        case when s.loss_streak >= (v_rules ->> 'after_loss_streak')::int then 'loss_streak' end,
        case when s.staged then 'staged_resume' end], null);
end;
$$;
