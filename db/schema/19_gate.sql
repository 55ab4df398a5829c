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

-- One line of the list of checks. Limit and observed value come as JSON text; a limit that is not set is null
-- and has not passed. Pure text, because building JSON value by value costs several times as much.
create function private.check_line(p_name text, p_limit text, p_observed text, p_passed boolean)
    returns text
    language sql
    immutable
as $$
    select concat('{"name":"', p_name, '","limit":', coalesce(p_limit, 'null'), ',"observed":', coalesce(p_observed, 'null'),
                  ',"passed":', case when p_passed is true then 'true' else 'false' end, '}');
$$;

-- Judge a snapshot. Pure. Every check is evaluated, in the order in which the first failure counts.
create function private.gate_checks(s private.gate_snapshot)
    returns jsonb
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v_checks jsonb;
begin
    v_checks := concat('[',
        private.check_line('TRADING_HALTED', '"RUNNING"', '"' || s.mode || '"', s.mode <> 'HALTED'), ',',
        private.check_line('TRADING_PAUSED', '"RUNNING"', '"' || s.mode || '"', s.mode <> 'PAUSED'), ',',
        private.check_line('MODE_DISABLED', '"paper or live"', '"' || s.trading_mode || '"', s.trading_mode <> 'disabled'), ',',
        private.check_line('PROFILE_INACTIVE', 'true', s.profile_active::text, s.profile_active), ',',
        private.check_line('SYMBOL_LOCKED', '"not locked out"', to_char(s.locked_until at time zone 'UTC', '"\""YYYY-MM-DD"T"HH24:MI:SS"Z\""'), s.locked_until is null), ',',
        private.check_line('SIGNAL_STALE', s.signal_bars_max::text, s.signal_age_bars::text,
                           coalesce(s.signal_age_bars, 0) <= s.signal_bars_max), ',',
        private.check_line('QUOTE_STALE', s.quote_age_max_s::text, s.quote_age_s::text, s.quote_age_s <= s.quote_age_max_s), ',',
        private.check_line('ORDER_UNKNOWN', '0', s.unknown_orders::text, s.unknown_orders = 0), ',',
        private.check_line('RECONCILIATION_BREAK', '0', s.breaks::text, s.breaks = 0), ',',
        private.check_line('DUPLICATE_ORDER', '0', s.open_entries::text, s.open_entries = 0), ',',
        private.check_line('STAGED_SIZE', coalesce(s.stage_fraction, 1)::text, s.qty::text, s.qty > 0), ',',
        private.check_line('ORDER_QTY_MAX', s.order_qty_max::text, s.qty::text, s.qty <= s.order_qty_max), ',',
        private.check_line('ORDER_NOTIONAL_MAX', s.order_notional_max_usd::text, s.notional_usd::text,
                           s.notional_usd <= s.order_notional_max_usd), ',',
        private.check_line('PRICE_COLLAR', s.price_collar_pct::text,
                           round(abs(s.limit_price - s.reference_price) / s.reference_price, 6)::text,
                           abs(s.limit_price - s.reference_price) <= s.price_collar_pct * s.reference_price), ',',
        private.check_line('OPEN_ORDERS_MAX', s.open_orders_max::text, (s.open_orders + 1)::text, s.open_orders + 1 <= s.open_orders_max), ',',
        private.check_line('POSITIONS_MAX', s.positions_max::text, (s.positions + 1)::text, s.positions + 1 <= s.positions_max), ',',
        private.check_line('POSITION_LIMIT', s.position_notional_max_usd::text, (s.position_notional_usd + s.notional_usd)::text,
                           s.position_notional_usd + s.notional_usd <= s.position_notional_max_usd), ',',
        private.check_line('SECTOR_EXPOSURE', (s.sector_max_pct * s.owner_capital_usd)::text, (s.sector_exposure_usd + s.notional_usd)::text,
                           s.sector_exposure_usd + s.notional_usd <= s.sector_max_pct * s.owner_capital_usd), ',',
        private.check_line('GROSS_EXPOSURE', (s.gross_max_pct * s.owner_capital_usd)::text, (s.gross_exposure_usd + s.notional_usd)::text,
                           s.gross_exposure_usd + s.notional_usd <= s.gross_max_pct * s.owner_capital_usd), ',',
        private.check_line('CAPITAL_INSUFFICIENT', s.capital_usd::text, (s.reserved_usd + s.used_usd + s.notional_usd)::text,
                           s.reserved_usd + s.used_usd + s.notional_usd <= s.capital_usd), ',',
        private.check_line('ORDER_RATE', s.orders_per_minute_max::text, (s.orders_last_minute + 1)::text,
                           s.orders_last_minute + 1 <= s.orders_per_minute_max), ',',
        private.check_line('ORDER_RATE', s.orders_per_day_max::text, (s.orders_last_day + 1)::text,
                           s.orders_last_day + 1 <= s.orders_per_day_max), ',',
        private.check_line('REPEATED_EXECUTION', s.repeats_max::text, (s.repeats + 1)::text, s.repeats + 1 <= s.repeats_max), ',',
        private.check_line('DAILY_LOSS', (s.daily_loss_max_pct * s.capital_usd)::text, s.daily_loss_usd::text,
                           s.daily_loss_usd < s.daily_loss_max_pct * s.capital_usd), ',',
        private.check_line('DRAWDOWN', s.drawdown_max_pct::text, s.drawdown_pct::text, s.drawdown_pct < s.drawdown_max_pct), ',',
        private.check_line('LOSS_STREAK', s.loss_streak_max::text, s.loss_streak::text, s.loss_streak < s.loss_streak_max), ',',
        private.check_line('WASH_TRADE', 'false', s.crosses_own_order::text, not s.crosses_own_order), ',',
        private.check_line('MARKET_CLOSED', s.entries_when_closed::text, s.market_open::text,
                           s.entries_when_closed or s.entries_when_closed is not null and s.market_open), ']')::jsonb;
    if s.overrides is not null then
        v_checks := private.with_overrides(v_checks, s.overrides);
    end if;
    return v_checks;
end;
$$;

-- The checks with those passed that an admin has overridden; a limit that is not set stays unpassed.
create function private.with_overrides(p_checks jsonb, p_overrides text[])
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_agg(case when not (c.value ->> 'passed')::boolean and c.value ->> 'name' = any (p_overrides) and c.value -> 'limit' <> 'null'
                          then c.value || '{"passed": true, "overridden": true}' else c.value end order by c.ordinality)
    from jsonb_array_elements(p_checks) with ordinality c;
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

-- Why a person has to approve an entry that passed every check; empty when nobody has to. Pure.
create function private.approval_reasons(p_config jsonb, s private.gate_snapshot)
    returns text[]
    language sql
    immutable
    set search_path = ''
as $$
    select array_remove(array[
        case when private.requires_approval(p_config, s.trading_mode) then 'mode' end,
        case when s.notional_usd >= (a.rules ->> 'notional_above_usd')::numeric then 'notional' end,
        case when (a.rules ->> 'first_trade_in_symbol')::boolean and s.first_trade then 'first_trade' end,
        case when (a.rules ->> 'off_hours')::boolean and not coalesce(s.market_open, false) then 'off_hours' end,
        case when s.loss_streak >= (a.rules ->> 'after_loss_streak')::int then 'loss_streak' end,
        case when s.staged then 'staged_resume' end], null)
    from (select p_config -> 'operator_approval' as rules) a;
$$;
