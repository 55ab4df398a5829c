-- What the engine needs to be killed anywhere and lose nothing. Made from db/schema; the two build the same database.

-- The decisions are kept typed from now on, and read as before through a view of the old name.
alter table public.decision_log rename to decisions_before;

-- Symbols are spelled in capitals from now on.
update public.profiles set symbols = upper(symbols::text)::text[] where symbols::text <> upper(symbols::text);

drop index public.orders_open_by_profile;

drop policy "members read the controls" on public.trading_controls;

drop policy "members read the history of the controls" on public.trading_control_events;

drop policy "members read the schedules" on public.control_schedules;

drop function private.sector_exposures(p_owners uuid[], p_config jsonb);

drop function private.gross_exposures(p_owners uuid[]);

-- A positive, finite number from JSON text, to the 9 decimals that quantities have, or NULL: 'NaN', 'Infinity', '', signs,
-- words and what rounds to nothing are NULL.
create or replace function private.positive(p_text text)
    returns numeric
    language sql
    immutable
as $$
    select case when p_text ~ '^[0-9]{1,15}(\.[0-9]{1,15})?$' then nullif(round(p_text::numeric, 9), 0) end;
$$;

-- The same for a price, to the 6 decimals that prices have.
create function private.price(p_text text)
    returns numeric
    language sql
    immutable
as $$
    select nullif(round(private.positive(p_text), 6), 0);
$$;

create index audit_log_actor_at on public.audit_log (actor, at desc, id);

create index audit_log_action_at on public.audit_log (action, at desc, id);

create index audit_log_refused on public.audit_log (at desc, id) where outcome = 'refused';

alter table private.control_requests add column arguments_hash text not null default '';

drop function private.answered(p_request_id uuid, p_action text, p_target text);
-- What was answered to this request before; NULL when it is new. A repeat that is still under way is
-- waited for. An id that was used for something else, or with other arguments, is refused.
create function private.answered(p_request_id uuid, p_action text, p_target text, p_arguments jsonb default '[]')
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_seen private.control_requests;
begin
    if p_request_id is null then
        return null;
    end if;
    perform pg_advisory_xact_lock(7202, hashtext(p_request_id::text));
    select r.* into v_seen from private.control_requests r where r.request_id = p_request_id;
    if not found then
        return null;
    elsif (v_seen.action, v_seen.target, v_seen.actor, v_seen.arguments_hash)
          is distinct from (p_action, p_target, auth.uid(), md5(p_arguments::text)) then
        return private.refuse(409, 'CONFLICT', 'This request id was already used for something else.', p_action, p_target,
                              'Send each new request with a new id.');
    end if;
    return v_seen.response;
end;
$$;
-- rights anew

drop function private.answer(p_request_id uuid, p_action text, p_target text, p_response jsonb);
-- Keep an answer for repeats of the request, and give it.
create function private.answer(p_request_id uuid, p_action text, p_target text, p_response jsonb, p_arguments jsonb default '[]')
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    if p_request_id is not null then
        insert into private.control_requests (request_id, action, actor, response, target, arguments_hash)
        values (p_request_id, p_action, auth.uid(), p_response, p_target, md5(p_arguments::text));
    end if;
    return p_response;
end;
$$;
-- rights anew

-- What is wrong with a row of the log; NULL when it follows on the row before it and is as it was written.
create function private.audit_row_problem(a public.audit_log)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when a.prev_hash is distinct from coalesce((select p.hash from public.audit_log p where p.tenant = a.tenant and p.id < a.id
                                                    order by p.id desc limit 1), sha256(''))
            then 'It does not follow on the row before it: a row was removed, added or replaced.'
        when a.hash is distinct from private.audit_hash(a.prev_hash, a)
            then 'Its content was changed after it was written.' end;
$$;

-- The first chain whose end is not where its head says: rows were cut off. NULL when there is none.
create function private.audit_chain_cut_off()
    returns jsonb
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select jsonb_build_object('id', coalesce(l.id, 0), 'tenant', h.tenant, 'at', l.at, 'action', l.action,
                              'why', 'Rows are missing after it: the chain is shorter than its head says.')
    from private.audit_chain_heads h
    left join lateral (select a.* from public.audit_log a where a.tenant = h.tenant order by a.id desc limit 1) l on true
    where h.length > 0 and l.hash is distinct from h.hash
    order by l.id nulls first limit 1;
$$;

drop function public.verify_audit_chain();
-- Recompute the chains row by row, oldest first: at most p_rows rows after p_after_id, and with the last of them where each
-- chain ends. Answers the first broken row with why, or where to go on; next_after_id is NULL when nothing is left to look at.
-- Called by: admins. Errors: FORBIDDEN, INVALID.
create function public.verify_audit_chain(p_after_id bigint default 0, p_rows int default 25000)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_seen record;
    v_broken jsonb;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin can verify the audit log.', 'verify_audit_chain', 'audit_log');
    elsif coalesce(p_after_id, -1) < 0 or coalesce(p_rows, 0) not between 1 and 200000 then
        return private.refuse(422, 'INVALID', 'Name the row to go on after (0 for the first) and between 1 and 200,000 rows to look at.',
                              'verify_audit_chain', 'audit_log');
    end if;
    select count(*) as rows, max(n.id) as last_id,
           (array_agg(jsonb_build_object('id', n.id, 'tenant', n.tenant, 'at', n.at, 'action', n.action, 'why', n.problem) order by n.id)
               filter (where n.problem is not null))[1] as broken
      into v_seen
      from (select a.id, a.tenant, a.at, a.action, private.audit_row_problem(a) as problem
            from public.audit_log a where a.id > p_after_id order by a.id limit p_rows) n;
    v_broken := coalesce(v_seen.broken, case when v_seen.rows < p_rows then private.audit_chain_cut_off() end);
    return jsonb_build_object(
        'ok', v_broken is null, 'first_broken_id', v_broken -> 'id', 'first_broken', v_broken,
        'chains', (select count(*) from private.audit_chain_heads), 'rows', v_seen.rows,
        'next_after_id', case when v_broken is null and v_seen.rows = p_rows then v_seen.last_id end);
end;
$$;
-- rights anew
revoke execute on function public.verify_audit_chain(bigint, int) from public, anon;
grant execute on function public.verify_audit_chain(bigint, int) to authenticated;

revoke execute on function public.verify_audit_chain(bigint, int) from public, anon;

grant execute on function public.verify_audit_chain(bigint, int) to authenticated;

comment on function public.verify_audit_chain(bigint, int) is
    'Recomputes the audit log''s hash chains, some rows at a call; admins only. Answers ok, the first broken row, and where to go on.';

alter table public.profiles add constraint profiles_symbols_are_tickers check (symbols::text ~ '^\{[A-Z][A-Z0-9./-]{0,14}(,[A-Z][A-Z0-9./-]{0,14})*\}$');

alter table public.profiles add constraint profiles_capital_is_finite check (capital_usd < 1e15);

alter table public.profile_capital set (fillfactor = 60);

-- The capital of all of an owner's profiles, kept beside them: the gate asks for it at every entry.
create table private.owner_capital (
    owner_id    uuid primary key,
    capital_usd numeric(24, 2) not null
);

create function private.sync_owner_capital()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        update private.owner_capital o
           set capital_usd = o.capital_usd - x.usd
          from (select f.owner_id, sum(f.capital_usd) as usd from old_profiles f group by f.owner_id) x
         where o.owner_id = x.owner_id;
    end if;
    if tg_op <> 'DELETE' then
        insert into private.owner_capital as o (owner_id, capital_usd)
        select f.owner_id, sum(f.capital_usd) from new_profiles f group by f.owner_id order by f.owner_id
        on conflict (owner_id) do update set capital_usd = o.capital_usd + excluded.capital_usd;
    end if;
    return null;
end;
$$;

create trigger profiles_add_to_their_owners_capital
    after insert on public.profiles referencing new table as new_profiles
    for each statement execute function private.sync_owner_capital();

create trigger profiles_change_their_owners_capital
    after update on public.profiles referencing old table as old_profiles new table as new_profiles
    for each statement execute function private.sync_owner_capital();

create trigger profiles_leave_their_owners_capital
    after delete on public.profiles referencing old table as old_profiles
    for each statement execute function private.sync_owner_capital();

-- A configuration's limits, typed. NULL: not set, which blocks.
create type private.gate_limits as (
    order_qty_max             numeric,
    order_notional_max_usd    numeric,
    price_collar_pct          numeric,
    signal_bars_max           numeric,
    quote_age_max_s           numeric,
    open_orders_max           int,
    positions_max             int,
    position_notional_max_usd numeric,
    sector_max_pct            numeric,
    gross_max_pct             numeric,
    orders_per_minute_max     int,
    orders_per_day_max        int,
    repeats_max               int,
    repeats_window            interval,
    daily_loss_max_pct        numeric,
    drawdown_max_pct          numeric,
    loss_streak_max           int,
    loss_streak_window        interval,
    streak_looked_at          int,                   -- how many closed trades any rule needs
    entries_when_closed       boolean,
    asks_live                 boolean,               -- when a person has to approve what passed
    asks_paper                boolean,
    asks_above_usd            numeric,
    asks_first_trade          boolean,
    asks_off_hours            boolean,
    asks_after_streak         int
);

create function private.gate_limits_of(p_config jsonb)
    returns private.gate_limits
    language sql
    immutable
as $$
    select row(
        (p_config #>> '{order_limits,qty_max}')::numeric, (p_config #>> '{order_limits,notional_max_usd}')::numeric,
        (p_config #>> '{order_limits,price_collar_pct}')::numeric, (p_config #>> '{order_limits,signal_bars_max}')::numeric,
        (p_config #>> '{order_limits,quote_age_max_s}')::numeric, (p_config #>> '{position_limits,open_orders_max}')::int,
        (p_config #>> '{position_limits,positions_max}')::int, (p_config #>> '{position_limits,position_notional_max_usd}')::numeric,
        (p_config #>> '{sector_exposure,max_pct}')::numeric, (p_config #>> '{gross_exposure,max_pct}')::numeric,
        (p_config #>> '{order_rate,per_minute_max}')::int, (p_config #>> '{order_rate,per_day_max}')::int,
        (p_config #>> '{order_rate,repeats_max}')::int,
        make_interval(secs => coalesce((p_config #>> '{order_rate,repeats_window_s}')::float8, 3600)),
        (p_config #>> '{loss_limits,daily_loss_max_pct}')::numeric, (p_config #>> '{loss_limits,drawdown_max_pct}')::numeric,
        (p_config #>> '{loss_limits,loss_streak_max}')::int,
        make_interval(secs => 86400 * coalesce((p_config #>> '{loss_limits,loss_streak_days}')::float8, 5)),
        greatest((p_config #>> '{loss_limits,loss_streak_max}')::int, (p_config #>> '{operator_approval,after_loss_streak}')::int, 1),
        (p_config #>> '{market_hours,entries_when_closed}')::boolean,
        private.requires_approval(p_config, 'live'), private.requires_approval(p_config, 'paper'),
        (p_config #>> '{operator_approval,notional_above_usd}')::numeric,
        (p_config #>> '{operator_approval,first_trade_in_symbol}')::boolean, (p_config #>> '{operator_approval,off_hours}')::boolean,
        (p_config #>> '{operator_approval,after_loss_streak}')::int)::private.gate_limits;
$$;

alter table public.risk_configs add column limits private.gate_limits generated always as (private.gate_limits_of(config)) stored;

alter table public.risk_configs set (toast_tuple_target = 8160);

-- The shipped default sets every limit that the gate checks.
create or replace function private.default_risk_config()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select '{
        "order_limits": {
            "qty_max": "10000",
            "notional_max_usd": "25000",
            "price_collar_pct": "0.05",
            "signal_bars_max": 4,
            "quote_age_max_s": 300,
            "entry_ttl_s": 60,
            "permit_ttl_s": 10
        },
        "position_limits": {
            "positions_max": 10,
            "open_orders_max": 20,
            "position_notional_max_usd": "25000"
        },
        "sector_exposure": {
            "max_pct": "0.80",
            "sectors": {"AAPL": "technology", "MSFT": "technology", "IBM": "technology", "GOOG": "communication", "FB": "communication"}
        },
        "gross_exposure": {"max_pct": "1"},
        "order_rate": {"per_minute_max": 60, "per_day_max": 500, "repeats_max": 20, "repeats_window_s": 3600},
        "loss_limits": {"daily_loss_max_pct": "0.05", "drawdown_max_pct": "0.25", "loss_streak_max": 6, "loss_streak_days": 5},
        "market_hours": {"entries_when_closed": true},
        "signal_layers": {"macro": false, "competitive": false},
        "cooldown_lockout": {"enabled": false, "lock_minutes": 30, "losses_only": false},
        "stoploss_lockout": {"enabled": true, "stops_max": 3, "lookback_hours": 24, "lock_minutes": 60, "per_symbol": true},
        "drawdown_lockout": {"enabled": true, "drawdown_max_pct": "0.15", "lookback_days": 5, "lock_minutes": 240},
        "news_lockout": {
            "enabled": true, "headlines": true, "score_min": 3, "lookback_minutes": 60, "moves": true,
            "move_sigmas_min": 5, "move_min_pct": "0.05", "gap_min_pct": "0.08", "move_bars": 20, "lock_minutes": 60
        },
        "reconciliation_lockout": {"enabled": true, "lock_minutes": 30},
        "retention": {"decisions_days": null, "order_events_days": null, "bars_days": null},
        "operator_approval": {
            "auto_approve_paper": true,
            "require_approval_for_live": true,
            "approval_timeout_minutes": 15,
            "four_eyes": false,
            "notional_above_usd": null,
            "first_trade_in_symbol": false,
            "off_hours": false,
            "after_loss_streak": null
        }
    }'::jsonb;
$$;

-- What each known key may hold; other keys are kept as they are. A limit may be null: it is not set then, and blocks.
create or replace function private.risk_bounds()
    returns table (path text, kind text, minimum numeric, maximum numeric, nullable boolean)
    language sql
    immutable
    set search_path = ''
as $$
    values
        ('order_limits.qty_max', 'number', 0, 1e9, true),
        ('order_limits.notional_max_usd', 'number', 0, 1e12, true),
        ('order_limits.price_collar_pct', 'number', 0, 1, true),
        ('order_limits.signal_bars_max', 'number', 0, 1e4, true),
        ('order_limits.quote_age_max_s', 'number', 0, 2592000, true),
        ('order_limits.entry_ttl_s', 'number', 0, 86400, false),
        ('order_limits.permit_ttl_s', 'number', 0, 300, false),
        ('position_limits.positions_max', 'count', 0, 1e5, true),
        ('position_limits.open_orders_max', 'count', 0, 1e5, true),
        ('position_limits.position_notional_max_usd', 'number', 0, 1e12, true),
        ('sector_exposure.max_pct', 'number', 0, 10, true),
        ('gross_exposure.max_pct', 'number', 0, 10, true),
        ('order_rate.per_minute_max', 'count', 0, 1e5, true),
        ('order_rate.per_day_max', 'count', 0, 1e5, true),
        ('order_rate.repeats_max', 'count', 1, 1e5, true),
        ('order_rate.repeats_window_s', 'number', 0, 86400, false),
        ('loss_limits.daily_loss_max_pct', 'number', 0, 1, true),
        ('loss_limits.drawdown_max_pct', 'number', 0, 1, true),
        ('loss_limits.loss_streak_max', 'count', 1, 1000, true),
        ('loss_limits.loss_streak_days', 'number', 0, 3650, false),
        ('market_hours.entries_when_closed', 'flag', null, null, true),
        ('signal_layers.macro', 'flag', null, null, false),
        ('signal_layers.macro_index', 'ticker', null, null, false),
        ('signal_layers.macro_window_bars', 'count', 2, 390, false),
        ('signal_layers.competitive', 'flag', null, null, false),
        ('signal_layers.competitive_window_bars', 'count', 1, 390, false),
        ('cooldown_lockout.enabled', 'flag', null, null, false),
        ('cooldown_lockout.lock_minutes', 'count', 1, 525600, false),
        ('cooldown_lockout.losses_only', 'flag', null, null, false),
        ('stoploss_lockout.enabled', 'flag', null, null, false),
        ('stoploss_lockout.stops_max', 'count', 1, 1000, false),
        ('stoploss_lockout.lookback_hours', 'number', 0, 8760, false),
        ('stoploss_lockout.lock_minutes', 'count', 1, 525600, false),
        ('stoploss_lockout.per_symbol', 'flag', null, null, false),
        ('drawdown_lockout.enabled', 'flag', null, null, false),
        ('drawdown_lockout.drawdown_max_pct', 'number', 0, 1, false),
        ('drawdown_lockout.lookback_days', 'number', 0, 365, false),
        ('drawdown_lockout.lock_minutes', 'count', 1, 525600, false),
        ('news_lockout.enabled', 'flag', null, null, false),
        ('news_lockout.headlines', 'flag', null, null, false),
        ('news_lockout.score_min', 'count', 1, 100, false),
        ('news_lockout.lookback_minutes', 'count', 1, 10080, false),
        ('news_lockout.moves', 'flag', null, null, false),
        ('news_lockout.move_sigmas_min', 'number', 0, 100, false),
        ('news_lockout.move_min_pct', 'number', 0, 1, false),
        ('news_lockout.gap_min_pct', 'number', 0, 1, false),
        ('news_lockout.move_bars', 'count', 11, 250, false),
        ('news_lockout.lock_minutes', 'count', 1, 525600, false),
        ('reconciliation_lockout.enabled', 'flag', null, null, false),
        ('reconciliation_lockout.lock_minutes', 'count', 1, 525600, false),
        ('alerts.paused_s', 'number', 0, 2592000, false),
        ('alerts.flapping_changes', 'count', 2, 1000, false),
        ('alerts.flapping_window_s', 'number', 0, 86400, false),
        ('alerts.volatility_daily', 'number', 0, 1, false),
        ('alerts.engine_silent_s', 'number', 0, 86400, false),
        ('alerts.unprotected_s', 'number', 0, 86400, false),
        ('alerts.approval_left_s', 'number', 0, 86400, false),
        ('alerts.daily_loss_fraction', 'number', 0, 1, false),
        ('retention.decisions_days', 'count', 30, 36500, true),
        ('retention.order_events_days', 'count', 30, 36500, true),
        ('retention.bars_days', 'count', 30, 36500, true),
        ('retention.alerts_days', 'count', 30, 36500, true),
        ('operator_approval.auto_approve_paper', 'flag', null, null, false),
        ('operator_approval.require_approval_for_live', 'flag', null, null, false),
        ('operator_approval.approval_timeout_minutes', 'count', 1, 1440, false),
        ('operator_approval.four_eyes', 'flag', null, null, false),
        ('operator_approval.notional_above_usd', 'number', 0, 1e12, true),
        ('operator_approval.first_trade_in_symbol', 'flag', null, null, false),
        ('operator_approval.off_hours', 'flag', null, null, false),
        ('operator_approval.after_loss_streak', 'count', 1, 1000, true);
$$;

-- What is wrong with a configuration; NULL when it can be used. engine/domain/risk_config.py judges alike.
create or replace function private.risk_config_error(p_config jsonb)
    returns text
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v_section text;
begin
    if jsonb_typeof(p_config) is distinct from 'object' then
        return 'The configuration must be a JSON object.';
    elsif pg_column_size(p_config) > 65536 then
        return 'The configuration is larger than 64 KB.';
    end if;
    select k.section into v_section from (select distinct split_part(b.path, '.', 1) as section from private.risk_bounds() b) k
     where p_config ? k.section and jsonb_typeof(p_config -> k.section) <> 'object' order by 1 limit 1;
    if v_section is not null then
        return format('%s must be a JSON object.', v_section);
    elsif jsonb_typeof(coalesce(p_config #> '{sector_exposure,sectors}', '{}')) <> 'object'
          or exists (select 1 from jsonb_each(p_config #> '{sector_exposure,sectors}') e
                     where jsonb_typeof(e.value) <> 'string' or e.value #>> '{}' !~ '^.{1,40}$') then
        return 'sector_exposure.sectors must map symbols to the names of their sectors, of 1 to 40 characters.';
    end if;
    return (select case b.kind
                when 'flag' then format('%s must be true or false.', b.path)
                when 'ticker' then format('%s must be a symbol such as SPY, or * for all that are traded.', b.path)
                when 'count' then format('%s must be a whole number from %s to %s%s.', b.path, b.minimum::bigint, b.maximum::bigint, b.or_unset)
                else format('%s must be a number above 0 and at most %s%s.', b.path, trim_scale(b.maximum), b.or_unset) end
            from (select r.*, p_config #> string_to_array(r.path, '.') as value, p_config #>> string_to_array(r.path, '.') as text,
                         case when r.nullable then ', or null for not set' else '' end as or_unset
                  from private.risk_bounds() r) b
            where b.value is not null and not (b.nullable and b.value = 'null')
              and (case b.kind
                       when 'flag' then jsonb_typeof(b.value) = 'boolean'
                       when 'ticker' then jsonb_typeof(b.value) = 'string' and b.text ~ '^(\*|[A-Z][A-Z0-9./-]{0,14})$'
                       when 'count' then jsonb_typeof(b.value) in ('number', 'string') and b.text ~ '^[0-9]{1,9}$'
                            and case when b.text ~ '^[0-9]{1,9}$' then b.text::numeric between b.minimum and b.maximum end
                       else jsonb_typeof(b.value) in ('number', 'string') and private.positive(b.text) <= b.maximum end) is not true
            order by b.path limit 1);
end;
$$;

-- Replace the active configuration. Called by: admins. Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create or replace function public.update_risk_config(p_config jsonb, p_expected_version int, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_answer jsonb;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may change the risk configuration.', 'update_risk_config', 'risk_config',
                              'Ask an admin. Your attempt was recorded.');
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'update_risk_config', 'risk_config', jsonb_build_array(p_config));
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.activate_risk_config('update_risk_config', p_config, p_expected_version, p_reason);
    return case when v_answer ? 'success' then private.answer(p_request_id, 'update_risk_config', 'risk_config', v_answer, jsonb_build_array(p_config))
                else v_answer end;
end;
$$;

-- Make an earlier version's content the active configuration again, as a new version. Called by: admins.
create or replace function public.revert_risk_config(p_version int, p_expected_version int, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_config jsonb := (select r.config from public.risk_configs r where r.version = p_version);
    v_answer jsonb;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may change the risk configuration.', 'revert_risk_config', 'risk_config',
                              'Ask an admin. Your attempt was recorded.');
    elsif v_config is null then
        return private.refuse(404, 'NOT_FOUND', format('There is no version %s.', p_version), 'revert_risk_config', 'risk_config');
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'revert_risk_config', 'risk_config', jsonb_build_array(p_version));
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.activate_risk_config('revert_risk_config', v_config, p_expected_version, p_reason);
    return case when v_answer ? 'success' then private.answer(p_request_id, 'revert_risk_config', 'risk_config', v_answer, jsonb_build_array(p_version))
                else v_answer end;
end;
$$;

-- Change some of the approval settings and leave every other key of the configuration alone. Called by: admins.
-- Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create or replace function public.update_approval_config(p_patch jsonb, p_reason text default 'Approval settings changed.',
                                              p_expected_version int default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_risk public.risk_configs;
    v_unknown text;
    v_answer jsonb;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may change the approval settings.', 'update_approval_config',
                              'risk_config', 'Ask an admin. Your attempt was recorded.');
    elsif jsonb_typeof(p_patch) is distinct from 'object' or p_patch = '{}' then
        return private.refuse(422, 'INVALID', 'Give the settings to change as an object such as {"auto_approve_paper": false}.',
                              'update_approval_config', 'risk_config');
    end if;
    v_unknown := (select left(k.key, 60) from jsonb_object_keys(p_patch) k (key)
                  where not exists (select 1 from private.risk_bounds() b where b.path = 'operator_approval.' || k.key) order by 1 limit 1);
    if v_unknown is not null then
        return private.refuse(422, 'INVALID', format('%L is no approval setting.', v_unknown), 'update_approval_config', 'risk_config',
            (select 'Known are ' || string_agg(split_part(b.path, '.', 2), ', ' order by b.path) || '.' from private.risk_bounds() b
             where b.path like 'operator_approval.%'));
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'update_approval_config', 'risk_config', p_patch);
    if v_answer is not null then
        return v_answer;
    end if;
    v_risk := private.active_risk_config();
    v_answer := private.activate_risk_config('update_approval_config',
        v_risk.config || jsonb_build_object('operator_approval', coalesce(v_risk.config -> 'operator_approval', '{}') || p_patch),
        coalesce(p_expected_version, v_risk.version), p_reason);
    if not v_answer ? 'success' then
        return v_answer;
    end if;
    return private.answer(p_request_id, 'update_approval_config', 'risk_config',
                          v_answer || jsonb_build_object('approval', public.approval_config()), p_patch);
end;
$$;

-- What this schema is called and the oldest engine that may open positions on it. `schema` is the version of
-- the newest migration; raise `oldest_engine` where an older one would decide or record something wrongly.
-- Called by: an engine at its start.
create function public.schema_version()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('schema', '20261122090000', 'oldest_engine', '0.2.0');
$$;

revoke execute on function public.schema_version() from public, anon, authenticated;

grant execute on function public.schema_version() to service_role;

comment on function public.schema_version() is 'The schema''s version and the oldest engine that it serves. Engine only.';

-- Whether the shard's engine is at least as new as the schema asks for. Every engine tells its version before
-- it asks for permits; what is no version, such as a tool's name, is not held to one.
create function private.engine_is_current(p_shard text)
    returns boolean
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select not exists (
        select 1 from public.engine_heartbeats h
         where h.shard = p_shard and h.version ~ '^\d{1,6}(\.\d{1,6}){1,3}'
           and string_to_array(substring(h.version from '^\d{1,6}(?:\.\d{1,6}){1,3}'), '.')::int[]
               < string_to_array(public.schema_version() ->> 'oldest_engine', '.')::int[]);
$$;

-- Raise ENGINE_OUTDATED when entries wait for an engine that is older than the schema. Exits are never held back.
create function private.refuse_outdated_engine(p_shard text)
    returns void
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    if exists (select 1 from public.orders o where o.shard = p_shard and o.state = 'ready' and o.purpose = 'entry')
       and not private.engine_is_current(p_shard) then
        perform private.fail(409, 'ENGINE_OUTDATED',
            format('The engine of shard %s has version %s; this database gives permits for entries to %s and newer.', p_shard,
                   (select h.version from public.engine_heartbeats h where h.shard = p_shard),
                   public.schema_version() ->> 'oldest_engine'),
            'Stop the engine, install the current version, and start it again. Exits go on meanwhile.');
    end if;
end;
$$;

-- The same for every engine function that writes: the key-share lock keeps a takeover out until the
-- caller commits, and lets heartbeats through.
create or replace function private.check_lease(p_shard text, p_token bigint)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform from public.engine_leases l where l.shard = p_shard and l.token = p_token and l.expires_at > clock_timestamp() for key share;
    if not found then
        perform private.require_lease(p_shard, p_token);
    end if;
end;
$$;

-- Take the shard's lease when it is free, run out, or already this holder's.
-- Called by: an engine at its start. A holder's name is unique to the process.
create or replace function public.acquire_lease(p_shard text, p_holder text, p_ttl_s int default 10)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_lease public.engine_leases;
    v_now timestamptz;
    v_ttl interval := make_interval(secs => least(greatest(coalesce(p_ttl_s, 10), 1), 300));
begin
    if coalesce(length(p_shard), 0) not between 1 and 60 or coalesce(length(p_holder), 0) not between 1 and 200 then
        perform private.fail(422, 'INVALID', 'A lease needs the name of a shard (up to 60 characters) and of its holder (up to 200).');
    end if;
    insert into public.engine_leases (shard, holder, token, acquired_at, expires_at)
    values (p_shard, '', 0, now(), '-infinity') on conflict do nothing;
    select l.* into v_lease from public.engine_leases l where l.shard = p_shard for update;
    v_now := clock_timestamp();
    if v_lease.expires_at > v_now and v_lease.holder <> p_holder then
        return jsonb_build_object('acquired', false, 'token', null, 'holder', v_lease.holder,
                                  'expires_at', v_lease.expires_at);
    end if;
    update public.engine_leases l
       set holder = p_holder, token = l.token + 1, acquired_at = v_now, expires_at = v_now + v_ttl
     where l.shard = p_shard returning l.* into v_lease;
    insert into public.engine_heartbeats as h (shard, holder, token, started_at, beat_at)
    values (p_shard, p_holder, v_lease.token, v_now, v_now)
    on conflict (shard) do update
        set holder = excluded.holder, token = excluded.token, started_at = excluded.started_at,
            beat_at = excluded.beat_at, version = excluded.version;
    return jsonb_build_object('acquired', true, 'token', v_lease.token, 'holder', p_holder,
                              'expires_at', v_lease.expires_at);
end;
$$;

alter table public.signals add column blocked_by text;

-- What is wrong with one blocked signal; NULL when it is well formed.
create function private.blocked_signal_error(p jsonb, p_shard text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when jsonb_typeof(p) <> 'object' then 'a signal must be an object'
        when private.as_uuid(p ->> 'id') is null then 'id must be a uuid'
        when not exists (select 1 from public.profiles f where f.id = private.as_uuid(p ->> 'profile_id') and f.shard = p_shard
                            and p ->> 'symbol' = any (f.symbols))
            then 'profile_id must name a profile of the shard, and symbol one of its symbols'
        when coalesce(p ->> 'side', '') not in ('buy', 'sell') then 'side must be buy or sell'
        when coalesce(length(p ->> 'strategy') between 1 and 100, false) is false then 'strategy must have 1 to 100 characters'
        when coalesce(p ->> 'strength', '0') !~ '^-?[0-9]{1,15}(\.[0-9]{1,30})?$' then 'strength must be a number'
        when private.is_time(p ->> 'bar_at') is not true or private.is_time(p ->> 'market_at') is not true
            then 'bar_at and market_at must be times such as 2026-01-05T15:00:00Z'
        when jsonb_typeof(p -> 'detail') is distinct from 'object' or pg_column_size(p -> 'detail') > 65536
            then 'detail must be an object of at most 64 KB'
        when coalesce(p ->> 'blocked_by', '') !~ '^[a-z][a-z0-9_]{0,39}$' then 'blocked_by must be the name of a layer'
    end;
$$;

-- Keep signals that a layer kept from the gate. The same id sent again is kept once.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any signal is malformed, and then nothing changes.
create function public.record_signals(p_shard text, p_token bigint, p_signals jsonb)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_error text;
    v_count int;
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_signals) is distinct from 'array' then
        perform private.fail(422, 'INVALID', 'p_signals must be an array of signals.');
    end if;
    select format('Signal %s: %s.', coalesce(left(e.value ->> 'id', 60), '(no id)'), private.blocked_signal_error(e.value, p_shard))
      into v_error
    from jsonb_array_elements(p_signals) e where private.blocked_signal_error(e.value, p_shard) is not null limit 1;
    if v_error is not null then
        perform private.fail(422, 'INVALID', v_error);
    end if;
    insert into public.signals (id, owner_id, profile_id, symbol, side, strategy, strength, bar_at, detail, market_at, created_at,
                                blocked_by)
    select (e.value ->> 'id')::uuid, f.owner_id, f.id, e.value ->> 'symbol', (e.value ->> 'side')::public.order_side,
           e.value ->> 'strategy', (e.value ->> 'strength')::numeric, (e.value ->> 'bar_at')::timestamptz, e.value -> 'detail',
           (e.value ->> 'market_at')::timestamptz, clock_timestamp(), e.value ->> 'blocked_by'
    from jsonb_array_elements(p_signals) e join public.profiles f on f.id = (e.value ->> 'profile_id')::uuid
    on conflict (id) do nothing;
    get diagnostics v_count = row_count;
    return v_count;
exception
    when data_exception then
        perform private.fail(422, 'INVALID', 'A signal holds a value that cannot be read.');
end;
$$;

revoke execute on function public.record_signals(text, bigint, jsonb) from public, anon, authenticated;

grant execute on function public.record_signals(text, bigint, jsonb) to service_role;

comment on function public.record_signals(text, bigint, jsonb) is 'Keep signals that a layer has blocked. Engine only.';

-- Orders: one row per intent, from the gate's answer to its end. The row's id is the client order
-- id at the broker, so one intent is at most one broker order. Legs that the broker makes itself
-- carry the broker's id.

-- What holds for the figures of every order. One function, because each statement that writes reads the text of
-- every condition anew, and that cost a twentieth of the gate.
create function private.is_sound_order(p_type text, p_class text, p_qty numeric, p_reserved_usd numeric, p_limit_price numeric,
                                       p_stop_price numeric, p_take_profit_price numeric, p_stop_loss_price numeric)
    returns boolean
    language plpgsql
    immutable
    set search_path = ''
as $$
begin
    return p_type in ('market', 'limit', 'stop', 'stop_limit', 'trailing_stop') and p_class in ('simple', 'bracket', 'oco', 'oto')
       and p_qty > 0 and p_qty <> 'NaN' and p_reserved_usd >= 0
       and (p_limit_price > 0) is not false and (p_stop_price > 0) is not false
       and (p_take_profit_price > 0) is not false and (p_stop_loss_price > 0) is not false;
end;
$$;

alter table public.orders drop constraint orders_qty_check;

alter table public.orders drop constraint orders_order_type_check;

alter table public.orders drop constraint orders_order_class_check;

alter table public.orders drop constraint orders_limit_price_check;

alter table public.orders drop constraint orders_stop_price_check;

alter table public.orders drop constraint orders_take_profit_price_check;

alter table public.orders drop constraint orders_stop_loss_price_check;

alter table public.orders drop constraint orders_reserved_usd_check;

alter table public.orders add column replaces_id uuid references public.orders (id);

alter table public.orders add column replaces_broker_id text;

alter table public.orders add constraint orders_are_sound check (private.is_sound_order(order_type, order_class, qty, reserved_usd, limit_price, stop_price, take_profit_price, stop_loss_price));

-- What an owner's profiles are entering, for the limits on exposure.
create index orders_open_entries_of_owner on public.orders (owner_id, symbol)
    where purpose = 'entry' and state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled');

create index orders_replaces on public.orders (replaces_id) where replaces_id is not null;

-- Rare words of the broker's: replaced by hand before we knew it was there, refused after a part had filled.
insert into private.order_transitions (from_state, to_state)
values ('ready', 'replaced'), ('submitting', 'replaced'), ('partially_filled', 'rejected');

-- The types of orders that the table takes; the broker may know others.
create function private.order_types()
    returns text[]
    language sql
    immutable
as $$
    select array['market', 'limit', 'stop', 'stop_limit', 'trailing_stop'];
$$;

-- Splits of shares: the second kind of fact, beside fills, that a position is the sum of.
create table public.splits (
    id             bigint generated always as identity primary key,
    broker_account text not null,
    symbol         text not null,
    ratio          numeric(18, 9) not null check (ratio > 0 and ratio <> 1),  -- new shares for an old one
    effective_at   timestamptz not null,         -- market time: fills before it were in old shares
    source         text not null default '',
    recorded_at    timestamptz not null default now(),
    unique (broker_account, symbol, effective_at)
);

comment on table public.splits is 'Splits of shares that were held, as applied to our books; append-only.';

create trigger splits_is_append_only
    before update or delete on public.splits
    for each statement execute function private.refuse_change();

alter table public.splits enable row level security;

revoke all on public.splits from anon, authenticated, service_role;

grant select on public.splits to authenticated, service_role;

create policy "members read the splits"
    on public.splits for select to authenticated using ((select private.caller_role()) is not null);

-- Book what an order was filled with beyond what is known, at the price that the averages imply.
-- The caller holds the profile's capital row and passes the order as it was before the update.
create or replace function private.book_fill(p_order public.orders, p_filled_qty numeric, p_avg_price numeric, p_at timestamptz)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_qty numeric := p_filled_qty - p_order.filled_qty;
    v_price numeric := round((p_filled_qty * p_avg_price - p_order.filled_qty * coalesce(p_order.filled_avg_price, 0))
                             / nullif(p_filled_qty - p_order.filled_qty, 0), 18);
begin
    if v_price <= 0 then
        v_price := p_avg_price;  -- the broker has corrected what was filled before
    end if;
    insert into public.fills (order_id, trade_id, owner_id, profile_id, symbol, side, purpose, qty, price,
                              cumulative_qty, executed_at)
    values (p_order.id, p_order.trade_id, p_order.owner_id, p_order.profile_id, p_order.symbol, p_order.side,
            p_order.purpose, v_qty, v_price, p_filled_qty, p_at);
    if p_order.purpose = 'entry' then
        insert into public.trades (id, owner_id, profile_id, symbol, position_side, opened_at)
        values (p_order.trade_id, p_order.owner_id, p_order.profile_id, p_order.symbol, p_order.position_side, p_at)
        on conflict (id) do nothing;
    end if;
    perform private.restate_trade(p_order.trade_id);
end;
$$;

drop function private.restate_trade(p_trade_id uuid, p_at timestamptz);
-- Bring a trade, its position and its profile's capital in line with its fills, counted in shares of today. An exit
-- may be told before its entry: it counts once the entry has made the trade.
create function private.restate_trade(p_trade_id uuid)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    t public.trades;
    v_open_qty numeric;
    v_cost numeric;
    v_cost_before numeric;
    v_pnl_before numeric;
begin
    select n.realized_pnl_usd into v_pnl_before from public.trades n where n.id = p_trade_id;
    if not found then
        return;
    end if;
    t := private.sum_fills(p_trade_id);
    v_open_qty := t.qty_entered - t.qty_exited;
    v_cost := greatest(round(t.entry_notional_usd * v_open_qty / t.qty_entered, 9), 0);
    select coalesce(sum(p.cost_usd), 0) into v_cost_before from public.positions p where p.trade_id = t.id;
    update public.profile_capital c
       set used_usd = c.used_usd + v_cost - v_cost_before,
           realized_usd = c.realized_usd + t.realized_pnl_usd - v_pnl_before, updated_at = clock_timestamp()
     where c.profile_id = t.profile_id;
    update public.trades n
       set qty_entered = t.qty_entered, entry_notional_usd = t.entry_notional_usd, qty_exited = t.qty_exited,
           exit_notional_usd = t.exit_notional_usd, realized_pnl_usd = t.realized_pnl_usd, exit_reason = t.exit_reason,
           opened_at = t.opened_at, closed_at = t.closed_at
     where n.id = t.id;
    if v_open_qty <= 0 then
        delete from public.positions p where p.trade_id = t.id;
    else
        insert into public.positions as p (trade_id, owner_id, profile_id, symbol, side, qty, avg_entry_price,
            cost_usd, stop_price, take_profit_price, opened_at)
        select t.id, t.owner_id, t.profile_id, t.symbol, t.position_side, v_open_qty,
               t.entry_notional_usd / t.qty_entered, v_cost, o.stop_loss_price, o.take_profit_price, t.opened_at
        from public.orders o where o.id = t.id
        on conflict (trade_id) do update
            set qty = excluded.qty, avg_entry_price = excluded.avg_entry_price, cost_usd = excluded.cost_usd,
                opened_at = excluded.opened_at, updated_at = clock_timestamp();
    end if;
end;
$$;
-- rights anew

-- A trade as its fills and the splits since them tell it.
create function private.sum_fills(p_trade_id uuid)
    returns public.trades
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    t public.trades;
    v_last timestamptz;
begin
    select * into t from public.trades where id = p_trade_id;
    select coalesce(sum(f.qty * f.factor) filter (where f.purpose = 'entry'), 0),
           coalesce(sum(f.notional_usd) filter (where f.purpose = 'entry'), 0),
           coalesce(sum(f.qty * f.factor) filter (where f.purpose <> 'entry'), 0),
           coalesce(sum(f.notional_usd) filter (where f.purpose <> 'entry'), 0),
           min(f.executed_at) filter (where f.purpose = 'entry'), max(f.executed_at)
      into t.qty_entered, t.entry_notional_usd, t.qty_exited, t.exit_notional_usd, t.opened_at, v_last
      from (select n.*, private.split_factor(a.broker_account, n.symbol, n.executed_at) as factor
            from public.fills n join public.profiles a on a.id = n.profile_id where n.trade_id = p_trade_id) f;
    t.realized_pnl_usd := round((t.exit_notional_usd - t.entry_notional_usd * t.qty_exited / t.qty_entered)
                                * case t.position_side when 'long' then 1 else -1 end, 9);
    t.closed_at := case when t.qty_exited >= t.qty_entered then v_last end;
    t.exit_reason := (select coalesce(o.exit_reason, f.purpose::text)
                      from public.fills f join public.orders o on o.id = f.order_id
                      where f.trade_id = p_trade_id and f.purpose <> 'entry' order by f.id desc limit 1);
    return t;
end;
$$;

-- How many new shares one share of a symbol has become since a moment.
create function private.split_factor(p_account text, p_symbol text, p_since timestamptz)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    select round(coalesce(exp(sum(ln(s.ratio))), 1), 9) from public.splits s
    where s.broker_account = p_account and s.symbol = p_symbol and s.effective_at > p_since;
$$;

-- Note a split of shares and restate the open trades that were entered before it, of every shard on the
-- account: fills stay what they were, their sums are counted in new shares. It is noted only if our books then
-- say what the broker holds. Called by: the engine. Errors: LEASE_LOST, INVALID.
create function public.record_split(p_shard text, p_token bigint, p_symbol text, p_ratio numeric, p_effective_at timestamptz,
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
    perform private.restate_trade(n.trade_id)
      from public.positions n join public.profiles f on f.id = n.profile_id
     where f.broker_account = v_account and n.symbol = p_symbol;
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

create function private.rests(p_trade_id uuid, p_purpose public.order_purpose)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select exists (select 1 from public.orders o
                   where o.trade_id = p_trade_id and o.purpose = p_purpose and o.state in ('working', 'partially_filled'));
$$;

-- A trade's open quantity once its fills before a moment are counted in new shares.
create function private.qty_after_split(p_trade_id uuid, p_ratio numeric, p_at timestamptz)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    select t.qty_entered - t.qty_exited + (p_ratio - 1) * coalesce(
        (select sum(case f.purpose when 'entry' then f.qty else -f.qty end
                    * private.split_factor(o.broker_account, f.symbol, f.executed_at))
           from public.fills f where f.trade_id = t.id and f.executed_at < p_at), 0)
    from public.trades t join public.profiles o on o.id = t.profile_id where t.id = p_trade_id;
$$;

revoke execute on function public.record_split(text, bigint, text, numeric, timestamptz, numeric, text) from public, anon, authenticated;

grant execute on function public.record_split(text, bigint, text, numeric, timestamptz, numeric, text) to service_role;

comment on function public.record_split(text, bigint, text, numeric, timestamptz, numeric, text) is
    'Note a split of shares that were held and restate the trades that hold them. Engine only.';

-- The same, added up over an owner's profiles as each shard's engine notes them: what a page draws.
create table public.equity_daily_totals (
    session_date   date not null,
    owner_id       uuid not null,
    shard          text not null,
    market_at      timestamptz not null,
    equity_usd     numeric(24, 6) not null,
    cash_usd       numeric(24, 6) not null,
    exposure_usd   numeric(24, 6) not null,
    realized_usd   numeric(24, 6) not null,
    unrealized_usd numeric(24, 6) not null,
    profiles       int not null,
    primary key (owner_id, session_date, shard)
);

create index equity_daily_totals_session on public.equity_daily_totals (session_date);

comment on table public.equity_daily_totals is 'The last equity of each session, summed over an owner''s profiles in a shard.';

drop view public.equity_curve;
create view public.equity_curve with (security_invoker = true) as
select d.session_date, max(d.market_at) as market_at, sum(d.equity_usd) as equity_usd, sum(d.cash_usd) as cash_usd,
       sum(d.exposure_usd) as exposure_usd, sum(d.realized_usd) as realized_usd,
       sum(d.unrealized_usd) as unrealized_usd, sum(d.profiles) as profiles
from public.equity_daily_totals d
group by d.session_date;
comment on view public.equity_curve is 'Equity per session, summed over the profiles that the caller may see.';

alter table public.equity_daily_totals enable row level security;

revoke all on public.equity_snapshots, public.equity_daily, public.equity_daily_totals, public.equity_curve
    from anon, authenticated, service_role;

grant select on public.equity_snapshots, public.equity_daily, public.equity_daily_totals, public.equity_curve
    to authenticated, service_role;

create policy "owners and staff read daily totals"
    on public.equity_daily_totals for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- Note the equity of every profile of the shard from its capital and its positions' marks.
-- Called by: the engine. Errors: LEASE_LOST.
create or replace function public.record_equity(p_shard text, p_token bigint, p_market_at timestamptz, p_session_date date)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_count int;
begin
    perform private.check_lease(p_shard, p_token);
    if not coalesce(isfinite(p_market_at) and isfinite(p_session_date), false) then
        perform private.fail(422, 'INVALID', 'Equity is noted at a market time and for a session''s date.');
    end if;
    perform 1 from public.profile_capital c
      where c.profile_id in (select f.id from public.profiles f where f.shard = p_shard)
      order by c.profile_id for update;
    with now_worth as (
        select f.id, f.owner_id, c.capital_usd, c.realized_usd,
               coalesce(sum(n.qty * coalesce(n.mark_price, n.avg_entry_price)
                            * case n.side when 'long' then 1 else -1 end), 0) as net_value,
               coalesce(sum(n.qty * coalesce(n.mark_price, n.avg_entry_price)), 0) as exposure,
               coalesce(sum(n.unrealized_pnl_usd), 0) as unrealized
        from public.profiles f
        join public.profile_capital c on c.profile_id = f.id
        left join public.positions n on n.profile_id = f.id
        where f.shard = p_shard
        group by f.id, c.profile_id
    ), noted as (
        insert into public.equity_snapshots as s (profile_id, market_at, owner_id, session_date, equity_usd, cash_usd,
                                                  exposure_usd, realized_usd, unrealized_usd)
        select w.id, p_market_at, w.owner_id, p_session_date, w.capital_usd + w.realized_usd + w.unrealized,
               w.capital_usd + w.realized_usd + w.unrealized - w.net_value, w.exposure, w.realized_usd, w.unrealized
        from now_worth w
        on conflict (profile_id, market_at) do update
            set equity_usd = excluded.equity_usd, cash_usd = excluded.cash_usd, exposure_usd = excluded.exposure_usd,
                realized_usd = excluded.realized_usd, unrealized_usd = excluded.unrealized_usd
        returning s.*
    ), peaks as (
        update public.profile_capital c
           set peak_equity_usd = greatest(coalesce(c.peak_equity_usd, c.capital_usd), n.equity_usd)
          from noted n
         where c.profile_id = n.profile_id
           and greatest(coalesce(c.peak_equity_usd, c.capital_usd), n.equity_usd) is distinct from c.peak_equity_usd
    ), totals as (
        insert into public.equity_daily_totals as t (session_date, owner_id, shard, market_at, equity_usd, cash_usd, exposure_usd,
                                                     realized_usd, unrealized_usd, profiles)
        select n.session_date, n.owner_id, p_shard, n.market_at, sum(n.equity_usd), sum(n.cash_usd), sum(n.exposure_usd),
               sum(n.realized_usd), sum(n.unrealized_usd), count(*)
        from noted n group by n.session_date, n.owner_id, n.market_at
        on conflict (owner_id, session_date, shard) do update
            set market_at = excluded.market_at, equity_usd = excluded.equity_usd, cash_usd = excluded.cash_usd,
                exposure_usd = excluded.exposure_usd, realized_usd = excluded.realized_usd,
                unrealized_usd = excluded.unrealized_usd, profiles = excluded.profiles
            where t.market_at <= excluded.market_at
    )
    insert into public.equity_daily as d (session_date, profile_id, owner_id, market_at, equity_usd, cash_usd,
                                          exposure_usd, realized_usd, unrealized_usd)
    select n.session_date, n.profile_id, n.owner_id, n.market_at, n.equity_usd, n.cash_usd, n.exposure_usd,
           n.realized_usd, n.unrealized_usd from noted n
    on conflict (session_date, profile_id) do update
        set market_at = excluded.market_at, equity_usd = excluded.equity_usd, cash_usd = excluded.cash_usd,
            exposure_usd = excluded.exposure_usd, realized_usd = excluded.realized_usd,
            unrealized_usd = excluded.unrealized_usd
        where d.market_at <= excluded.market_at;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

alter table public.reconciliation_runs add column broker_cursor timestamptz;

alter table public.reconciliation_runs add column orders_changed int not null default 0;

alter table public.reconciliation_findings add column severity text not null default 'warning' check (severity in ('info', 'warning', 'critical'));

alter table public.reconciliation_findings add column action text not null default '';

alter table public.reconciliation_findings add column advice text not null default '';

alter table public.reconciliation_findings add column ignored boolean not null default false;

create unique index reconciliation_findings_ignored on public.reconciliation_findings (shard, key) where ignored;

drop policy "staff read reconciliation runs" on public.reconciliation_runs;
-- These two grow without end. Said as a bound on the time, which an index has, what others may not see is not walked
-- through to find that out.
create policy "staff read reconciliation runs"
    on public.reconciliation_runs for select to authenticated
    using (finished_at > (select case when (select private.is_staff()) then '-infinity'::timestamptz else 'infinity' end));

drop policy "staff read findings" on public.reconciliation_findings;
create policy "staff read findings"
    on public.reconciliation_findings for select to authenticated
    using (last_seen_at > (select case when (select private.is_staff()) then '-infinity'::timestamptz else 'infinity' end));

drop function public.engine_snapshot(p_shard text, p_token bigint);
-- Everything an engine needs to act for its shard, in one consistent read. With p_legs each trade comes with its
-- protective orders; without, they are among the orders, and those that another shard made are in `legs`.
-- Called by: the engine. Errors: LEASE_LOST.
create function public.engine_snapshot(p_shard text, p_token bigint, p_legs boolean default true)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return (select jsonb_build_object(
        'profiles', (select coalesce(jsonb_agg(to_jsonb(f) || jsonb_build_object(
                'reserved_usd', c.reserved_usd, 'used_usd', c.used_usd, 'realized_usd', c.realized_usd) order by f.id), '[]')
            from public.profiles f join public.profile_capital c on c.profile_id = f.id where f.shard = p_shard),
        'trades', (select coalesce(jsonb_agg(to_jsonb(n) || jsonb_build_object(
                'exit_working', exists (select 1 from public.orders o where o.trade_id = n.trade_id and o.purpose = 'exit'
                                        and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')))
                || case when p_legs then jsonb_build_object(
                'legs', (select coalesce(jsonb_agg(to_jsonb(o) order by o.created_at), '[]') from public.orders o
                         where o.trade_id = n.trade_id and o.purpose in ('stop_loss', 'take_profit')
                           and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled'))) else '{}' end
                order by n.opened_at, n.trade_id), '[]')
            from public.positions n join public.profiles f on f.id = n.profile_id where f.shard = p_shard),
        'orders', (select coalesce(jsonb_agg(to_jsonb(o) order by o.created_at, o.id), '[]') from public.orders o
            where o.shard = p_shard
              and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')),
        'legs', (select coalesce(jsonb_agg(to_jsonb(o) order by o.created_at, o.id), '[]')
            from public.positions n join public.profiles f on f.id = n.profile_id join public.orders o on o.trade_id = n.trade_id
            where not p_legs and f.shard = p_shard and o.shard <> p_shard and o.purpose in ('stop_loss', 'take_profit')
              and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')),
        'controls', (select jsonb_agg(to_jsonb(c)) from public.trading_controls c where c.scope = 'global' or c.mode <> 'RUNNING'),
        'risk_config', (select jsonb_build_object('version', r.version, 'config', r.config) from public.risk_configs r where r.active)));
end;
$$;
-- rights anew
revoke execute on function public.engine_snapshot(text, bigint, boolean) from public, anon, authenticated;
grant execute on function public.engine_snapshot(text, bigint, boolean) to service_role;

revoke execute on function public.engine_snapshot(text, bigint, boolean) from public, anon, authenticated;

grant execute on function public.engine_snapshot(text, bigint, boolean) to service_role;

comment on function public.engine_snapshot(text, bigint, boolean) is 'Everything an engine needs to act for its shard. Engine only.';

create policy "members read the controls, but of profiles their own alone, staff read all"
    on public.trading_controls for select to authenticated
    using ((select private.is_staff()) or scope <> 'profile' and (select private.caller_role()) is not null
           or scope_key = any (array(select f.id::text from public.profiles f where f.owner_id = (select private.caller_id()))));

create policy "members read the history of the controls, but of profiles their own alone, staff read all"
    on public.trading_control_events for select to authenticated
    using ((select private.is_staff()) or scope <> 'profile' and (select private.caller_role()) is not null
           or scope_key = any (array(select f.id::text from public.profiles f where f.owner_id = (select private.caller_id()))));

-- Whether the caller may know of a scope's control: of profiles, analysts know their own.
create function private.sees_scope(p_scope public.control_scope, p_scope_key text)
    returns boolean
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select p_scope <> 'profile' or private.is_engine() or private.is_staff()
           or exists (select 1 from public.profiles f where f.id = private.as_uuid(p_scope_key) and f.owner_id = auth.uid());
$$;

-- The control functions: pause, resume, halt, and what everyone sees of them.

-- What the caller may see of the controls. Called by: any member, the engine.
-- Errors: FORBIDDEN (403) for a signed-in user who is no member.
create or replace function public.trading_status()
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_global public.trading_controls;
    v_role text := case when private.is_engine() then 'engine' else private.caller_role()::text end;
begin
    if v_role is null then
        perform private.fail(403, 'FORBIDDEN', 'You are signed in, but not a member of this installation.',
                             'Ask an admin to add you.');
    end if;
    select c.* into v_global from public.trading_controls c where c.scope = 'global';
    return jsonb_build_object(
        'mode', v_global.mode,
        'lastChangedBy', v_global.changed_by_email,
        'lastChangedAt', floor(extract(epoch from v_global.changed_at) * 1000)::bigint,
        'reason', v_global.reason,
        'reason_code', v_global.reason_code,
        'scope', 'global',
        'version', v_global.version,
        'changed_at', v_global.changed_at,
        'resume_at', v_global.resume_at,
        'schedule_id', v_global.schedule_id,
        'stage', private.stage_of(v_global),
        'phase', case when v_global.mode = 'RUNNING' then 'running'
                      when v_global.quiesced_at is null then 'draining' else 'quiesced' end,
        'quiesced_at', v_global.quiesced_at,
        'entries_in_flight', private.in_flight_list(),
        'scopes', private.restricted_scopes(),
        'next_change', private.next_change(),
        'approvals_waiting', private.approvals_waiting(v_role),
        'engine', private.engine_status(),
        'role', v_role,
        'email', (select m.email from public.members m where m.user_id = auth.uid()),
        'checked_at', clock_timestamp());
end;
$$;

create or replace function private.restricted_scopes()
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'scope', c.scope, 'scope_key', c.scope_key, 'mode', c.mode,
        'reason', c.reason, 'reason_code', c.reason_code, 'resume_at', c.resume_at,
        'changed_by_email', c.changed_by_email, 'changed_at', c.changed_at, 'quiesced_at', c.quiesced_at,
        'version', c.version, 'schedule_id', c.schedule_id, 'stage', private.stage_of(c))
        order by c.scope, c.scope_key), '[]')
    from public.trading_controls c
    where c.scope <> 'global' and (c.mode <> 'RUNNING' or c.stage_entries > 0) and private.sees_scope(c.scope, c.scope_key);
$$;

-- The next change that is planned: the end of a pause, or the edge of a scheduled window.
create or replace function private.next_change()
    returns jsonb
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (select to_jsonb(n) from (
        select c.scope, c.scope_key, c.resume_at as at, 'RUNNING' as to_mode, null::uuid as schedule_id
        from public.trading_controls c
        where c.mode <> 'RUNNING' and c.resume_at is not null and private.sees_scope(c.scope, c.scope_key)
        union all
        select s.scope, s.scope_key, s.next_at, case when s.in_force then 'RUNNING' else s.mode::text end, s.id
        from public.control_schedules s
        where s.active and s.next_at < 'infinity' and private.sees_scope(s.scope, s.scope_key)
        order by at limit 1) n);
end;
$$;

-- How many entries wait for a person, of those that the caller may see.
create function private.approvals_waiting(p_role text)
    returns int
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (select count(*) from public.operator_approvals a
            where a.status = 'pending' and a.expires_at > clock_timestamp() and (p_role <> 'analyst' or a.owner_id = auth.uid()));
end;
$$;

-- Entries of a profile that was switched off, or trades in another mode from now on, are nobody's wish any more.
create function private.withdraw_entries()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    perform private.cancel_entries('profile', new.id::text, case when new.active
        then format('The profile trades in mode %s now.', new.trading_mode)
        else left('The profile was switched off: ' || coalesce(new.disabled_reason, 'no reason given'), 250) end);
    return null;
end;
$$;

create trigger profiles_withdraw_their_entries
    after update of active, trading_mode on public.profiles
    for each row
    when (old.active and not new.active or old.trading_mode <> new.trading_mode)
    execute function private.withdraw_entries();

-- Why a control request cannot be accepted as it is written; NULL when it can.
create or replace function private.control_request_error(p_scope text, p_scope_key text, p_reason text, p_reason_code text,
                                              p_resume_at timestamptz)
    returns text
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    if coalesce(p_scope, '') not in ('global', 'profile', 'symbol') then
        return format('Scope %L is unknown: use global, profile or symbol.', left(p_scope, 40));
    elsif private.control_key(p_scope::public.control_scope, p_scope_key) is null then
        return format('%s %L is not known here.', initcap(p_scope), left(p_scope_key, 60));
    elsif private.reason_error(p_reason) is not null then
        return private.reason_error(p_reason);
    elsif coalesce(p_reason_code, '') !~ '^[a-z][a-z0-9_]{0,39}$' then
        return 'The reason code must be one lower-case word such as manual, news or incident.';
    elsif p_resume_at <= clock_timestamp() then
        return 'The resume time has already passed: choose a later one or leave it empty.';
    elsif p_resume_at > clock_timestamp() + interval '1 year' then
        return 'The resume time is more than a year away: choose an earlier one or leave it empty.';
    end if;
    return null;
end;
$$;

-- Everything that the three control functions share: rights, arguments, repeat, version, pre-flight, change.
create or replace function private.control(p_to public.control_mode, p_action text, p_reason text, p_request_id uuid,
                                p_scope text, p_scope_key text, p_reason_code text, p_resume_at timestamptz,
                                p_cancel_entries boolean, p_expected_version int, p_override_reason text default null,
                                p_stage_entries int default null, p_stage_fraction numeric default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := left(coalesce(p_scope, '') || ':' || coalesce(nullif(p_scope_key, ''), '*'), 120);
    v_asked jsonb := jsonb_build_array(p_reason_code, p_resume_at, p_cancel_entries, p_stage_entries, p_stage_fraction);
    v_error text;
    v_answer jsonb;
    v_key text;
    v_now public.trading_controls;
    v_canceled int := 0;
    v_changes boolean;
    v_failing jsonb := '[]';
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may pause, resume or halt trading.', p_action, v_target,
                              'Ask an admin. Your attempt was recorded.');
    end if;
    v_error := coalesce(private.control_request_error(p_scope, p_scope_key, p_reason, p_reason_code, p_resume_at),
                        private.stage_error(p_stage_entries, p_stage_fraction));
    if v_error is not null then
        return private.refuse(422, 'INVALID', v_error, p_action, v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, p_action, v_target, v_asked);
    if v_answer is not null then
        return v_answer;
    end if;
    v_key := private.control_key(p_scope::public.control_scope, p_scope_key);
    select c.* into v_now from public.trading_controls c where c.scope = p_scope::public.control_scope and c.scope_key = v_key;
    v_now.mode := coalesce(v_now.mode, 'RUNNING');
    if p_expected_version is not null and p_expected_version <> coalesce(v_now.version, 0) then
        return private.refuse(409, 'CONFLICT', format('Someone changed this control meanwhile: it is at version %s now.',
                              coalesce(v_now.version, 0)), p_action, v_target, 'Look at the current state and decide again.');
    end if;
    if p_to = 'RUNNING' and v_now.mode <> 'RUNNING' then
        v_failing := private.preflight_failures(p_scope::public.control_scope, v_key);
        if v_failing <> '[]' and private.reason_error(p_override_reason) is not null then
            return private.refuse(409, 'PREFLIGHT_FAILED', format('Trading was not resumed. %s', private.failing_items(v_failing)),
                p_action, v_target, 'Settle what fails, or resume with an override reason.', v_failing);
        end if;
    end if;

    -- What a schedule has paused, and a person pauses too, is the person's from then on.
    v_changes := v_now.mode <> p_to or p_to <> 'RUNNING' and v_now.schedule_id is not null;
    if v_changes then
        v_canceled := private.change_mode(p_to, p_scope::public.control_scope, v_key, private.trimmed(p_reason), p_reason_code,
            p_resume_at, p_cancel_entries, p_stage_entries => p_stage_entries, p_stage_fraction => p_stage_fraction,
            p_detail => jsonb_strip_nulls(jsonb_build_object(
                'override_reason', case when v_failing <> '[]' then p_override_reason end, 'failing', nullif(v_failing, '[]'),
                'stage_entries', p_stage_entries, 'stage_fraction', p_stage_fraction)));
    end if;
    return private.answer(p_request_id, p_action, v_target, jsonb_build_object(
        'success', true,
        'changed', v_changes,
        'message', case when not v_changes then format('Trading is already %s; nothing was changed.', p_to)
                        else format('Trading is %s.', p_to) end,
        'entries_canceled', v_canceled,
        'status', public.trading_status()), v_asked);
end;
$$;

create policy "members read the schedules, but of profiles their own alone, staff read all"
    on public.control_schedules for select to authenticated
    using ((select private.is_staff()) or scope <> 'profile' and (select private.caller_role()) is not null
           or scope_key = any (array(select f.id::text from public.profiles f where f.owner_id = (select private.caller_id()))));

-- The next moment at which a window starts or ends; infinity when none comes.
create or replace function private.schedule_next_at(s public.control_schedules, p_now timestamptz)
    returns timestamptz
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(min(e.at), 'infinity')
    from private.schedule_windows(s, p_now, p_now + interval '16 days') w  -- a week's window may fall into an hour that is skipped
    cross join lateral (values (lower(w)), (upper(w))) e (at)
    where e.at > p_now;
$$;

-- Whether a time zone is known by this name. Tried, not looked up: the list of all names takes 50 ms to read. Names such
-- as UTC+5 are refused: to the database that is five hours behind UTC, as to no person who writes it.
create or replace function private.is_time_zone(p_name text)
    returns boolean
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    perform now() at time zone p_name;
    return p_name ~ '^[A-Z][A-Za-z0-9_+/-]{1,60}$' and (p_name !~ '[+-][0-9]' or p_name ~ '^Etc/GMT[+-][0-9]{1,2}$');
exception
    when data_exception then
        return false;
end;
$$;

-- Plan a change of mode. Windows: kind once (from, to), weekly (weekdays, times), dates (listed days, with days
-- before and after); condition: when a metric crosses a bound. Times are those of the named time zone.
-- Called by: admins. Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create or replace function public.schedule_trading_mode(
    p_mode text, p_kind text, p_reason text, p_scope text default 'global', p_scope_key text default null,
    p_reason_code text default 'schedule', p_time_zone text default 'America/New_York',
    p_starts_at timestamptz default null, p_ends_at timestamptz default null, p_weekdays int[] default null,
    p_dates date[] default null, p_days_before int default 0, p_days_after int default 0,
    p_start_time time default '00:00', p_end_time time default '00:00', p_inverted boolean default false,
    p_condition jsonb default null, p_resume_condition jsonb default null, p_cancel_entries boolean default true,
    p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := left(coalesce(p_scope, '') || ':' || coalesce(nullif(p_scope_key, ''), '*'), 120);
    v_error text;
    v_answer jsonb;
    v_asked jsonb;
    s public.control_schedules;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may plan changes of the trading mode.', 'schedule_trading_mode',
                              v_target, 'Ask an admin. Your attempt was recorded.');
    end if;
    v_error := case
        when coalesce(p_mode, '') not in ('RUNNING', 'PAUSED', 'HALTED') then 'The mode is RUNNING, PAUSED or HALTED.'
        when coalesce(p_kind, '') not in ('once', 'weekly', 'dates', 'condition') then 'The kind is once, weekly, dates or condition.'
        when not (coalesce(p_days_before, 0) between 0 and 30 and coalesce(p_days_after, 0) between 0 and 30)
            then 'At most 30 days before and after a date.'
        when not coalesce(isfinite(p_starts_at), true) or not coalesce(isfinite(p_ends_at), true) then 'Start and end are points in time.'
        else private.control_request_error(p_scope, p_scope_key, p_reason, p_reason_code, null) end;
    if v_error is null then
        s := row(gen_random_uuid(), p_scope, private.control_key(p_scope::public.control_scope, p_scope_key), p_mode, p_kind,
            coalesce(p_time_zone, 'America/New_York'), p_starts_at, p_ends_at, p_weekdays, p_dates,
            coalesce(p_days_before, 0), coalesce(p_days_after, 0), coalesce(p_start_time, '00:00'), coalesce(p_end_time, '00:00'),
            coalesce(p_inverted, false), p_condition, p_resume_condition, coalesce(p_cancel_entries, true), p_reason_code,
            private.trimmed(p_reason), true, false, 'infinity', null, auth.uid(), private.actor_email(), clock_timestamp(),
            null, null, null, 'RUNNING')::public.control_schedules;
        v_error := private.schedule_error(s);
    end if;
    if v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'schedule_trading_mode', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_asked := to_jsonb(s) - array['id', 'reason', 'created_at', 'created_by_email'];
    v_answer := private.answered(p_request_id, 'schedule_trading_mode', v_target, v_asked);
    if v_answer is not null then
        return v_answer;
    end if;

    -- Due at once: the next look decides whether it is inside a window already.
    s.next_at := case s.kind when 'condition' then 'infinity' else clock_timestamp() end;
    insert into public.control_schedules select s.*;
    perform private.audit('schedule_trading_mode', v_target, 'done', s.reason, to_jsonb(s));
    perform private.apply_due();
    select n.* into s from public.control_schedules n where n.id = s.id;
    return private.answer(p_request_id, 'schedule_trading_mode', v_target, jsonb_build_object('success', true, 'schedule', to_jsonb(s)), v_asked);
end;
$$;

-- A schedule's window began or its condition came true. Answers whether it is done with: false when it
-- resumes and the pre-flight list is not met, and then the next look tries again. The caller holds the
-- exclusive lock.
create or replace function private.schedule_begins(s public.control_schedules)
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    c public.trading_controls;
begin
    select n.* into c from public.trading_controls n where n.scope = s.scope and n.scope_key = s.scope_key;
    if s.mode = 'RUNNING' and c.mode = 'HALTED' and c.schedule_id is null then
        perform private.audit('resume_trading', s.scope || ':' || s.scope_key, 'refused',
                              'The planned resume passed over a halt: a person has halted, and a person ends it.',
                              jsonb_build_object('code', 'TRADING_HALTED', 'schedule_id', s.id));
        return true;
    elsif s.mode = 'RUNNING' then
        return coalesce(c.mode, 'RUNNING') = 'RUNNING'
            or private.resume_automatically(c, format('Resumed as planned by %s: %s', s.created_by_email, s.reason), s.reason_code);
    end if;
    if coalesce(c.mode, 'RUNNING') < s.mode then
        update public.control_schedules n
           set resumes_to = case when c.schedule_id is null then coalesce(c.mode, 'RUNNING')
                                 else coalesce((select o.resumes_to from public.control_schedules o where o.id = c.schedule_id), 'RUNNING') end
         where n.id = s.id;
        perform private.change_mode(s.mode, s.scope, s.scope_key, format('As planned by %s: %s', s.created_by_email, s.reason),
                                    s.reason_code, null, s.cancel_entries, s.id);
    end if;
    return true;
end;
$$;

-- Carry out one schedule whose time has come, or whose condition is to be looked at.
create or replace function private.apply_schedule(s public.control_schedules)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_holds boolean := case when s.kind = 'condition' then private.condition_holds(s.condition, s.scope, s.scope_key)
                            else private.schedule_in_window(s, v_now) end;
    v_since timestamptz := case when v_holds then coalesce(s.met_since, v_now) end;
    v_in_force boolean := coalesce(v_holds and v_now - v_since >= make_interval(
                            secs => coalesce((s.condition ->> 'for_s')::float8, 0)), case when v_holds is null then s.in_force end, false);
    v_done boolean := true;
begin
    if v_in_force and not s.in_force then
        v_done := private.schedule_begins(s);
        v_in_force := v_done;
    elsif s.in_force and not v_in_force and s.mode <> 'RUNNING' and s.kind <> 'condition' then
        v_done := private.schedule_ends(s);
        v_in_force := not v_done;
    end if;
    if s.resume_condition is not null and private.condition_holds(s.resume_condition, s.scope, s.scope_key) then
        perform private.schedule_ends(s);
    end if;
    update public.control_schedules n
       set in_force = v_in_force, met_since = v_since,
           next_at = case when s.kind = 'condition' then 'infinity' when v_done then private.schedule_next_at(s, v_now)
                          else v_now + interval '1 second' end,
           -- What has no edge left to come is over, unless its window goes on.
           active = s.kind in ('weekly', 'condition') or not v_done
                    or v_in_force and s.mode <> 'RUNNING' or private.schedule_next_at(s, v_now) < 'infinity'
     where n.id = s.id;
end;
$$;

-- Apply every change of mode that is due. Called by: the gate and every claim before they judge, so that
-- a window begins on time; heartbeats, which look at the conditions too and end the pauses that have an end: one that
-- cannot end yet, because the pre-flight list is not met, must not cost every entry the lock that keeps all others out.
create or replace function private.apply_due(p_conditions boolean default false)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    -- What could not end is tried again a second later by the gate, and by every heartbeat.
    v_due timestamptz := v_now + case when p_conditions then interval '1 second' else '0' end;
    s public.control_schedules;
begin
    if not (p_conditions and exists (select 1 from public.trading_controls c where c.mode <> 'RUNNING' and c.resume_at <= v_now))
       and not exists (select 1 from public.control_schedules n where n.active and (n.next_at <= v_due or p_conditions and n.kind = 'condition')) then
        return;
    end if;
    perform private.lock_controls(p_exclusive => true);
    if p_conditions then
        perform private.resume_due();
    end if;
    for s in select n.* from public.control_schedules n
             where n.active and (n.next_at <= v_due or p_conditions and n.kind = 'condition')
             order by n.mode desc, n.id loop
        perform private.apply_schedule(s);
    end loop;
end;
$$;

-- What has locked something once never locks it again, whatever became of that lockout.
create unique index symbol_lockouts_cause on public.symbol_lockouts (lockout_type, ticker, profile_id, (detail ->> 'cause'))
    nulls not distinct where detail ? 'cause';

-- Lock a symbol out for some minutes from now on. Called by: operators and admins.
-- Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create or replace function public.create_lockout(
    p_ticker text, p_reason text, p_duration_minutes int default 60, p_lockout_type text default 'manual',
    p_side text default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'symbol:' || left(coalesce(p_ticker, ''), 40);
    v_error text := private.lockout_error(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side);
    v_asked jsonb := jsonb_build_array(p_duration_minutes, p_lockout_type, p_side);
    v_answer jsonb;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may lock symbols out.', 'create_lockout', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'create_lockout', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'create_lockout', v_target, v_asked);
    return coalesce(v_answer, private.answer(p_request_id, 'create_lockout', v_target,
        private.lock_out(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side), v_asked));
end;
$$;

-- The same for the engine, which says what it saw, and for one profile where the reason is the profile's own.
-- `detail.cause` names what it saw: a cause locks once, and never again after a person has removed its lockout. While one
-- of the same type, symbol, side and profile is in force it answers that one, unless another cause asks for longer.
-- Errors: LEASE_LOST, INVALID.
create or replace function public.engine_lockout(p_shard text, p_token bigint, p_ticker text, p_reason text, p_duration_minutes int,
                                      p_lockout_type text, p_side text default null, p_profile_id uuid default null,
                                      p_detail jsonb default '{}')
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_error text := private.lockout_error(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side);
    l public.symbol_lockouts;
begin
    perform private.check_lease(p_shard, p_token);
    if v_error is not null then
        perform private.fail(422, 'INVALID', v_error);
    elsif p_lockout_type = 'manual' then
        perform private.fail(422, 'INVALID', 'A manual lockout is a person''s: use one of the other types.');
    elsif p_profile_id is not null and not exists (select 1 from public.profiles f where f.id = p_profile_id and f.shard = p_shard) then
        perform private.fail(422, 'INVALID', format('Profile %s does not exist in shard %s.', p_profile_id, p_shard));
    end if;
    perform private.lock_controls(p_exclusive => true);
    select n.* into l from public.symbol_lockouts n
     where n.ticker = upper(private.trimmed(p_ticker)) and n.lockout_type = p_lockout_type::public.lockout_type
       and n.profile_id is not distinct from p_profile_id
       and (n.detail ->> 'cause' = p_detail ->> 'cause'
            or n.side is not distinct from p_side::public.position_side and n.removed_at is null and n.expires_at > clock_timestamp()
               and (n.detail ->> 'cause' is null or p_detail ->> 'cause' is null
                    or n.expires_at >= clock_timestamp() + make_interval(mins => p_duration_minutes)))
     order by (n.detail ->> 'cause' = p_detail ->> 'cause') is true desc, n.expires_at desc limit 1;
    if l.id is not null then
        return jsonb_build_object('success', true, 'lockout', to_jsonb(l), 'entries_canceled', 0);
    end if;
    return private.lock_out(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side, p_profile_id, p_detail);
end;
$$;

-- What protections judge by: a shard's trades closed since a market time, oldest first, with the seconds since they were
-- booked, and its open breaks. Called by: the engine. Errors: LEASE_LOST.
create function public.protection_facts(p_shard text, p_token bigint, p_since timestamptz)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return jsonb_build_object(
        'trades', (select coalesce(jsonb_agg(jsonb_build_object(
                'trade_id', t.id, 'profile_id', t.profile_id, 'symbol', t.symbol, 'exit_reason', coalesce(t.exit_reason, ''),
                'pnl_usd', t.realized_pnl_usd, 'closed_at', t.closed_at,
                'age_s', (select extract(epoch from clock_timestamp() - max(f.recorded_at)) from public.fills f where f.trade_id = t.id))
                order by t.closed_at, t.id), '[]')
            from public.trades t join public.profiles o on o.id = t.profile_id
            where o.shard = p_shard and t.closed_at > p_since),
        'breaks', (select coalesce(jsonb_agg(jsonb_build_object(
                'finding_id', f.id, 'kind', f.kind, 'symbol', f.symbol, 'seen_again',
                coalesce((select max(r.finished_at) from public.reconciliation_runs r where r.shard = p_shard) > f.first_seen_at, false),
                'age_s', extract(epoch from clock_timestamp() - f.first_seen_at)) order by f.id), '[]')
            from public.reconciliation_findings f where f.shard = p_shard and f.status = 'open'));
end;
$$;

revoke execute on function public.protection_facts(text, bigint, timestamptz) from public, anon, authenticated;

grant execute on function public.protection_facts(text, bigint, timestamptz) to service_role;

comment on function public.protection_facts(text, bigint, timestamptz) is
    'Closed trades and open breaks of a shard, which system lockouts are judged by. Engine only.';

-- Let a profile's entries pass one limit for up to a day. Called by: admins.
-- Errors: FORBIDDEN, INVALID, NOT_FOUND, CONFLICT, each audited as refused.
create or replace function public.grant_override(
    p_profile_id uuid, p_code text, p_reason text, p_minutes int, p_symbol text default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := left(format('override:%s:%s', coalesce(p_code, ''), coalesce(p_profile_id::text, '')), 120);
    v_owner uuid := (select f.owner_id from public.profiles f where f.id = p_profile_id);
    v_error text;
    v_answer jsonb;
    v public.gate_overrides;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may override a limit.', 'grant_override', v_target);
    elsif v_owner is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no profile with this id.', 'grant_override', v_target);
    end if;
    v_error := case
        when private.reason_error(p_reason) is not null then private.reason_error(p_reason)
        when coalesce(p_minutes, 0) not between 1 and 1440 then 'An override lasts between 1 and 1,440 minutes (a day).'
        when coalesce(p_code, '') not in ('SYMBOL_LOCKED', 'ORDER_QTY_MAX', 'ORDER_NOTIONAL_MAX', 'PRICE_COLLAR', 'OPEN_ORDERS_MAX',
            'POSITIONS_MAX', 'POSITION_LIMIT', 'SECTOR_EXPOSURE', 'GROSS_EXPOSURE', 'ORDER_RATE', 'DAILY_LOSS', 'DRAWDOWN',
            'LOSS_STREAK', 'MARKET_CLOSED') then format('%L cannot be overridden.', left(coalesce(p_code, ''), 40))
        when p_symbol is not null and not exists (select 1 from public.profiles f
                where f.id = p_profile_id and upper(private.trimmed(p_symbol)) = any (f.symbols))
            then format('%L is not one of the profile''s symbols.', left(p_symbol, 40)) end;
    if v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'grant_override', v_target);
    end if;
    v_answer := private.answered(p_request_id, 'grant_override', v_target, jsonb_build_array(p_minutes, p_symbol));
    if v_answer is not null then
        return v_answer;
    end if;
    insert into public.gate_overrides (profile_id, owner_id, symbol, code, reason, granted_by, granted_by_email, starts_at, expires_at)
    values (p_profile_id, v_owner, upper(private.trimmed(p_symbol)), p_code, private.trimmed(p_reason), auth.uid(), private.actor_email(),
            clock_timestamp(), clock_timestamp() + make_interval(mins => p_minutes))
    returning * into v;
    perform private.audit('grant_override', v_target, 'done', v.reason, to_jsonb(v), v_owner);
    return private.answer(p_request_id, 'grant_override', v_target, jsonb_build_object('success', true, 'override', to_jsonb(v)),
                          jsonb_build_array(p_minutes, p_symbol));
end;
$$;

-- Switch a profile on or off. On again after it was switched off for repeated executions or after a loss, it
-- starts afresh: its drawdown counts from the equity of now. Called by: admins.
create or replace function public.set_profile_active(p_profile_id uuid, p_active boolean, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'profile:' || coalesce(p_profile_id::text, '');
    v_answer jsonb;
    f public.profiles;
    v_changed boolean;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may switch a profile on or off.', 'set_profile_active', v_target);
    elsif private.reason_error(p_reason) is not null or p_active is null then
        return private.refuse(422, 'INVALID', coalesce(private.reason_error(p_reason), 'Say whether the profile is active: true or false.'),
                              'set_profile_active', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'set_profile_active', v_target, jsonb_build_array(p_active));
    if v_answer is not null then
        return v_answer;
    end if;
    select p.* into f from public.profiles p where p.id = p_profile_id for no key update;
    if f.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no profile with this id.', 'set_profile_active', v_target);
    end if;
    v_changed := f.active <> p_active;
    if v_changed then
        update public.profiles p
           set active = p_active, disabled_reason = case when not p_active then private.trimmed(p_reason) end, updated_at = clock_timestamp()
         where p.id = f.id returning p.* into f;
        update public.profile_capital c set peak_equity_usd = private.equity_of(c) where c.profile_id = f.id and p_active;
        perform private.audit('set_profile_active', v_target, 'done', private.trimmed(p_reason),
                              jsonb_build_object('active', p_active, 'name', f.name), f.owner_id);
    end if;
    return private.answer(p_request_id, 'set_profile_active', v_target,
                          jsonb_build_object('success', true, 'changed', v_changed, 'profile', to_jsonb(f)), jsonb_build_array(p_active));
end;
$$;

-- Approve or reject one entry, once. The gate judges again before an approved entry is released.
-- Called by: operators and admins. Errors: FORBIDDEN, FOUR_EYES, INVALID, NOT_FOUND, CONFLICT, APPROVAL_EXPIRED.
create or replace function public.decide_approval(p_approval_id uuid, p_decision text, p_reason text default null,
                                       p_shown_hash text default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'approval:' || coalesce(p_approval_id::text, '');
    v_answer jsonb;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins decide approvals.', 'decide_approval', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif private.decision_error(p_decision, p_reason) is not null then
        return private.refuse(422, 'INVALID', private.decision_error(p_decision, p_reason), 'decide_approval', v_target);
    end if;
    perform private.lock_for_decision(array[p_approval_id]);
    v_answer := private.answered(p_request_id, 'decide_approval', v_target, jsonb_build_array(p_decision));
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.decide_one(p_approval_id, p_decision, p_reason, p_shown_hash);
    return case when v_answer ? 'success' then private.answer(p_request_id, 'decide_approval', v_target, v_answer, jsonb_build_array(p_decision))
                else v_answer end;
end;
$$;

-- Decide several at once; each stands or falls by itself, and the answers come in the order of the ids.
-- Called by: operators and admins.
create or replace function public.decide_approvals(p_approval_ids uuid[], p_decision text, p_reason text default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := format('approvals:%s', coalesce(cardinality(p_approval_ids), 0));
    v_error text := private.decision_error(p_decision, p_reason);
    v_answer jsonb;
    v_answers jsonb := '[]';
    v_id uuid;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins decide approvals.', 'decide_approvals', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif v_error is null and coalesce(cardinality(p_approval_ids), 0) not between 1 and 500 then
        v_error := 'Choose between 1 and 500 approvals.';
    end if;
    if v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'decide_approvals', v_target);
    end if;
    perform private.lock_for_decision(p_approval_ids);
    v_answer := private.answered(p_request_id, 'decide_approvals', v_target, jsonb_build_array(p_decision, p_approval_ids));
    if v_answer is not null then
        return v_answer;
    end if;
    foreach v_id in array p_approval_ids loop
        v_answers := v_answers || jsonb_build_array(jsonb_build_object('id', v_id, 'success', false)
                                                    || private.decide_one(v_id, p_decision, p_reason, null));
    end loop;
    perform set_config('response.status', '200', true);  -- refusals are told in the answers
    return private.answer(p_request_id, 'decide_approvals', v_target, jsonb_build_object('success', true, 'decisions', v_answers),
                          jsonb_build_array(p_decision, p_approval_ids));
end;
$$;

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
create or replace function private.gate_passes(s private.gate_snapshot)
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

drop function private.gate_checks(s private.gate_snapshot);
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
-- rights anew
grant execute on function private.gate_checks(private.gate_snapshot, boolean[]) to authenticated, service_role;

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

-- Entries: how a request becomes a snapshot, is judged, and becomes an order.

-- The entries of one owner, and those of one broker account, are judged one call at a time, whichever engines ask:
-- exposures add up, and orders may not meet. Taken before the controls' lock, so that no pause waits for the queue.
create or replace function private.lock_gate(p_profiles uuid[])
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
                    where o.owner_id = any (p_owners) and o.purpose = 'entry'
                      and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')) e
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

-- Whether an entry could trade with an order of ours on the other side in the same broker account.
create function private.crosses(p_id uuid, p_symbol text, p_side public.order_side, p_price numeric, p_account text)
    returns boolean
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return exists (select from public.orders o join public.profiles p on p.id = o.profile_id
                   where o.symbol = p_symbol and o.side <> p_side and o.id <> p_id and p.broker_account = p_account
                     and o.order_type in ('limit', 'market')
                     and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')
                     and (o.limit_price is null or case p_side when 'buy' then o.limit_price <= p_price else o.limit_price >= p_price end));
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
                where o.symbol = r.symbol and o.side <> r.side and o.order_type in ('limit', 'market')
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

drop function private.gate_snapshots(p_requests private.entry_request[], p_config jsonb, p_now timestamptz);
-- The snapshots of some requests as the gate would judge them now, for those that only ask.
create function private.gate_snapshots(p_requests private.entry_request[], p_config jsonb, p_now timestamptz)
    returns table (place int, profile_id uuid, snapshot private.gate_snapshot)
    language plpgsql
    stable
    set search_path = ''
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
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
-- rights anew

-- Read a call's entries; NULL when any is malformed, and then entries_error says what is wrong. Types and ranges
-- are judged at once: to look at each text first costs more than the gate's own rules.
create or replace function private.read_entries(p_requests jsonb, p_shard text)
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
create or replace function private.entries_error(p_requests jsonb, p_shard text)
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

drop function private.waves_of(p_requests private.entry_request[], p_config jsonb);
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
-- rights anew

drop function private.decide_wave(p_requests private.entry_request[], p_risk public.risk_configs);
-- Judge and record some requests, all at once; answers what became of each. The caller holds the controls' shared lock,
-- the owners' locks and the profiles' capital rows, and has set how plans are made. What few entries need has statements of its own, for those that do.
create function private.decide_wave(p_requests private.entry_request[], p_owners uuid[], p_risk public.risk_configs,
                                    p_locked boolean, p_overridden boolean)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    m private.gate_limits := p_risk.limits;
    v_usd jsonb := private.owners_usd(p_owners, p_risk.config);
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
            reserved_usd, state, code, reason, signal_id, trade_id, market_at, created_at, updated_at, ended_at, ready_at)
        select d.id, d.owner_id, d.profile_id, d.shard, d.symbol, d.side,
               case d.side when 'buy' then 'long' else 'short' end::public.position_side, 'entry',
               case when (d.snapshot).qty > 0 then (d.snapshot).qty else d.asked_qty end, 'limit',
               case num_nonnulls(d.take_profit_price, d.stop_loss_price) when 2 then 'bracket' when 1 then 'oto' else 'simple' end,
               coalesce(d.time_in_force, 'gtc'), d.limit_price, d.take_profit_price, d.stop_loss_price,
               d.reference_price, d.notional_usd, case (d.v).outcome when 'denied' then 0 else d.notional_usd end, (d.v).outcome,
               (d.v).code, (d.v).reason, d.signal_id, d.id, d.market_at, v_now, v_now,
               case (d.v).outcome when 'denied' then v_now end, case (d.v).outcome when 'ready' then v_now end
        from judged d
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
-- rights anew

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

-- The gate, for one or hundreds of entries. The same id sent again answers the same and does nothing.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any request is malformed, and then nothing changes.
create or replace function public.request_entries(p_shard text, p_token bigint, p_requests jsonb)
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
    v_waves int := 0;
    v_answers jsonb;
begin
    perform private.check_lease(p_shard, p_token);
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
        return private.decide_wave(v_new, v_owners, v_risk, v_locked, v_overridden);
    end if;
    v_new := array(select distinct on (r.id) r from unnest(v_new) r order by r.id, r.position);
    for v_wave in select array_agg(r order by r.position) from unnest(v_new) r
                  join private.waves_of(v_new, v_owners, v_risk.config) w on w.n = r.position group by w.wave order by w.wave loop
        v_waves := v_waves + 1;
        v_answers := private.decide_wave(v_wave, v_owners, v_risk, v_locked, v_overridden);
    end loop;
    if v_waves = 1 and cardinality(v_new) = cardinality(v_read) then
        return v_answers;
    end if;
    return (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'state', o.state, 'code', o.code, 'reason', o.reason)
                                      order by r.position), '[]')
            from unnest(v_read) r join public.orders o on o.id = r.id);
end;
$$;

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
create or replace function private.gate_again(o public.orders)
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

-- Exits: closing, reducing and protecting open positions. Never gated by pause, limits or approval;
-- only a halt, which leaves nothing but cancels, refuses them.

-- What is wrong with one exit request; NULL when it is well formed.
create or replace function private.exit_request_error(p jsonb, p_shard text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when private.as_uuid(p ->> 'id') is null then 'id must be a uuid'
        when not exists (select 1 from public.trades t join public.profiles f on f.id = t.profile_id
                         where t.id = private.as_uuid(p ->> 'trade_id') and f.shard = p_shard)
            then format('trade %s does not exist in shard %s', p ->> 'trade_id', p_shard)
        when p ->> 'qty' is not null and private.positive(p ->> 'qty') is null then 'qty must be a number above 0, or absent for all'
        when coalesce(p ->> 'order_type', 'market') not in ('market', 'limit', 'stop') then 'order_type must be market, limit or stop'
        when p ->> 'order_type' = 'limit' and private.price(p ->> 'limit_price') is null then 'a limit exit needs a limit_price above 0'
        when p ->> 'order_type' = 'stop' and private.price(p ->> 'stop_price') is null then 'a stop exit needs a stop_price above 0'
        when coalesce(p ->> 'purpose', 'exit') not in ('exit', 'stop_loss') then 'purpose must be exit or stop_loss'
        when p ->> 'replaces_broker_id' is not null and (p ->> 'purpose' is distinct from 'stop_loss' or p ->> 'order_type' is distinct from 'stop')
            then 'only a stop can take another stop''s place'
    end;
$$;

-- How many shares the resting stops and targets of a trade would sell, and those on their way; a bracket's pair
-- sells the same shares once, less what either has filled. A stop that another one replaces is not counted.
create function private.reserved_by_legs(p_trade_id uuid)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    with legs as (
        select coalesce(o.parent_id, o.id) as pair, o.qty, o.filled_qty
        from public.orders o
        where o.trade_id = p_trade_id and o.purpose in ('stop_loss', 'take_profit')
          and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')
          and not exists (select 1 from public.orders n where n.trade_id = p_trade_id and n.replaces_broker_id = o.broker_order_id
                          and n.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled'))
    )
    select coalesce(sum(g.qty), 0) from (select greatest(max(l.qty) - sum(l.filled_qty), 0) as qty from legs l group by l.pair) g;
$$;

-- Why an exit of an open position is not accepted now: a code and a sentence; NULL when it is.
create function private.exit_denial(n public.positions, p jsonb)
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select case
        when private.effective_mode(n.profile_id, n.symbol) = 'HALTED' then
            jsonb_build_object('code', 'TRADING_HALTED', 'reason', 'Trading is halted: nothing but cancels.')
        when exists (select 1 from public.orders o where o.trade_id = n.trade_id and o.purpose = 'exit'
                      and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) then
            jsonb_build_object('code', 'DUPLICATE_ORDER', 'reason', 'An exit of this trade is already under way.')
        when p ->> 'replaces_broker_id' is not null then (
            select jsonb_build_object('code', 'STOP_GONE', 'reason', 'The stop to be moved no longer rests at the broker, or is being moved.')
            where not exists (select 1 from public.orders o where o.trade_id = n.trade_id and o.purpose = 'stop_loss'
                               and o.broker_order_id = p ->> 'replaces_broker_id' and o.state in ('working', 'partially_filled'))
               or exists (select 1 from public.orders o where o.replaces_broker_id = p ->> 'replaces_broker_id'
                           and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')))
        when p ->> 'purpose' = 'stop_loss' and private.reserved_by_legs(n.trade_id) >= n.qty then
            jsonb_build_object('code', 'ALREADY_PROTECTED', 'reason', 'Resting orders already cover the whole position.')
    end;
$$;

-- Decide one exit. A stop never sells more than resting orders leave over; an exit cancels stops that were not
-- sent. The caller holds the profile's capital row.
create or replace function private.decide_exit(p jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_order public.orders;
    v_position public.positions;
    v_purpose public.order_purpose := coalesce(p ->> 'purpose', 'exit');
    v_moved public.orders;
    v_denial jsonb;
    v_qty numeric;
begin
    select o.* into v_order from public.orders o where o.id = (p ->> 'id')::uuid;
    if found then
        return jsonb_build_object('id', v_order.id, 'state', v_order.state, 'code', v_order.code, 'reason', v_order.reason);
    end if;
    select n.* into v_position from public.positions n where n.trade_id = (p ->> 'trade_id')::uuid;
    v_denial := case when found then private.exit_denial(v_position, p)
                     else jsonb_build_object('code', 'NO_POSITION', 'reason', 'The trade has nothing left to close.') end;
    if v_denial is not null then
        return jsonb_build_object('id', p ->> 'id', 'state', 'denied') || v_denial;
    end if;
    v_qty := least(coalesce(private.positive(p ->> 'qty'), v_position.qty), v_position.qty);
    if p ->> 'replaces_broker_id' is not null then
        select o.* into v_moved from public.orders o where o.broker_order_id = p ->> 'replaces_broker_id';
        v_qty := v_moved.qty - v_moved.filled_qty;
    elsif v_purpose = 'stop_loss' then
        v_qty := least(v_qty, v_position.qty - private.reserved_by_legs(v_position.trade_id));
    else
        update public.orders o set state = 'canceled', reason = 'An exit takes its place.'
         where o.trade_id = v_position.trade_id and o.purpose = 'stop_loss' and o.state = 'ready';
    end if;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        order_class, time_in_force, limit_price, stop_price, reference_price, state, reason, exit_reason, trade_id, parent_id,
        replaces_broker_id, market_at, created_at, updated_at)
    select (p ->> 'id')::uuid, f.owner_id, f.id, f.shard, v_position.symbol,
           case v_position.side when 'long' then 'sell' else 'buy' end::public.order_side, v_position.side, v_purpose, v_qty,
           coalesce(p ->> 'order_type', 'market'), 'simple',
           -- The broker takes parts of shares for the day only: such a stop is placed again each day.
           case when coalesce(p ->> 'order_type', 'market') = 'market' or v_qty <> trunc(v_qty) then 'day' else 'gtc' end,
           private.price(p ->> 'limit_price'), private.price(p ->> 'stop_price'),
           private.price(p ->> 'reference_price'), 'ready', left(p ->> 'reason', 500),
           coalesce(p ->> 'exit_reason', v_purpose::text), v_position.trade_id, v_moved.parent_id,
           p ->> 'replaces_broker_id', (p ->> 'market_at')::timestamptz, clock_timestamp(), clock_timestamp()
    from public.profiles f where f.id = v_position.profile_id
    returning * into v_order;
    return jsonb_build_object('id', v_order.id, 'state', v_order.state, 'code', null, 'reason', v_order.reason);
end;
$$;

-- Have orders of open trades cancelled at the broker by id: the rest of an entry whose position must be protected, or
-- resting orders that would sell more than is held. What was not sent ends at once. Answers how many it concerns.
-- Called by: the engine's position monitor. Errors: LEASE_LOST, INVALID.
create function public.request_cancels(p_shard text, p_token bigint, p_requests jsonb)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_asked int;
    v_ended int;
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_requests) is distinct from 'array'
       or exists (select 1 from jsonb_array_elements(p_requests) e
                  where private.as_uuid(e.value ->> 'id') is null or coalesce(private.trimmed(e.value ->> 'reason'), '') = '') then
        perform private.fail(422, 'INVALID', 'p_requests must be an array of objects with the id of an order and the reason.');
    end if;
    perform private.lock_controls(p_exclusive => false);
    perform private.lock_capital_of(
        (select array_agg(private.as_uuid(e.value ->> 'id')) from jsonb_array_elements(p_requests) e), '{}');
    update public.orders o
       set cancel_requested_at = clock_timestamp(), reason = left(r.reason, 500)
      from jsonb_to_recordset(p_requests) as r (id uuid, reason text)
     where o.id = r.id and o.shard = p_shard and o.cancel_requested_at is null
       and o.state in ('submitting', 'unknown', 'working', 'partially_filled');
    get diagnostics v_asked = row_count;
    update public.orders o
       set state = 'canceled', reason = left(r.reason, 500)
      from jsonb_to_recordset(p_requests) as r (id uuid, reason text)
     where o.id = r.id and o.shard = p_shard and o.state = 'ready';
    get diagnostics v_ended = row_count;
    return v_asked + v_ended;
end;
$$;

revoke execute on function public.request_cancels(text, bigint, jsonb) from public, anon, authenticated;

grant execute on function public.request_cancels(text, bigint, jsonb) to service_role;

comment on function public.request_cancels(text, bigint, jsonb) is
    'Have orders of open trades cancelled at the broker by id, with the reason. Engine only.';

-- Permits: the right to send one order until a deadline, and the broker's answers.

-- Issue permits: exits first, entries only while nothing in their scope is paused or halted, and to no engine
-- that is older than the schema. Called by: the engine. Errors: LEASE_LOST, ENGINE_OUTDATED.
create or replace function public.claim_orders(p_shard text, p_token bigint, p_limit int default 50, p_purpose text default null)
    returns setof public.orders
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_config jsonb;
    v_holder text;
    v_is_current boolean := private.engine_is_current(p_shard);
begin
    perform private.check_lease(p_shard, p_token);
    if not exists (select 1 from public.orders o where o.shard = p_shard and o.state in ('ready', 'awaiting_approval')) then
        return;
    end if;
    v_config := (private.active_risk_config()).config;
    v_holder := (select l.holder from public.engine_leases l where l.shard = p_shard);
    perform private.apply_due();
    perform private.lock_controls(p_exclusive => false);
    perform private.expire_waiting(p_shard, clock_timestamp()
        - make_interval(secs => coalesce((v_config #>> '{order_limits,entry_ttl_s}')::numeric, 60)::float8));
    return query
        update public.orders o
           set state = 'submitting', claimed_by = v_holder, permit_token = p_token, submitted_at = clock_timestamp(),
               permit_deadline = clock_timestamp()
                   + make_interval(secs => coalesce((v_config #>> '{order_limits,permit_ttl_s}')::numeric, 10)::float8)
         where o.id in (
            select r.id from public.orders r
             where r.shard = p_shard and r.state = 'ready'
               and (p_purpose is null or r.purpose::text = p_purpose)
               and private.effective_mode(r.profile_id, r.symbol)
                   < case r.purpose when 'entry' then 'PAUSED' else 'HALTED' end::public.control_mode
               and (r.purpose <> 'entry' or v_is_current)
             order by (r.purpose = 'entry'), r.created_at, r.id
             limit least(greatest(coalesce(p_limit, 50), 1), 500)
             for update skip locked)
        returning o.*;
    if not found and not v_is_current then
        perform private.refuse_outdated_engine(p_shard);
    end if;
end;
$$;

-- Our state for the broker's status. Statuses that end nothing, known or new, are working. `missing` is our own
-- word for what the broker has denied to know again and again.
create or replace function private.state_of(p_status text, p_filled_qty numeric)
    returns public.order_state
    language sql
    immutable
as $$
    select case
        when p_status in ('filled', 'canceled', 'expired', 'rejected', 'replaced') then p_status::public.order_state
        when p_status = 'missing' then 'canceled'
        when p_filled_qty > 0 then 'partially_filled'
        else 'working' end;
$$;

-- Take over what the broker says about one order: fills first, then the state; never backwards.
-- Answers whether anything changed. The caller holds the profile's capital row.
create or replace function private.apply_broker_order(p_order_id uuid, b jsonb)
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    o public.orders;
    v_filled numeric := coalesce((b ->> 'filled_qty')::numeric, 0);
    v_release numeric := 0;
    v_state public.order_state;
    v_qty numeric;
    v_limit numeric;
    v_stop numeric;
    v_changed boolean;
begin
    if not coalesce(v_filled >= 0 and v_filled < 1e15 and (v_filled = 0 or (b ->> 'filled_avg_price')::numeric between 1e-9 and 1e9)
                    and length(b ->> 'status') between 1 and 60, false) then
        perform private.fail(422, 'INVALID', format('The broker''s word on order %s has no status, or a filled quantity or price that is no number.', p_order_id));
    end if;
    select * into o from public.orders where id = p_order_id for update;
    if (b ->> 'updated_at')::timestamptz < o.broker_updated_at and v_filled <= o.filled_qty
       and not private.is_terminal(private.state_of(b ->> 'status', v_filled)) then
        return false;  -- an older word than the one we have, and nothing new in it
    end if;
    if v_filled > o.filled_qty then
        perform private.book_fill(o, v_filled, (b ->> 'filled_avg_price')::numeric,
                                  coalesce((b ->> 'updated_at')::timestamptz, clock_timestamp()));
        v_release := case when v_filled >= o.qty then o.reserved_usd
                          else round(o.reserved_usd * (v_filled - o.filled_qty) / (o.qty - o.filled_qty), 9) end;
        if v_release > 0 then
            update public.profile_capital c set reserved_usd = c.reserved_usd - v_release where c.profile_id = o.profile_id;
        end if;
    end if;
    v_state := case when private.is_terminal(o.state) then o.state
                    else private.state_of(b ->> 'status', greatest(v_filled, o.filled_qty)) end;
    -- The broker restates what rests there: after a split, beside a partly filled sibling, where a stop trails.
    v_qty := greatest(coalesce(private.positive(b ->> 'qty'), o.qty), v_filled, o.filled_qty);
    v_limit := coalesce(private.price(b ->> 'limit_price'), o.limit_price);
    v_stop := coalesce(private.price(b ->> 'stop_price'), o.stop_price);
    if o.purpose = 'entry' and greatest(v_filled, o.filled_qty) > 0 then
        v_qty := o.qty;  -- what is reserved goes by it
    elsif o.purpose in ('stop_loss', 'take_profit') and v_qty > o.qty then
        -- After a split the position follows later, and until then nothing may look as if it covered too much.
        v_qty := greatest(o.qty, least(v_qty, (select n.qty from public.positions n where n.trade_id = o.trade_id)));
    end if;
    v_changed := v_state <> o.state or v_filled > o.filled_qty or o.broker_status is distinct from b ->> 'status'
                 or (v_qty, v_limit, v_stop) is distinct from (o.qty, o.limit_price, o.stop_price)
                 or o.id = private.as_uuid(b ->> 'client_order_id') and o.broker_order_id is distinct from coalesce(b ->> 'broker_order_id', o.broker_order_id);
    if exists (select from public.orders x where x.broker_order_id = b ->> 'broker_order_id' and x.id <> o.id) then
        perform private.fail(409, 'CONFLICT', format('The broker''s order %s is another order here already.', left(b ->> 'broker_order_id', 60)));
    end if;
    -- What has ended stays as it ended; new are at most fills, or that it had been at the broker at all.
    if v_changed and not (private.is_terminal(o.state) and v_filled <= o.filled_qty and o.broker_order_id is not null) then
        update public.orders u
           set state = v_state,
               -- Under our own id the broker's word holds; a leg goes by the broker's id from the start.
               broker_order_id = case when u.id = private.as_uuid(b ->> 'client_order_id')
                                      then coalesce(b ->> 'broker_order_id', u.broker_order_id)
                                      else coalesce(u.broker_order_id, b ->> 'broker_order_id') end,
               broker_status = b ->> 'status',
               broker_request_id = coalesce(b ->> 'request_id', u.broker_request_id),
               broker_updated_at = greatest(u.broker_updated_at, (b ->> 'updated_at')::timestamptz),
               accepted_at = coalesce(u.accepted_at, clock_timestamp()),
               filled_qty = greatest(u.filled_qty, v_filled),
               -- Only with a fill: a later one is priced by the difference of the averages.
               filled_avg_price = case when v_filled > u.filled_qty then (b ->> 'filled_avg_price')::numeric else u.filled_avg_price end,
               qty = v_qty, limit_price = v_limit, stop_price = v_stop,
               reserved_usd = u.reserved_usd - v_release,
               reason = coalesce(b ->> 'reason', u.reason)
         where u.id = p_order_id;
        if (v_limit, v_stop) is distinct from (o.limit_price, o.stop_price) and not private.is_terminal(v_state) then
            perform private.follow_leg(p_order_id);
        end if;
    else
        v_changed := false;
    end if;
    return v_changed;
end;
$$;

-- A protective order that was moved at the broker says where the position's stop or target is from now on.
create function private.follow_leg(p_order_id uuid)
    returns void
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    update public.positions n
       set stop_price = case o.purpose when 'stop_loss' then o.stop_price else n.stop_price end,
           take_profit_price = case o.purpose when 'take_profit' then o.limit_price else n.take_profit_price end
      from public.orders o
     where o.id = p_order_id and n.trade_id = o.trade_id and o.purpose in ('stop_loss', 'take_profit');
$$;

-- Legs that the broker made for a bracket become orders of their own the first time they are seen.
create or replace function private.apply_legs(p_parent_id uuid, p_legs jsonb)
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_leg jsonb;
    v_id uuid;
    v_changed boolean := false;
begin
    if jsonb_typeof(p_legs) is distinct from 'array' then
        return false;
    end if;
    for v_leg in select e.value from jsonb_array_elements(p_legs) e loop
        if (private.positive(v_leg ->> 'qty') > 0 and v_leg ->> 'side' in ('buy', 'sell') and v_leg ->> 'type' = any (private.order_types())) is not true then
            perform private.fail(422, 'INVALID', format('A leg of order %s has no quantity, side or type that is known here.', p_parent_id));
        end if;
        select o.id into v_id from public.orders o where o.broker_order_id = v_leg ->> 'broker_order_id';
        if not found then
            v_id := coalesce(private.as_uuid(v_leg ->> 'broker_order_id'), gen_random_uuid());
            insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
                order_class, time_in_force, limit_price, stop_price, state, exit_reason, trade_id, parent_id,
                broker_order_id, broker_status, broker_updated_at, market_at, created_at, updated_at, submitted_at, accepted_at, replaces_id)
            select v_id, o.owner_id, o.profile_id, o.shard, o.symbol, (v_leg ->> 'side')::public.order_side, o.position_side,
                   case when v_leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end::public.order_purpose,
                   private.positive(v_leg ->> 'qty'), v_leg ->> 'type', o.order_class, o.time_in_force,
                   private.price(v_leg ->> 'limit_price'), private.price(v_leg ->> 'stop_price'), 'working',
                   case when v_leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end,
                   o.trade_id, o.id, v_leg ->> 'broker_order_id', v_leg ->> 'status', (v_leg ->> 'updated_at')::timestamptz, o.market_at,
                   clock_timestamp(), clock_timestamp(), o.submitted_at, clock_timestamp(),
                   (select r.id from public.orders r where r.broker_order_id = v_leg ->> 'replaces')
            from public.orders o where o.id = p_parent_id;
            v_changed := true;
            if v_leg ->> 'replaces' is not null then
                perform private.follow_leg(v_id);
            end if;
        end if;
        v_changed := private.apply_broker_order(v_id, v_leg) or v_changed;
    end loop;
    return v_changed;
end;
$$;

create or replace function private.apply_submission(p jsonb, p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    o public.orders;
begin
    select * into o from public.orders where id = private.as_uuid(p ->> 'id') and shard = p_shard for update;
    if not found then
        perform private.fail(404, 'NOT_FOUND', format('Order %s does not exist in shard %s.', left(p ->> 'id', 60), p_shard));
    elsif coalesce(p ->> 'outcome', '') not in ('accepted', 'rejected', 'unknown', 'not_sent') then
        perform private.fail(422, 'INVALID', format('Outcome %L of order %s is not known.', p ->> 'outcome', o.id));
    elsif p ->> 'outcome' = 'accepted' then
        if not private.apply_broker_order(o.id, (p -> 'order') || jsonb_build_object('request_id', p ->> 'request_id')) then
            update public.orders u set broker_request_id = coalesce(p ->> 'request_id', u.broker_request_id) where u.id = o.id;
        end if;
        perform private.apply_legs(o.id, p #> '{order,legs}');
    elsif o.state in ('submitting', 'unknown') then
        update public.orders u
           set state = case p ->> 'outcome' when 'rejected' then 'rejected' when 'unknown' then 'unknown'
                            else case u.purpose when 'entry' then 'canceled' else 'ready' end end::public.order_state,
               code = coalesce(p ->> 'code', u.code), reason = coalesce(left(p ->> 'reason', 500), u.reason),
               broker_request_id = coalesce(p ->> 'request_id', u.broker_request_id)
         where u.id = o.id;
    end if;
    return (select jsonb_build_object('id', u.id, 'state', u.state) from public.orders u where u.id = o.id);
end;
$$;

-- An order that took the place of one of ours at the broker becomes an order of its own, with the same purpose,
-- trade and group. One that asks for more than was left, or than there is capital for, nobody has judged, and one
-- whose predecessor had been given up, or was to be cancelled, nobody wants: it is to be cancelled. NULL when something
-- else has taken its place here. The caller holds the profile's capital row.
create function private.take_place(o public.orders, b jsonb)
    returns uuid
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_id uuid := coalesce(private.as_uuid(b ->> 'broker_order_id'), gen_random_uuid());
    v_qty numeric := coalesce(private.positive(b ->> 'qty'), o.qty);
    v_notional numeric := round(v_qty * coalesce(private.price(b ->> 'limit_price'), o.limit_price, o.reference_price, 0), 6);
    v_fits boolean := o.purpose <> 'entry' and o.state = 'replaced';
begin
    if o.purpose = 'entry' and o.state = 'replaced' and o.cancel_requested_at is null and v_qty <= o.qty - o.filled_qty then
        update public.profile_capital c
           set reserved_usd = c.reserved_usd + v_notional, updated_at = clock_timestamp()
         where c.profile_id = o.profile_id and c.reserved_usd + c.used_usd + v_notional <= c.capital_usd;
        v_fits := found;
    end if;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type, order_class,
        time_in_force, limit_price, stop_price, take_profit_price, stop_loss_price, reference_price, notional_usd, reserved_usd,
        state, reason, exit_reason, signal_id, trade_id, parent_id, broker_order_id, cancel_requested_at, market_at,
        submitted_at, accepted_at, replaces_id)
    values (v_id, o.owner_id, o.profile_id, o.shard, o.symbol, o.side, o.position_side, o.purpose, v_qty,
        case when b ->> 'type' = any (private.order_types()) then b ->> 'type' else o.order_type end, o.order_class, o.time_in_force,
        private.price(b ->> 'limit_price'), private.price(b ->> 'stop_price'), o.take_profit_price, o.stop_loss_price, o.reference_price,
        case when v_fits and o.purpose = 'entry' then v_notional else 0 end, case when v_fits and o.purpose = 'entry' then v_notional else 0 end,
        'working', case when v_fits then 'Took the place of another order at the broker.'
                        else 'Took the place of another order at the broker and was not allowed: it is cancelled.' end,
        o.exit_reason, o.signal_id, o.trade_id, o.parent_id, b ->> 'broker_order_id', case when not v_fits then clock_timestamp() end,
        o.market_at, clock_timestamp(), clock_timestamp(), o.id);
    perform private.follow_leg(v_id);
    return v_id;
exception when unique_violation then
    return null;
end;
$$;

-- Whether trading was not running in an order's scope at some moment since it ended on our side.
create function private.was_paused_since_end(o public.orders)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select exists (select 1 from public.trading_control_history h
                   where h.to_mode <> 'RUNNING' and private.in_scope(h.scope, h.scope_key, o.profile_id, o.symbol)
                     and coalesce(h.ended_at, 'infinity') > coalesce(o.ended_at, o.updated_at));
$$;

-- Put an order on record that lives, or has filled, at the broker although it was over here: in the transaction that
-- finds it, since the engine may die before it can say so. What became of it, its next reconciliation adds.
create function private.note_late(o public.orders, b jsonb, p_after_pause boolean)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_kind text := case when p_after_pause then 'ENTRY_AFTER_PAUSE' else 'LATE_ORDER' end;
    v_now timestamptz := clock_timestamp();
    v_run uuid := (select r.id from public.reconciliation_runs r where r.shard = o.shard order by r.finished_at desc limit 1);
begin
    if v_run is null then  -- the first one has not come to its end
        insert into public.reconciliation_runs (shard, kind, started_at, finished_at, orders_checked, positions_checked, findings)
        values (o.shard, 'incremental', v_now, v_now, 1, 0, 1)
        returning id into v_run;
    end if;
    insert into public.reconciliation_findings (run_id, shard, key, kind, symbol, detail, status, first_seen_at, last_seen_at,
                                                severity, action, advice)
    values (v_run, o.shard, v_kind || ':' || coalesce(b ->> 'client_order_id', o.id::text), v_kind, o.symbol,
            jsonb_build_object('broker_order_id', b ->> 'broker_order_id', 'status', b ->> 'status', 'filled_qty', o.filled_qty::text),
            'open', v_now, v_now, 'critical',
            case when private.is_terminal(private.state_of(b ->> 'status', 0)) then 'It had ended; what it filled was booked and is looked after.'
                 else 'It is being cancelled at the broker.' end,
            'Look at the account: is it cancelled, and what has filled protected?')
    on conflict (shard, key) where status = 'open' do nothing;
end;
$$;

create or replace function private.apply_update(b jsonb, p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_before public.orders;
    v_old public.orders;                         -- the one whose place it took
    v_id uuid;
    v_after public.orders;
    v_changed boolean;
    v_late boolean;
    v_after_pause boolean := false;
begin
    select o.* into v_before from public.orders o
     where o.id = private.as_uuid(b ->> 'client_order_id') or o.broker_order_id = b ->> 'broker_order_id'
     order by (o.broker_order_id = b ->> 'broker_order_id') is true desc limit 1;
    if v_before.id is null and b ->> 'replaces' is not null then
        select o.* into v_old from public.orders o where o.broker_order_id = b ->> 'replaces';
        if v_old.shard = p_shard and not private.is_terminal(v_old.state) then
            -- Its predecessor is not known to be over: that one is looked up first.
            return jsonb_build_object('id', null, 'client_order_id', b ->> 'client_order_id', 'state', null, 'changed', false, 'deferred', true);
        elsif v_old.shard = p_shard then
            v_id := private.take_place(v_old, b);
            select o.* into v_before from public.orders o where o.id = v_id;
        else
            v_before := v_old;
        end if;
    end if;
    if v_before.id is null then
        return jsonb_build_object('id', null, 'client_order_id', b ->> 'client_order_id', 'state', null, 'changed', false);
    elsif v_before.shard <> p_shard then
        -- Another engine's order in the same account: known, and that engine's to record.
        return jsonb_build_object('id', v_before.id, 'state', v_before.state, 'changed', false, 'late', false);
    end if;
    v_changed := private.apply_broker_order(v_before.id, b);
    v_changed := private.apply_legs(v_before.id, b -> 'legs') or v_changed;
    select o.* into v_after from public.orders o where o.id = v_before.id;
    -- Ended on our side, alive at the broker: the engine has to cancel it. Or it filled after its end.
    v_old := case when v_old.id is null then v_before else v_old end;
    v_late := private.is_terminal(v_old.state) and v_old.state not in ('filled', 'replaced')
              and (not private.is_terminal(private.state_of(b ->> 'status', 0)) or v_after.filled_qty > v_before.filled_qty);
    if v_late then
        v_after_pause := v_after.purpose = 'entry' and private.was_paused_since_end(v_old);
        perform private.note_late(v_after, b, v_after_pause);
    end if;
    return jsonb_build_object('id', v_after.id, 'state', v_after.state, 'changed', v_changed, 'late', v_late, 'after_pause', v_after_pause);
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
as $$
declare
    v_update jsonb;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_controls(p_exclusive => false);  -- a pause waits for this, or sees what it settles
    perform private.lock_capital_of(
        (select array_agg(private.as_uuid(e.value ->> 'client_order_id')) from jsonb_array_elements(p_updates) e),
        (select array_agg(r.id) from jsonb_array_elements(p_updates) e
         cross join lateral (values (e.value ->> 'broker_order_id'), (e.value ->> 'replaces')) r (id)));
    for v_update in select e.value from jsonb_array_elements(p_updates) e loop
        v_answers := v_answers || private.apply_update(v_update, p_shard);
    end loop;
    perform private.settle_quiescence();
    return v_answers;
end;
$$;

-- Changes of members: who may do what, from the next call on.

-- Give a member another role. The last admin stays one. Called by: admins.
-- Errors: FORBIDDEN, INVALID, NOT_FOUND, CONFLICT, each audited as refused.
create or replace function public.set_member_role(p_user_id uuid, p_role text, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'member:' || coalesce(p_user_id::text, '');
    v_answer jsonb;
    m public.members;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may change roles.', 'set_member_role', v_target,
                              'Ask an admin. Your attempt was recorded.');
    elsif coalesce(p_role, '') not in ('admin', 'operator', 'analyst') then
        return private.refuse(422, 'INVALID', 'The role is admin, operator or analyst.', 'set_member_role', v_target);
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'set_member_role', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'set_member_role', v_target, jsonb_build_array(p_role));
    if v_answer is not null then
        return v_answer;
    end if;
    select n.* into m from public.members n where n.user_id = p_user_id;
    if m.user_id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no member with this id.', 'set_member_role', v_target);
    elsif m.role = 'admin' and p_role <> 'admin' and (select count(*) from public.members n where n.role = 'admin') = 1 then
        return private.refuse(409, 'CONFLICT', 'This is the last admin: make someone else an admin first.', 'set_member_role', v_target);
    end if;
    if m.role::text <> p_role then
        update public.members n set role = p_role::public.member_role, updated_at = clock_timestamp() where n.user_id = p_user_id;
        perform private.audit('set_member_role', v_target, 'done', private.trimmed(p_reason),
                              jsonb_build_object('email', m.email, 'from', m.role, 'to', p_role));
    end if;
    return private.answer(p_request_id, 'set_member_role', v_target, jsonb_build_object('success', true, 'changed', m.role::text <> p_role,
        'user_id', m.user_id, 'email', m.email, 'role', p_role), jsonb_build_array(p_role));
end;
$$;

-- Why, or why not: the gate's own answer for a symbol right now, without asking for an entry.

-- Judge an entry of one share at the last known price for each of the caller's profiles that trade the symbol.
-- What only a real request can know (its signal, its quote's age) counts as fresh.
-- Called by: any member. Errors: FORBIDDEN, INVALID, NOT_FOUND.
create or replace function public.why(p_symbol text, p_profile_id uuid default null, p_side text default 'buy', p_qty numeric default 1,
                           p_price numeric default null)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_symbol text := upper(private.trimmed(coalesce(p_symbol, '')));
    v_price numeric := coalesce(p_price,
        (select n.mark_price from public.positions n where n.symbol = v_symbol and n.mark_price > 0 order by n.marked_at desc limit 1),
        (select b.close from public.price_bars b where b.symbol = v_symbol order by b.bar_at desc limit 1));
    v_risk public.risk_configs := private.active_risk_config();
    v_asked private.entry_request[];
begin
    if private.caller_role() is null and not private.is_engine() then
        perform private.fail(403, 'FORBIDDEN', 'You are signed in, but not a member of this installation.', 'Ask an admin to add you.');
    elsif coalesce(p_side, '') not in ('buy', 'sell') then
        perform private.fail(422, 'INVALID', 'The side is buy or sell.');
    elsif (p_qty > 0 and p_qty < 1e9 and coalesce(p_price, 1) > 0 and coalesce(p_price, 1) < 1e6) is not true then
        perform private.fail(422, 'INVALID', 'Quantity and price are numbers above 0.');
    end if;
    v_asked := array(
        select row(row_number() over (order by f.name, f.id), gen_random_uuid(), f.id, v_symbol, p_side, p_qty, v_price, v_price, null, null,
                   null, coalesce(h.market_at, clock_timestamp()), coalesce(h.market_at, clock_timestamp()), (h.detail ->> 'market_open')::boolean, null)::private.entry_request
        from public.profiles f left join public.engine_heartbeats h on h.shard = f.shard
        where v_symbol = any (f.symbols) and coalesce(p_profile_id, f.id) = f.id
          and (f.owner_id = auth.uid() or private.is_staff() or private.is_engine()));
    if cardinality(v_asked) = 0 then
        perform private.fail(404, 'NOT_FOUND', format('No profile that you can see trades %L.', left(v_symbol, 40)));
    elsif v_price is null then
        perform private.fail(404, 'NOT_FOUND', format('No price of %s is known yet.', v_symbol), 'Give a price, or wait for the engine''s first bars.');
    end if;
    return (select jsonb_agg(jsonb_build_object(
                'profile_id', f.id, 'profile', f.name, 'symbol', v_symbol, 'side', p_side, 'qty', p_qty, 'price', v_price,
                'code', private.gate_code(c.checks), 'reason', private.gate_reason(c.checks), 'checks', c.checks,
                'approval', case when private.gate_code(c.checks) is null then to_jsonb(private.approval_reasons(v_risk.config, s.snapshot)) end,
                'lock_reason', (s.snapshot).lock_reason, 'config_version', v_risk.version, 'judged_at', clock_timestamp())
                order by s.place)
            from private.gate_snapshots(v_asked, v_risk.config, clock_timestamp()) s
            join public.profiles f on f.id = s.profile_id
            cross join lateral (select private.gate_checks(s.snapshot) as checks) c);
end;
$$;

-- What the gate would say now of an entry that waits for a person: judged as at its release, and nothing noted.
-- Called by: operators and admins. Errors: FORBIDDEN, NOT_FOUND.
create function public.approval_checks(p_approval_id uuid)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    o public.orders;
    v_risk public.risk_configs := private.active_risk_config();
    v_checks json;
begin
    if not private.is_staff() then
        perform private.fail(403, 'FORBIDDEN', 'Only operators and admins see what approvals are judged by.');
    end if;
    select n.* into o from public.operator_approvals a join public.orders n on n.id = a.order_id
    where a.id = p_approval_id and a.status = 'pending';
    if o.id is null then
        perform private.fail(404, 'NOT_FOUND', 'No approval with this id waits for a decision.', 'Look at the list again.');
    end if;
    v_checks := private.gate_checks(private.snapshot_again(o, v_risk.config));
    return jsonb_build_object('code', private.gate_code(v_checks), 'reason', private.gate_reason(v_checks), 'checks', v_checks,
                              'config_version', v_risk.version, 'judged_at', clock_timestamp());
end;
$$;

revoke execute on function public.approval_checks(uuid) from public, anon;

grant execute on function public.approval_checks(uuid) to authenticated, service_role;

comment on function public.approval_checks(uuid) is
    'What the gate would say now of an entry that waits for a person. Operators and admins; notes nothing.';

-- Retention: how long what grows without end is kept. Nothing goes unless the risk configuration's section
-- `retention` says so; orders, fills, trades and the audit log are kept for good.

-- Remove rows that are older than the configuration keeps them, at most p_limit of each kind; answers how many
-- went of each. Called by: the engine, until nothing is left to remove. Errors: LEASE_LOST.
create or replace function public.prune_history(p_shard text, p_token bigint, p_limit int default 10000)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_config jsonb;
    v_limit int := least(greatest(coalesce(p_limit, 10000), 1), 100000);
    v_decisions int;
    v_events int;
    v_bars int;
begin
    perform private.check_lease(p_shard, p_token);
    v_config := (private.active_risk_config()).config;

    perform set_config('interlock.pruning', 'decisions', true);
    delete from public.decisions d where d.id in (
        select n.id from public.decisions n
        where n.created_at < clock_timestamp() - make_interval(days => (v_config #>> '{retention,decisions_days}')::int)
        order by n.id limit v_limit);
    get diagnostics v_decisions = row_count;

    perform set_config('interlock.pruning', 'order_events', true);
    delete from public.order_events e where e.id in (
        select n.id from public.order_events n
        where n.at < clock_timestamp() - make_interval(days => (v_config #>> '{retention,order_events_days}')::int)
        order by n.id limit v_limit);
    get diagnostics v_events = row_count;
    perform set_config('interlock.pruning', '', true);

    delete from public.price_bars b where (b.symbol, b.timeframe, b.bar_at) in (
        select n.symbol, n.timeframe, n.bar_at from public.price_bars n
        where n.timeframe <> '1Day'
          and n.bar_at < clock_timestamp() - make_interval(days => (v_config #>> '{retention,bars_days}')::int)
        limit v_limit);
    get diagnostics v_bars = row_count;
    return jsonb_build_object('decisions', v_decisions, 'order_events', v_events, 'bars', v_bars,
        'alerts', private.prune_alerts(clock_timestamp() - make_interval(days => (v_config #>> '{retention,alerts_days}')::int), v_limit));
end;
$$;

comment on function public.prune_history(text, bigint, int) is
    'Remove decisions, order events, intraday bars and past alerts that are older than the configuration keeps them. Engine only.';

-- Alerts: what somebody should know of now. Which conditions hold is asked of the database itself (31_alert_rules.sql),
-- so a dead engine is seen by every other one, by the watcher, and by whoever opens the page. An alert is open
-- while its condition holds, once per rule and subject; its notices go out through the outbox (30_notifications.sql).

create table public.alerts (
    id                    uuid primary key default gen_random_uuid(),
    rule                  text not null,
    subject               text not null,             -- what it is about: the same rule and subject is the same alert
    severity              text not null check (severity in ('warning', 'critical')),
    owner_id              uuid,                      -- whose profile it concerns; NULL: nobody's own, staff see it
    profile_id            uuid,
    symbol                text,
    message               text not null,
    detail                jsonb not null default '{}',
    opened_at             timestamptz not null,
    notified_at           timestamptz,               -- when its notice went to the outbox; NULL: not yet, or muted
    acknowledged_at       timestamptz,
    acknowledged_by       uuid,
    acknowledged_by_email text,
    acknowledged_note     text,
    resolved_at           timestamptz                -- when the cause was gone; NULL: open
);

create unique index alerts_one_open on public.alerts (rule, subject) where resolved_at is null;

create index alerts_opened on public.alerts (opened_at desc, id);

create index alerts_owner on public.alerts (owner_id, opened_at desc, id);

create index alerts_open_opened on public.alerts (opened_at desc, id) where resolved_at is null;

comment on table public.alerts is 'What somebody should know of: open while its cause lasts, once per rule and subject.';

-- Mutes hold notices back; the alerts themselves open, stay and resolve as ever.
create table public.alert_mutes (
    id               uuid primary key default gen_random_uuid(),
    rule             text not null,                  -- '*': every rule
    subject          text not null,                  -- '*': every subject
    reason           text not null,
    starts_at        timestamptz not null,
    expires_at       timestamptz not null,
    created_by       uuid,
    created_by_email text not null,
    removed_at       timestamptz,
    removed_by_email text,
    removed_reason   text,
    check (rule <> '*' or subject <> '*')
);

create index alert_mutes_in_force on public.alert_mutes (expires_at) where removed_at is null;

comment on table public.alert_mutes is 'Which alerts send no notices, until when, who said so and why.';

alter table public.alerts enable row level security;

alter table public.alert_mutes enable row level security;

revoke all on public.alerts, public.alert_mutes from anon, authenticated, service_role;

grant select on public.alerts, public.alert_mutes to authenticated, service_role;

create policy "owners and staff read alerts"
    on public.alerts for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

create policy "staff read mutes"
    on public.alert_mutes for select to authenticated using ((select private.is_staff()));

-- What the evaluation remembers between two looks: one row, locked while somebody evaluates.
create table private.alert_watch (
    is_the_only_row  boolean primary key default true check (is_the_only_row),
    evaluated_at     timestamptz not null default '-infinity',
    notifier_seen_at timestamptz,                    -- when an engine with a notifier last evaluated
    audit_checked_id bigint not null default 0,      -- up to here the audit log was verified in this round
    audit_broken_id  bigint,                         -- the row at which it does not verify; 0: at a chain's end
    audit_broken_why text
);

insert into private.alert_watch default values;

-- A moment as people read it in a message.
create function private.utc_text(p_at timestamptz)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
$$;

-- Whether notices of an alert are held back now.
create function private.is_muted(p_rule text, p_subject text, p_now timestamptz)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select exists (select 1 from public.alert_mutes m
                   where m.removed_at is null and m.starts_at <= p_now and p_now < m.expires_at
                     and m.rule in (p_rule, '*') and m.subject in (p_subject, '*'));
$$;

-- Open what is new, restate what has changed, resolve what is gone, and hand the notices to the outbox. An alert whose
-- mute has run out while it is still open sends its notice then. Called by: evaluate_alerts, which holds the watch's row.
create function private.settle_alerts(p_now timestamptz, out opened int, out resolved int)
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    with holds as materialized (
        select distinct on (c.rule, c.subject) c.* from private.alert_conditions(p_now) c order by c.rule, c.subject
    ), restated as (
        update public.alerts a
           set severity = h.severity, message = h.message, detail = h.detail
          from holds h
         where a.rule = h.rule and a.subject = h.subject and a.resolved_at is null
           and (a.severity, a.message, a.detail) is distinct from (h.severity, h.message, h.detail)
    ), gone as (
        update public.alerts a set resolved_at = p_now
         where a.resolved_at is null
           and not exists (select 1 from holds h where h.rule = a.rule and h.subject = a.subject)
        returning a.*
    ), told as (
        insert into public.notifications (alert_id, event, severity, title, body, created_at, due_at)
        select g.id, 'resolved', g.severity, private.notice_title('resolved', g), private.notice_body('resolved', g), p_now, p_now
        from gone g where g.notified_at is not null and not private.is_muted(g.rule, g.subject, p_now)
    ), new as (
        insert into public.alerts (rule, subject, severity, owner_id, profile_id, symbol, message, detail, opened_at)
        select h.rule, h.subject, h.severity, h.owner_id, h.profile_id, h.symbol, h.message, h.detail, p_now from holds h
        on conflict (rule, subject) where resolved_at is null do nothing
        returning id
    )
    select (select count(*) from new), (select count(*) from gone) into opened, resolved;

    with due as (
        update public.alerts a set notified_at = p_now
         where a.resolved_at is null and a.notified_at is null and not private.is_muted(a.rule, a.subject, p_now)
        returning a.*
    )
    insert into public.notifications (alert_id, event, severity, title, body, created_at, due_at)
    select d.id, 'opened', d.severity, private.notice_title('opened', d), private.notice_body('opened', d), p_now, p_now from due d;
end;
$$;

-- Bring the alerts in line with what holds now. At most two looks a second are taken, by one caller at a time; to
-- the others it answers evaluated: false. p_notifiers: how many targets the calling engine can send to.
-- Called by: engines, the watcher, operators and admins. Errors: FORBIDDEN.
create function public.evaluate_alerts(p_notifiers int default 0)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    w private.alert_watch;
    v_now timestamptz := clock_timestamp();
    v_done record;
begin
    if not private.is_staff() and not private.is_engine() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may have the alerts looked at.', 'evaluate_alerts', 'alerts');
    end if;
    select n.* into w from private.alert_watch n for update skip locked;
    if not found or w.evaluated_at > v_now - interval '0.5 seconds' then
        return jsonb_build_object('evaluated', false, 'opened', 0, 'resolved', 0);
    end if;
    w := private.verify_next_audit_rows(w, 100);
    update private.alert_watch n
       set evaluated_at = v_now, audit_checked_id = w.audit_checked_id, audit_broken_id = w.audit_broken_id,
           audit_broken_why = w.audit_broken_why,
           notifier_seen_at = case when private.is_engine() and p_notifiers > 0 then v_now else w.notifier_seen_at end;
    perform private.end_stale_notices(v_now);
    v_done := private.settle_alerts(v_now);
    return jsonb_build_object('evaluated', true, 'opened', v_done.opened, 'resolved', v_done.resolved);
end;
$$;

-- Hold notices back for some minutes: of a rule, of a subject, or of one rule about one subject.
-- Called by: operators and admins. Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create function public.mute_alert(p_reason text, p_rule text default null, p_subject text default null, p_minutes int default 60,
                                  p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_rule text := coalesce(nullif(private.trimmed(p_rule), ''), '*');
    v_subject text := coalesce(nullif(private.trimmed(p_subject), ''), '*');
    v_target text := 'alert:' || left(v_rule || ':' || v_subject, 120);
    v_error text := case
        when v_rule = '*' and v_subject = '*' then 'Say what to mute: a rule, a subject, or both.'
        when v_rule <> all (private.alert_rules() || '*'::text)
            then format('%L is no rule: use one of %s.', left(v_rule, 40), array_to_string(private.alert_rules(), ', '))
        when length(v_subject) > 200 then 'A subject has at most 200 characters.'
        when coalesce(p_minutes, 0) not between 1 and 10080 then 'A mute lasts between 1 minute and 10,080 minutes (a week).'
        else private.reason_error(p_reason) end;
    v_answer jsonb;
    m public.alert_mutes;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may mute alerts.', 'mute_alert', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'mute_alert', v_target);
    end if;
    v_answer := private.answered(p_request_id, 'mute_alert', v_target, jsonb_build_array(p_minutes));
    if v_answer is not null then
        return v_answer;
    end if;
    insert into public.alert_mutes (rule, subject, reason, starts_at, expires_at, created_by, created_by_email)
    values (v_rule, v_subject, private.trimmed(p_reason), clock_timestamp(), clock_timestamp() + make_interval(mins => p_minutes),
            auth.uid(), private.actor_email())
    returning * into m;
    perform private.audit('mute_alert', v_target, 'done', m.reason, to_jsonb(m));
    return private.answer(p_request_id, 'mute_alert', v_target, jsonb_build_object('success', true, 'mute', to_jsonb(m)), jsonb_build_array(p_minutes));
end;
$$;

-- End a mute early. An alert that is still open sends its notice then. Called by: operators and admins.
create function public.unmute_alert(p_mute_id uuid, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'mute:' || coalesce(p_mute_id::text, '');
    v_answer jsonb;
    m public.alert_mutes;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may end a mute.', 'unmute_alert', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'unmute_alert', v_target);
    end if;
    v_answer := private.answered(p_request_id, 'unmute_alert', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    update public.alert_mutes n
       set removed_at = clock_timestamp(), removed_by_email = private.actor_email(), removed_reason = private.trimmed(p_reason)
     where n.id = p_mute_id and n.removed_at is null and n.expires_at > clock_timestamp()
    returning n.* into m;
    if m.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no mute in force with this id.', 'unmute_alert', v_target,
                              'It may have run out or been ended meanwhile: look at the list again.');
    end if;
    perform private.audit('unmute_alert', v_target, 'done', m.removed_reason, to_jsonb(m));
    return private.answer(p_request_id, 'unmute_alert', v_target, jsonb_build_object('success', true, 'mute', to_jsonb(m)));
end;
$$;

-- Say that somebody looks after an open alert. It stays open until its cause is gone. Called by: operators and admins.
create function public.acknowledge_alert(p_alert_id uuid, p_note text default '', p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'alert:' || coalesce(p_alert_id::text, '');
    v_answer jsonb;
    a public.alerts;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may acknowledge alerts.', 'acknowledge_alert', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif length(p_note) > 500 then
        return private.refuse(422, 'INVALID', 'The note has more than 500 characters. Shorten it.', 'acknowledge_alert', v_target);
    end if;
    v_answer := private.answered(p_request_id, 'acknowledge_alert', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    select n.* into a from public.alerts n where n.id = p_alert_id for update;
    if a.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no alert with this id.', 'acknowledge_alert', v_target);
    elsif coalesce(a.acknowledged_at, a.resolved_at) is not null then
        return private.refuse(409, 'CONFLICT', case
            when a.acknowledged_at is not null then format('%s has acknowledged it already.', a.acknowledged_by_email)
            else 'It is resolved: its cause is gone.' end, 'acknowledge_alert', v_target, 'Look at the list again.');
    end if;
    update public.alerts n
       set acknowledged_at = clock_timestamp(), acknowledged_by = auth.uid(), acknowledged_by_email = private.actor_email(),
           acknowledged_note = nullif(private.trimmed(p_note), '')
     where n.id = a.id returning n.* into a;
    perform private.audit('acknowledge_alert', v_target, 'done', a.acknowledged_note, to_jsonb(a),
                          coalesce(a.owner_id, '00000000-0000-0000-0000-000000000000'));
    return private.answer(p_request_id, 'acknowledge_alert', v_target, jsonb_build_object('success', true, 'alert', to_jsonb(a)));
end;
$$;

revoke execute on function public.evaluate_alerts(int) from public, anon;

revoke execute on function public.mute_alert(text, text, text, int, uuid) from public, anon;

revoke execute on function public.unmute_alert(uuid, text, uuid) from public, anon;

revoke execute on function public.acknowledge_alert(uuid, text, uuid) from public, anon;

grant execute on function public.evaluate_alerts(int) to authenticated, service_role;

grant execute on function public.mute_alert(text, text, text, int, uuid) to authenticated;

grant execute on function public.unmute_alert(uuid, text, uuid) to authenticated;

grant execute on function public.acknowledge_alert(uuid, text, uuid) to authenticated;

comment on function public.evaluate_alerts(int) is
    'Open, restate and resolve alerts by what holds now. Engines, operators and admins; at most two looks a second.';

comment on function public.mute_alert(text, text, text, int, uuid) is
    'Hold the notices of a rule or a subject back for some minutes. Operators and admins, idempotent by request id.';

comment on function public.unmute_alert(uuid, text, uuid) is 'End a mute early, with a reason. Operators and admins.';

comment on function public.acknowledge_alert(uuid, text, uuid) is
    'Say that somebody looks after an open alert. Operators and admins, idempotent by request id.';

-- Exits that an engine sent while it could not reach this database: facts, told afterwards from its journal.

-- What is wrong with one such exit; NULL when it is well formed.
create function private.offline_exit_error(p jsonb, p_shard text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when private.positive(p ->> 'qty') is null then 'qty must be a number above 0'
        when p ->> 'order_type' is null then 'order_type must be market, limit or stop'
        when coalesce(p ->> 'outcome', '') not in ('accepted', 'rejected', 'unknown') then 'outcome must be accepted, rejected or unknown'
        when private.exit_request_error(p, p_shard) is not null then private.exit_request_error(p, p_shard)
        when exists (select 1 from public.orders o where o.id = (p ->> 'id')::uuid
                     and (o.shard <> p_shard or o.trade_id is distinct from (p ->> 'trade_id')::uuid))
            then 'its id is another order''s'
    end;
$$;

-- Have the order of one such exit: as it was asked for already, or new. It was sent, so it is under way. Where
-- another exit of the trade has been sent meanwhile, or nothing is held any more, it counts as over: still alive at
-- the broker, it is cancelled there as a late one, and what it filled is booked all the same. One of which nobody
-- knows whether it was sent may be sent again, so it is for no more than is held.
create function private.have_offline_exit(p jsonb, p_shard text, p_token bigint)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_id uuid := (p ->> 'id')::uuid;
    v_purpose public.order_purpose := coalesce(p ->> 'purpose', 'exit');
    v_now timestamptz := clock_timestamp();
begin
    if v_purpose = 'exit' then  -- what nobody has sent yet gives way to what was sent
        update public.orders o
           set state = 'canceled', code = 'SUPERSEDED', reason = 'Another exit of the trade was sent without the database.'
         where o.trade_id = (p ->> 'trade_id')::uuid and o.purpose = 'exit' and o.state = 'ready' and o.id <> v_id;
    end if;
    update public.orders o
       set state = 'submitting', permit_token = p_token, permit_deadline = v_now, submitted_at = v_now
     where o.id = v_id and o.state = 'ready';
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        time_in_force, limit_price, stop_price, state, code, reason, exit_reason, trade_id, market_at, permit_token,
        permit_deadline, created_at, updated_at, submitted_at, ended_at)
    select v_id, f.owner_id, f.id, f.shard, t.symbol,
           case t.position_side when 'long' then 'sell' else 'buy' end::public.order_side, t.position_side, v_purpose,
           case when p ->> 'outcome' = 'unknown' then least(private.positive(p ->> 'qty'), coalesce(n.qty, private.positive(p ->> 'qty')))
                else private.positive(p ->> 'qty') end,
           p ->> 'order_type',
           case when p ->> 'order_type' = 'market' or private.positive(p ->> 'qty') % 1 <> 0 then 'day' else 'gtc' end,
           private.price(p ->> 'limit_price'), private.price(p ->> 'stop_price'),
           case when d.code is null then 'submitting' else 'canceled' end::public.order_state, d.code,
           left(p ->> 'reason', 500), coalesce(p ->> 'exit_reason', v_purpose::text), t.id,
           (p ->> 'market_at')::timestamptz, p_token, v_now, v_now, v_now, v_now, case when d.code is not null then v_now end
    from public.trades t
    join public.profiles f on f.id = t.profile_id
    left join public.positions n on n.trade_id = t.id
    cross join lateral (select case
        when v_purpose = 'exit' and exists (
            select 1 from public.orders o where o.trade_id = t.id and o.purpose = 'exit' and o.id <> v_id
               and o.state in ('submitting', 'unknown', 'working', 'partially_filled')) then 'DUPLICATE_ORDER'
        when n.trade_id is null then 'NO_POSITION' end as code) d
    where t.id = (p ->> 'trade_id')::uuid
    on conflict (id) do nothing;
end;
$$;

-- Record exits that were sent while this database could not be reached, with what the broker answered: accepted,
-- rejected, or unknown, which is looked up next. Told again, in any order, it changes nothing more.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any exit is malformed, and then nothing changes.
create function public.record_offline_exits(p_shard text, p_token bigint, p_exits jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
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
        v_answers := v_answers || private.apply_submission(v_exit, p_shard);
    end loop;
    return v_answers;
end;
$$;

revoke execute on function public.record_offline_exits(text, bigint, jsonb) from public, anon, authenticated;

grant execute on function public.record_offline_exits(text, bigint, jsonb) to service_role;

comment on function public.record_offline_exits(text, bigint, jsonb) is
    'Record exits that were sent while the database could not be reached. Engine only.';

-- Manual exits: a person closes one position. The order is an exit like the engine's own: it waits as ready, the
-- engine claims and sends it, and neither pause nor approval holds it back.

-- What a refused exit means to the person who asked for it, by the code of private.decide_exit.
create function private.exit_refusal(p_code text)
    returns table (status int, code text, hint text)
    language sql
    immutable
    set search_path = ''
as $$
    select r.status, coalesce(r.own_code, p_code), r.hint
    from (values
        ('NO_POSITION', 404, 'NOT_FOUND', 'It may have been closed meanwhile: look at the list again.'),
        ('DUPLICATE_ORDER', 409, null, 'Wait for it to be filled or to end; Orders shows how far it is.'),
        ('TRADING_HALTED', 409, null, 'Set the mode to PAUSED first: while paused, positions can be closed.')) as r (given, status, own_code, hint)
    where r.given = p_code
    union all
    select 409, p_code, 'Look at the position again and decide anew.'
    where p_code not in ('NO_POSITION', 'DUPLICATE_ORDER', 'TRADING_HALTED');
$$;

-- Close the whole of one open position at market. The rest of its entry, if any still works, is cancelled.
-- Called by: operators and admins. Errors: FORBIDDEN, INVALID, NOT_FOUND, DUPLICATE_ORDER when an exit is under way
-- already, TRADING_HALTED. Answers: the exit order as it waits to be sent.
create function public.close_position(p_trade_id uuid, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'trade:' || coalesce(p_trade_id::text, '');
    v_answer jsonb;
    v_exit jsonb;
    r record;
    t public.trades;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may close positions.', 'close_position', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'close_position', v_target);
    end if;
    perform private.lock_controls(p_exclusive => false);
    v_answer := private.answered(p_request_id, 'close_position', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    select n.* into t from public.trades n where n.id = p_trade_id;
    perform 1 from public.profile_capital c where c.profile_id = t.profile_id for update;
    v_exit := private.decide_exit(jsonb_build_object(
        'id', gen_random_uuid(), 'trade_id', p_trade_id, 'exit_reason', 'manual',
        'reason', format('Closed by %s: %s', private.actor_email(), private.trimmed(p_reason)),
        'market_at', (select n.marked_at from public.positions n where n.trade_id = p_trade_id)));
    if v_exit ->> 'state' <> 'ready' then
        select * into r from private.exit_refusal(v_exit ->> 'code');
        return private.refuse(r.status, r.code, v_exit ->> 'reason', 'close_position', v_target, r.hint);
    end if;
    update public.orders o set cancel_requested_at = clock_timestamp()
     where o.id = p_trade_id and o.purpose = 'entry' and o.cancel_requested_at is null
       and o.state in ('submitting', 'unknown', 'working', 'partially_filled');
    perform private.audit('close_position', v_target, 'done', private.trimmed(p_reason),
                          jsonb_build_object('order_id', v_exit ->> 'id', 'symbol', t.symbol, 'side', t.position_side), t.owner_id);
    return private.answer(p_request_id, 'close_position', v_target,
                          jsonb_build_object('success', true, 'order_id', v_exit ->> 'id', 'state', v_exit ->> 'state',
                                             'symbol', t.symbol, 'trade_id', p_trade_id,
                                             'qty', (select o.qty from public.orders o where o.id = (v_exit ->> 'id')::uuid)));
end;
$$;

revoke execute on function private.exit_refusal(text) from public, anon, authenticated;

revoke execute on function public.close_position(uuid, text, uuid) from public, anon;

grant execute on function public.close_position(uuid, text, uuid) to authenticated, service_role;

comment on function public.close_position(uuid, text, uuid) is
    'Close one open position at market, with a reason. Operators and admins, idempotent by request id; not gated by pause.';

-- Reconciliation: our books against the broker's. The engine brings what the broker says; what is a difference,
-- what becomes of it, and whether it keeps entries out, is decided here.

-- What becomes of orders in a broker account that we never made. Without a row: lock.
create table public.external_order_policies (
    id               uuid primary key default gen_random_uuid(),
    broker_account   text not null,
    profile_id       uuid references public.profiles (id) on delete cascade,  -- NULL: for the whole account
    policy           text not null check (policy in ('lock', 'ignore', 'adopt')),
    reason           text not null,
    changed_by_email text not null,
    changed_at       timestamptz not null default now(),
    unique nulls not distinct (broker_account, profile_id)
);

create index external_order_policies_profile on public.external_order_policies (profile_id);

comment on table public.external_order_policies is
    'Orders in the account that are not ours: lock the symbol for entries, ignore them, or adopt them into a profile.';

alter table public.external_order_policies enable row level security;

revoke all on public.external_order_policies from anon, authenticated, service_role;

grant select on public.external_order_policies to authenticated, service_role;

create policy "staff read the policies for external orders"
    on public.external_order_policies for select to authenticated using ((select private.is_staff()));

-- The broker account that a shard's profiles trade in.
create function private.account_of(p_shard text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(min(f.broker_account), 'main') from public.profiles f where f.shard = p_shard;
$$;

create type private.external_policy as (policy text, profile_id uuid, reason text);

-- What becomes of a symbol's external orders: the strictest wish of the profiles that trade it, else the account's.
-- `adopt` names the one profile that takes them.
create function private.external_policy_of(p_account text, p_symbol text)
    returns private.external_policy
    language sql
    stable
    set search_path = ''
as $$
    select row(
        case when count(w.id) = 0 then case when a.policy = 'ignore' then 'ignore' else 'lock' end
             when bool_or(w.policy = 'lock') then 'lock'
             when bool_and(w.policy = 'ignore') then 'ignore'
             when count(*) filter (where w.policy = 'adopt') = 1 then 'adopt'
             else 'lock' end,
        case when not bool_or(w.policy = 'lock') and count(*) filter (where w.policy = 'adopt') = 1
             then (min(w.id::text) filter (where w.policy = 'adopt'))::uuid end,
        case when count(w.id) = 0 then 'no active profile trades the symbol'
             when bool_or(w.policy = 'lock') then 'the policy is to lock'
             when count(*) filter (where w.policy = 'adopt') > 1 then 'several profiles would adopt' end)::private.external_policy
    from (select (select x.policy from public.external_order_policies x where x.broker_account = p_account and x.profile_id is null) as policy) a
    left join lateral (
        select f.id, coalesce(x.policy, a.policy, 'lock') as policy
        from public.profiles f left join public.external_order_policies x on x.profile_id = f.id
        where f.broker_account = p_account and f.active and p_symbol = any (f.symbols)) w on true
    group by a.policy;
$$;

-- Set what becomes of external orders, for an account or for one profile of it. Called by: admins.
create function public.set_external_order_policy(p_policy text, p_reason text, p_broker_account text default 'main',
                                                 p_profile_id uuid default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := case when p_profile_id is null then 'account:' || left(coalesce(p_broker_account, ''), 60) else 'profile:' || p_profile_id end;
    v_error text := coalesce(private.reason_error(p_reason),
        case when coalesce(p_policy, '') not in ('lock', 'ignore', 'adopt') then 'The policy is lock, ignore or adopt.'
             when coalesce(length(p_broker_account), 0) not between 1 and 60 then 'Name the broker account (1 to 60 characters).' end);
    v_answer jsonb;
    v_row public.external_order_policies;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may say what becomes of external orders.', 'set_external_order_policy', v_target);
    elsif v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'set_external_order_policy', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'set_external_order_policy', v_target, jsonb_build_array(p_policy, p_broker_account));
    if v_answer is not null then
        return v_answer;
    elsif p_profile_id is not null and not exists (select 1 from public.profiles f where f.id = p_profile_id and f.broker_account = p_broker_account) then
        return private.refuse(404, 'NOT_FOUND', 'There is no such profile in this broker account.', 'set_external_order_policy', v_target);
    end if;
    insert into public.external_order_policies as x (broker_account, profile_id, policy, reason, changed_by_email, changed_at)
    values (p_broker_account, p_profile_id, p_policy, private.trimmed(p_reason), coalesce((select m.email from public.members m where m.user_id = private.caller_id()), ''), clock_timestamp())
    on conflict (broker_account, profile_id) do update
        set policy = excluded.policy, reason = excluded.reason, changed_by_email = excluded.changed_by_email, changed_at = excluded.changed_at
    returning x.* into v_row;
    perform private.audit('set_external_order_policy', v_target, 'done', private.trimmed(p_reason), jsonb_build_object('policy', p_policy));
    return private.answer(p_request_id, 'set_external_order_policy', v_target, jsonb_build_object('success', true, 'policy', to_jsonb(v_row)),
                          jsonb_build_array(p_policy, p_broker_account));
end;
$$;

-- What our books of all shards say the shard's broker account holds. Called by: the engine. Errors: LEASE_LOST.
create function public.reconcile_books(p_shard text, p_token bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return (select coalesce(jsonb_object_agg(h.symbol, h.qty::text), '{}')
            from (select n.symbol, sum(case n.side when 'long' then n.qty else -n.qty end) as qty
                  from public.positions n join public.profiles f on f.id = n.profile_id
                  where f.broker_account = private.account_of(p_shard) group by n.symbol) h);
end;
$$;

-- Hold one page of the broker's orders against ours, given as parallel arrays; answers the positions (from 1) of
-- those that say something new, and of those that we do not know. Called by: the engine. Errors: LEASE_LOST.
create function public.reconcile_orders(p_shard text, p_token bigint, p_client_ids text[], p_broker_ids text[],
                                        p_statuses text[], p_filled numeric[])
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return (
        select jsonb_build_object(
            'news', coalesce(jsonb_agg(c.n order by c.n) filter (where c.shard = p_shard and (c.filled > c.filled_qty or c.known_as is distinct from c.broker_id or case
                when private.is_terminal(c.state) then c.state not in ('filled', 'replaced') and not private.is_terminal(private.state_of(c.status, 0))
                else c.status is distinct from c.broker_status end)), '[]'),
            'unknown', coalesce(jsonb_agg(c.n order by c.n) filter (where c.shard is null), '[]'))
        from (select u.n, u.broker_id, u.status, u.filled, coalesce(a.shard, b.shard) as shard, coalesce(a.state, b.state) as state,
                     coalesce(a.broker_status, b.broker_status) as broker_status, coalesce(a.filled_qty, b.filled_qty) as filled_qty,
                     coalesce(a.broker_order_id, b.broker_order_id) as known_as
              from unnest(p_client_ids, p_broker_ids, p_statuses, p_filled) with ordinality u (client_id, broker_id, status, filled, n)
              left join public.orders a on a.broker_order_id = u.broker_id
              left join public.orders b on a.id is null and b.id = private.as_uuid(u.client_id)) c);
end;
$$;

-- Bring external orders into our books where the policy says so: as an exit of the one trade that is large enough,
-- or as a trade of the profile's own. Answers for each whether it was adopted, the policy and why not.
-- Called by: the engine. Errors: LEASE_LOST.
create function public.adopt_orders(p_shard text, p_token bigint, p_orders jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_order jsonb;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select f.id from public.profiles f where f.shard = p_shard
                             and f.symbols && array(select e.value ->> 'symbol' from jsonb_array_elements(p_orders) e))
      order by c.profile_id for update;
    for v_order in select e.value from jsonb_array_elements(p_orders) e loop
        v_answers := v_answers || private.adopt_order(v_order, p_shard);
    end loop;
    return v_answers;
end;
$$;

create function private.adopt_order(b jsonb, p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_policy private.external_policy := private.external_policy_of(private.account_of(p_shard), b ->> 'symbol');
    f public.profiles;
    v_side public.position_side := case b ->> 'side' when 'buy' then 'long' else 'short' end;
    v_qty numeric := private.positive(b ->> 'qty');
    v_closes uuid[];
    v_error text;
begin
    select p.* into f from public.profiles p where p.id = v_policy.profile_id;
    if v_policy.policy <> 'adopt' or f.shard <> p_shard then
        return jsonb_build_object('adopted', false, 'policy', v_policy.policy, 'reason', v_policy.reason);
    end if;
    v_closes := array(select n.trade_id from public.positions n
                      where n.profile_id = f.id and n.symbol = b ->> 'symbol' and n.side <> v_side);
    v_error := case
        when v_qty is null then 'it has no quantity in shares'
        when (b ->> 'type' = any (private.order_types())) is not true then 'orders of its type are not known here'
        when exists (select 1 from public.orders o where o.broker_order_id = b ->> 'broker_order_id') then 'it is known already'
        when cardinality(v_closes) > 1 then 'several trades could be meant'
        when cardinality(v_closes) = 1 then private.cannot_close(v_closes[1], v_qty)
        else private.cannot_open(f, b, v_qty) end;
    if v_error is null then
        perform private.book_external(f, b, v_qty, v_closes[1]);
    end if;
    return jsonb_build_object('adopted', v_error is null, 'policy', 'adopt', 'reason', coalesce(v_error, ''));
end;
$$;

-- Why an external order cannot be an exit of a trade; NULL when it can.
create function private.cannot_close(p_trade_id uuid, p_qty numeric)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case when p_qty > (select n.qty from public.positions n where n.trade_id = p_trade_id) then 'it is larger than the position'
                when exists (select 1 from public.orders o where o.trade_id = p_trade_id and o.purpose = 'exit'
                             and not private.is_terminal(o.state)) then 'an exit of the trade is under way' end;
$$;

-- Why an external order cannot be an entry of a profile; NULL when it can.
create function private.cannot_open(f public.profiles, b jsonb, p_qty numeric)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when private.effective_mode(f.id, b ->> 'symbol') <> 'RUNNING' then 'trading is not running'
        when exists (select 1 from public.orders o where o.profile_id = f.id and o.symbol = b ->> 'symbol' and o.purpose = 'entry'
                     and not private.is_terminal(o.state)) then 'an entry of the profile is under way'
        when coalesce(private.price(b ->> 'limit_price'), private.price(b ->> 'filled_avg_price')) is null then 'it has no price yet'
        when c.reserved_usd + c.used_usd + p_qty * coalesce(private.price(b ->> 'limit_price'), private.price(b ->> 'filled_avg_price')) > c.capital_usd
            then 'the profile has not enough capital' end
    from public.profile_capital c where c.profile_id = f.id;
$$;

-- Make an order row of an external order, then take over what the broker says about it.
create function private.book_external(f public.profiles, b jsonb, p_qty numeric, p_closes uuid)
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
    perform private.apply_broker_order(v_id, b);
    perform private.apply_legs(v_id, b -> 'legs');
end;
$$;

-- Note one reconciliation: new differences open a finding, known ones stay, and open ones that are no longer there
-- are repaired. What stays as it is is not written again. Called by: the engine. Errors: LEASE_LOST.
create or replace function public.reconcile_apply(p_shard text, p_token bigint, p_run jsonb, p_findings jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_run uuid;
    v_now timestamptz := clock_timestamp();
begin
    perform private.check_lease(p_shard, p_token);
    if coalesce(p_run ->> 'kind', '') not in ('full', 'incremental') then
        perform private.fail(422, 'INVALID', 'The kind of a run is full or incremental.');
    elsif jsonb_typeof(p_findings) is distinct from 'array'
          or exists (select 1 from jsonb_array_elements(p_findings) e
                     where coalesce(e.value ->> 'key', '') = '' or coalesce(e.value ->> 'kind', '') = ''
                        or coalesce(e.value ->> 'status', 'open') not in ('open', 'repaired')
                        or coalesce(e.value ->> 'severity', 'warning') not in ('info', 'warning', 'critical')) then
        perform private.fail(422, 'INVALID', 'p_findings must be an array of findings with key, kind and, if any, status open or repaired'
                                             ' and severity info, warning or critical.');
    end if;
    insert into public.reconciliation_runs (shard, kind, started_at, finished_at, orders_checked, positions_checked, findings,
                                            broker_cursor, orders_changed)
    values (p_shard, p_run ->> 'kind', coalesce((p_run ->> 'started_at')::timestamptz, v_now), v_now,
            coalesce((p_run ->> 'orders_checked')::int, 0), coalesce((p_run ->> 'positions_checked')::int, 0),
            jsonb_array_length(p_findings), (p_run ->> 'broker_cursor')::timestamptz, coalesce((p_run ->> 'orders_changed')::int, 0))
    returning id into v_run;
    perform private.note_findings(p_shard, v_run, p_findings, v_now);
    return jsonb_build_object('run_id', v_run, 'findings', jsonb_array_length(p_findings));
end;
$$;

create function private.note_findings(p_shard text, p_run uuid, p_findings jsonb, p_now timestamptz)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_found public.reconciliation_findings[] := array(
        select distinct on (n.key) row(0, p_run, p_shard, n.key, n.kind, n.symbol, coalesce(n.detail, '{}'),
                   case when g.ignored then 'repaired' else coalesce(n.status, 'open') end, p_now, p_now, coalesce(n.severity, 'warning'),
                   case when g.ignored then 'Ignored, as the account''s policy says.' else coalesce(n.action, '') end,
                   coalesce(n.advice, ''), g.ignored)::public.reconciliation_findings
        from jsonb_to_recordset(p_findings) as n (key text, kind text, symbol text, detail jsonb, status text, severity text, action text, advice text)
        cross join lateral (select n.kind in ('ORDER_NOT_OURS', 'POSITION_MISMATCH')
            and (private.external_policy_of(private.account_of(p_shard), n.symbol)).policy = 'ignore' as ignored) g);
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

revoke execute on function public.set_external_order_policy(text, text, text, uuid, uuid) from public, anon;

revoke execute on function public.reconcile_books(text, bigint) from public, anon, authenticated;

revoke execute on function public.reconcile_orders(text, bigint, text[], text[], text[], numeric[]) from public, anon, authenticated;

revoke execute on function public.adopt_orders(text, bigint, jsonb) from public, anon, authenticated;

grant execute on function public.set_external_order_policy(text, text, text, uuid, uuid) to authenticated, service_role;

grant execute on function public.reconcile_books(text, bigint) to service_role;

grant execute on function public.reconcile_orders(text, bigint, text[], text[], text[], numeric[]) to service_role;

grant execute on function public.adopt_orders(text, bigint, jsonb) to service_role;

comment on function public.set_external_order_policy(text, text, text, uuid, uuid) is
    'Set what becomes of orders in the account that are not ours: lock, ignore or adopt. Admins only, audited.';

comment on function public.reconcile_books(text, bigint) is 'What our books say the broker account holds. Engine only.';

comment on function public.reconcile_orders(text, bigint, text[], text[], text[], numeric[]) is
    'Which of the broker''s orders say something new. Engine only.';

comment on function public.adopt_orders(text, bigint, jsonb) is 'Bring external orders into our books where the policy says so. Engine only.';

-- Closed trades by month: what the figures of performance are added up from, kept with each trade that closes, so
-- that no page has to group the trades themselves.

create table public.trade_months (
    profile_id    uuid not null references public.profiles (id),
    month         date not null check (extract(day from month) = 1),  -- in which it closed, on New York's calendar
    symbol        text not null,
    position_side public.position_side not null,
    exit_reason   text not null,
    owner_id      uuid not null,
    trades        int not null,
    wins          int not null,
    losses        int not null,
    gains_usd     numeric(28, 9) not null,
    losses_usd    numeric(28, 9) not null,       -- 0 or more
    pnl_squared   numeric(56, 18) not null,      -- for the spread of results
    volume_usd    numeric(28, 9) not null,       -- bought plus sold
    holding_s     numeric(20, 6) not null,
    -- How many trades returned what: below -10 %, forty steps of 0.5 %, 10 % and more.
    return_bins   int[] not null check (cardinality(return_bins) = 42),
    primary key (profile_id, month, symbol, position_side, exit_reason)
);

create index trade_months_owner on public.trade_months (owner_id, month);

create index trade_months_month on public.trade_months (month);

comment on table public.trade_months is 'Closed trades added up by month, profile, symbol, side and what closed them.';

alter table public.trade_months enable row level security;

revoke all on public.trade_months from anon, authenticated, service_role;

grant select on public.trade_months to authenticated, service_role;

create policy "owners and staff read trades by month"
    on public.trade_months for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- One closed trade as a line of its month; p_sign -1 takes it back.
create function private.trade_line(t public.trades, p_sign int)
    returns public.trade_months
    language sql
    stable
    set search_path = ''
as $$
    select t.profile_id, date_trunc('month', t.closed_at at time zone 'America/New_York')::date, t.symbol, t.position_side,
           coalesce(t.exit_reason, 'unknown'), t.owner_id, p_sign, p_sign * (t.realized_pnl_usd > 0)::int,
           p_sign * (t.realized_pnl_usd < 0)::int, p_sign * greatest(t.realized_pnl_usd, 0), p_sign * greatest(-t.realized_pnl_usd, 0),
           p_sign * t.realized_pnl_usd * t.realized_pnl_usd, p_sign * (t.entry_notional_usd + t.exit_notional_usd),
           p_sign * extract(epoch from t.closed_at - t.opened_at),
           array(select case when n = width_bucket(coalesce(t.realized_pnl_usd / nullif(t.entry_notional_usd, 0), 0), -0.10, 0.10, 40)
                             then p_sign else 0 end from generate_series(0, 41) n);
$$;

-- Add one line to its month. The caller holds the profile's capital row, so no two add to one line at a time.
create function private.add_trade_line(l public.trade_months)
    returns void
    language sql
    volatile
    set search_path = ''
as $$
    insert into public.trade_months as m values (l.*)
    on conflict (profile_id, month, symbol, position_side, exit_reason) do update
        set trades = m.trades + excluded.trades, wins = m.wins + excluded.wins, losses = m.losses + excluded.losses,
            gains_usd = m.gains_usd + excluded.gains_usd, losses_usd = m.losses_usd + excluded.losses_usd,
            pnl_squared = m.pnl_squared + excluded.pnl_squared, volume_usd = m.volume_usd + excluded.volume_usd,
            holding_s = m.holding_s + excluded.holding_s,
            return_bins = array(select a + b from unnest(m.return_bins, excluded.return_bins) with ordinality as u (a, b, n) order by n);
$$;

-- A trade that closes enters its month; one that opens again, or is restated after it closed, leaves it first.
create function private.roll_trade_up()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    if old.closed_at is not null then
        perform private.add_trade_line(private.trade_line(old, -1));
    end if;
    if new.closed_at is not null then
        perform private.add_trade_line(private.trade_line(new, 1));
    end if;
    return null;
end;
$$;

create trigger trades_roll_up_by_month
    after update on public.trades
    for each row
    when (old.closed_at is not null or new.closed_at is not null)
    execute function private.roll_trade_up();

-- Add the months up anew from the trades themselves; answers how many lines there are.
create function private.rebuild_trade_months()
    returns bigint
    language plpgsql
    volatile
    set search_path = ''
as $$
begin
    delete from public.trade_months;
    insert into public.trade_months
    select l.profile_id, l.month, l.symbol, l.position_side, l.exit_reason, l.owner_id, sum(l.trades), sum(l.wins), sum(l.losses),
           sum(l.gains_usd), sum(l.losses_usd), sum(l.pnl_squared), sum(l.volume_usd), sum(l.holding_s),
           array(select count(*) filter (where b.bin = n) from unnest(array_agg(array_position(l.return_bins, 1))) as b (bin), generate_series(1, 42) n
                 group by n order by n)
    from public.trades t cross join lateral private.trade_line(t, 1) l
    where t.closed_at is not null
    group by l.profile_id, l.month, l.symbol, l.position_side, l.exit_reason, l.owner_id;
    return (select count(*) from public.trade_months);
end;
$$;

revoke execute on function private.trade_line(public.trades, int) from public, anon, authenticated;

revoke execute on function private.add_trade_line(public.trade_months) from public, anon, authenticated;

revoke execute on function private.rebuild_trade_months() from public, anon, authenticated;

select private.rebuild_trade_months();

-- The closed trades that the caller sees, added up by several dimensions at once; NULL filters want all.
-- p_from and p_until are first days of months, p_until is not included. `dimension` is all, month, profile,
-- strategy, symbol, side or exit_reason; `bins` are given for all only.
-- Called by: any member. Errors: FORBIDDEN.
create function public.trade_statistics(p_from date default null, p_until date default null, p_profile_ids uuid[] default null,
                                        p_symbols text[] default null, p_sides text[] default null, p_exit_reasons text[] default null)
    returns table (dimension text, key text, trades bigint, wins bigint, losses bigint, gains_usd numeric, losses_usd numeric,
                   pnl_squared numeric, volume_usd numeric, holding_s numeric, bins int[])
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    if private.caller_role() is null and not private.is_engine() then
        perform private.fail(403, 'FORBIDDEN', 'You are signed in, but not a member of this installation.', 'Ask an admin to add you.');
    end if;
    return query
        with wanted as materialized (
            select m.*, p.strategy from public.trade_months m join public.profiles p on p.id = m.profile_id
            where m.trades > 0 and (m.owner_id = (select auth.uid()) or (select private.is_staff()) or (select private.is_engine()))
              and m.month >= coalesce(p_from, '-infinity') and m.month < coalesce(p_until, 'infinity')
              and (p_profile_ids is null or m.profile_id = any (p_profile_ids))
              and (p_symbols is null or m.symbol = any (p_symbols))
              and (p_sides is null or m.position_side::text = any (p_sides))
              and (p_exit_reasons is null or m.exit_reason = any (p_exit_reasons)))
        select case when grouping(w.month) = 0 then 'month' when grouping(w.profile_id) = 0 then 'profile'
                    when grouping(w.strategy) = 0 then 'strategy' when grouping(w.symbol) = 0 then 'symbol'
                    when grouping(w.position_side) = 0 then 'side' when grouping(w.exit_reason) = 0 then 'exit_reason' else 'all' end,
               coalesce(w.month::text, w.profile_id::text, w.strategy, w.symbol, w.position_side::text, w.exit_reason, ''),
               sum(w.trades), sum(w.wins), sum(w.losses), sum(w.gains_usd), sum(w.losses_usd), sum(w.pnl_squared),
               sum(w.volume_usd), sum(w.holding_s),
               case when grouping(w.month, w.profile_id, w.strategy, w.symbol, w.position_side, w.exit_reason) = 63
                    -- Written out: adding element by element in a loop takes five times as long.
                    then (select array[sum(a.return_bins[1]), sum(a.return_bins[2]), sum(a.return_bins[3]), sum(a.return_bins[4]), sum(a.return_bins[5]),
                         sum(a.return_bins[6]), sum(a.return_bins[7]), sum(a.return_bins[8]), sum(a.return_bins[9]), sum(a.return_bins[10]),
                         sum(a.return_bins[11]), sum(a.return_bins[12]), sum(a.return_bins[13]), sum(a.return_bins[14]), sum(a.return_bins[15]),
                         sum(a.return_bins[16]), sum(a.return_bins[17]), sum(a.return_bins[18]), sum(a.return_bins[19]), sum(a.return_bins[20]),
                         sum(a.return_bins[21]), sum(a.return_bins[22]), sum(a.return_bins[23]), sum(a.return_bins[24]), sum(a.return_bins[25]),
                         sum(a.return_bins[26]), sum(a.return_bins[27]), sum(a.return_bins[28]), sum(a.return_bins[29]), sum(a.return_bins[30]),
                         sum(a.return_bins[31]), sum(a.return_bins[32]), sum(a.return_bins[33]), sum(a.return_bins[34]), sum(a.return_bins[35]),
                         sum(a.return_bins[36]), sum(a.return_bins[37]), sum(a.return_bins[38]), sum(a.return_bins[39]), sum(a.return_bins[40]),
                         sum(a.return_bins[41]), sum(a.return_bins[42])]::int[] from wanted a) end
        from wanted w
        group by grouping sets ((), (w.month), (w.profile_id), (w.strategy), (w.symbol), (w.position_side), (w.exit_reason))
        having sum(w.trades) > 0;
end;
$$;

revoke execute on function public.trade_statistics(date, date, uuid[], text[], text[], text[]) from public, anon;

grant execute on function public.trade_statistics(date, date, uuid[], text[], text[], text[]) to authenticated, service_role;

comment on function public.trade_statistics(date, date, uuid[], text[], text[], text[]) is
    'The caller''s closed trades added up by month, profile, strategy, symbol, side and what closed them. Any member.';

-- Where moments of the database's clock lie on the market's: the first snapshot of equity at or after each, and the
-- last one at or before it, of those that the caller sees. Called by: any member. Errors: FORBIDDEN.
create function public.market_times(p_moments timestamptz[])
    returns table (moment timestamptz, first_after timestamptz, last_before timestamptz)
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_all boolean := private.is_staff() or private.is_engine();
begin
    if private.caller_role() is null and not private.is_engine() then
        perform private.fail(403, 'FORBIDDEN', 'You are signed in, but not a member of this installation.', 'Ask an admin to add you.');
    end if;
    return query
        select n.moment,
               (select s.market_at from public.equity_snapshots s where s.recorded_at >= n.moment and (v_all or s.owner_id = auth.uid())
                order by s.recorded_at limit 1),
               (select s.market_at from public.equity_snapshots s where s.recorded_at <= n.moment and (v_all or s.owner_id = auth.uid())
                order by s.recorded_at desc limit 1)
        from (select distinct u.moment from unnest(p_moments[1:200]) as u (moment) where u.moment is not null) n;
end;
$$;

revoke execute on function public.market_times(timestamptz[]) from public, anon;

grant execute on function public.market_times(timestamptz[]) to authenticated, service_role;

comment on function public.market_times(timestamptz[]) is
    'Where moments of the database''s clock lie on the market''s, by the snapshots of equity. Any member.';

-- Notifications: the outbox of the alerts. A row is one notice; where it goes to is known to the engines alone, which
-- hold the addresses in their environment. Delivery is at least once: the row's id goes out with the notice, so that
-- whoever receives it twice can tell.

create table public.notifications (
    id            uuid primary key default gen_random_uuid(),
    alert_id      uuid references public.alerts (id),  -- NULL: a test
    event         text not null check (event in ('opened', 'resolved', 'test')),
    severity      text not null check (severity in ('warning', 'critical')),
    title         text not null,
    body          text not null,
    status        text not null default 'queued' check (status in (
        'queued',
        'sending',    -- claimed: one engine may send it until claimed_until
        'sent',
        'failed',     -- given up after the last try
        'expired'     -- nobody had anywhere to send it to in time
    )),
    attempts      int not null default 0,
    token         bigint not null default 0,         -- of the newest claim; an older one settles nothing
    claimed_by    text,
    claimed_until timestamptz,
    delivered_to  text[] not null default '{}',      -- targets that have it, by fingerprint
    last_error    text,
    created_at    timestamptz not null,
    due_at        timestamptz not null,
    ended_at      timestamptz
);

create index notifications_due on public.notifications (due_at) where status in ('queued', 'sending');

create index notifications_failed on public.notifications (ended_at) where status = 'failed';

create index notifications_alert on public.notifications (alert_id, created_at);

create index notifications_created on public.notifications (created_at desc, id);

comment on table public.notifications is 'The outbox of the alerts: one row per notice, with what became of it.';

alter table public.notifications enable row level security;

revoke all on public.notifications from anon, authenticated, service_role;

grant select on public.notifications to authenticated, service_role;

create policy "staff read notifications"
    on public.notifications for select to authenticated using ((select private.is_staff()));

-- After so many tries a notice is given up.
create function private.notice_tries_max()
    returns int
    language sql
    immutable
    set search_path = ''
as $$
    select 8;
$$;

-- How long to wait after a failed try: 2 s, 4 s, 8 s, ... at most 5 minutes.
create function private.notice_wait(p_attempts int)
    returns interval
    language sql
    immutable
    set search_path = ''
as $$
    select make_interval(secs => least(300, 2 ^ least(greatest(p_attempts, 1), 20)));
$$;

create function private.notice_title(p_event text, a public.alerts)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select format('%s %s%s', case p_event when 'resolved' then 'Resolved:' when 'test' then 'Test:' else initcap(a.severity) || ':' end,
                  replace(lower(a.rule), '_', ' '), coalesce(' in ' || a.symbol, ''));
$$;

create function private.notice_body(p_event text, a public.alerts)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select format(E'%s\nSince %s%s. %s %s.', a.message, private.utc_text(a.opened_at),
                  case p_event when 'resolved' then format(', gone at %s', private.utc_text(a.resolved_at)) else '' end, a.rule, a.subject);
$$;

-- End what nobody will send any more: notices that found no target for an hour, and those whose last try died with its engine.
create function private.end_stale_notices(p_now timestamptz)
    returns void
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    update public.notifications n
       set status = case n.status when 'queued' then 'expired' else 'failed' end, ended_at = p_now,
           last_error = coalesce(n.last_error, case n.status when 'queued' then 'No engine had anywhere to send it to for an hour.'
                                                             else 'Its last try was never reported.' end)
     where n.status in ('queued', 'sending')
       and (n.status = 'queued' and n.attempts = 0 and n.created_at < p_now - interval '1 hour'
            or n.status = 'sending' and n.claimed_until < p_now and n.attempts >= private.notice_tries_max());
$$;

-- Claim notices that are due, the oldest first, for p_ttl_s seconds. Nobody else gets them meanwhile; when the claim
-- runs out without a word they are due again, under a newer token. Called by: engines and the watcher.
create function public.claim_notifications(p_holder text, p_limit int default 50, p_ttl_s int default 60)
    returns setof public.notifications
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    if coalesce(length(p_holder), 0) not between 1 and 200 then
        perform private.fail(422, 'INVALID', 'A claim needs its holder''s name, of up to 200 characters.');
    end if;
    return query
        with due as (
            select n.id from public.notifications n
            where n.status in ('queued', 'sending') and n.due_at <= clock_timestamp()
              and coalesce(n.claimed_until, '-infinity') <= clock_timestamp() and n.attempts < private.notice_tries_max()
            order by n.created_at, n.id
            limit least(greatest(coalesce(p_limit, 50), 1), 500)
            for update skip locked
        ), claimed as (
            update public.notifications n
               set status = 'sending', attempts = n.attempts + 1, token = n.token + 1, claimed_by = p_holder,
                   claimed_until = clock_timestamp() + make_interval(secs => least(greatest(coalesce(p_ttl_s, 60), 1), 600))
              from due d where n.id = d.id
            returning n.*
        )
        select * from claimed c order by c.created_at, c.id;
end;
$$;

-- Say what came of claimed notices: [{id, token, delivered_to, error}], error null when every target has it. A token
-- that is not the newest, or of another holder, settles nothing. Answers what each is now. Called by: engines and the watcher.
create function public.settle_notifications(p_holder text, p_results jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_answer jsonb;
begin
    perform 1 from public.notifications n where n.status = 'sending' and n.claimed_by = p_holder order by n.id for update;
    if jsonb_typeof(p_results) is distinct from 'array'
       or exists (select 1 from jsonb_array_elements(p_results) e
                  where jsonb_typeof(e.value) <> 'object' or private.as_uuid(e.value ->> 'id') is null
                     or coalesce(e.value ->> 'token', '') !~ '^[0-9]{1,15}$'
                     or coalesce(jsonb_typeof(e.value -> 'delivered_to'), 'array') not in ('array', 'null')
                     or coalesce(jsonb_typeof(e.value -> 'error'), 'null') not in ('string', 'null')) then
        perform private.fail(422, 'INVALID', 'p_results must be an array of results with id, token, delivered_to and error.');
    end if;
    with results as (
        select distinct on (1) private.as_uuid(e.value ->> 'id') as id, (e.value ->> 'token')::bigint as token,
               left(e.value ->> 'error', 500) as error,
               array(select left(t.value, 40) from jsonb_array_elements_text(
                         case jsonb_typeof(e.value -> 'delivered_to') when 'array' then e.value -> 'delivered_to' else '[]' end) t
                     where t.value is not null limit 100) as delivered_to
        from jsonb_array_elements(p_results) e
    ), settled as (
        update public.notifications n
           set status = case when r.error is null then 'sent' when n.attempts >= private.notice_tries_max() then 'failed' else 'queued' end,
               ended_at = case when r.error is null or n.attempts >= private.notice_tries_max() then v_now end,
               due_at = v_now + private.notice_wait(n.attempts), claimed_until = null, last_error = coalesce(r.error, n.last_error),
               delivered_to = array(select distinct d from unnest(n.delivered_to || r.delivered_to) d order by d)
          from results r
         where n.id = r.id and n.token = r.token and n.claimed_by = p_holder and n.status = 'sending'
        returning n.id, n.status
    )
    select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'settled', s.id is not null, 'status', s.status)), '[]')
      into v_answer
    from results r left join settled s on s.id = r.id;
    return v_answer;
end;
$$;

-- Queue a notice that only shows whether notices arrive. Called by: admins. Errors: FORBIDDEN, CONFLICT.
create function public.test_alert(p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_answer jsonb;
    n public.notifications;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may send a test alert.', 'test_alert', 'notifications',
                              'Ask an admin. Your attempt was recorded.');
    end if;
    v_answer := private.answered(p_request_id, 'test_alert', 'notifications');
    if v_answer is not null then
        return v_answer;
    end if;
    insert into public.notifications (event, severity, title, body, created_at, due_at)
    values ('test', 'warning', 'Test: alerts arrive',
            format('%s asked for this at %s to see whether alerts arrive. Nothing is wrong.', private.actor_email(),
                   private.utc_text(clock_timestamp())), clock_timestamp(), clock_timestamp())
    returning * into n;
    perform private.audit('test_alert', 'notifications', 'done', null, jsonb_build_object('notification_id', n.id));
    return private.answer(p_request_id, 'test_alert', 'notifications', jsonb_build_object('success', true, 'notification_id', n.id,
        'notifier', (select coalesce(w.notifier_seen_at > clock_timestamp() - interval '1 minute', false) from private.alert_watch w)));
end;
$$;

-- Remove alerts that were resolved before a day, with their notices, and tests of then; at most p_limit of each.
-- Answers how many alerts went. Called by: prune_history.
create function private.prune_alerts(p_before timestamptz, p_limit int)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_count int;
begin
    delete from public.notifications n where n.id in (
        select t.id from public.notifications t where t.alert_id is null and t.created_at < p_before order by t.created_at limit p_limit);
    with gone as (
        select a.id from public.alerts a where a.resolved_at < p_before and a.opened_at < p_before order by a.opened_at limit p_limit
    ), notices as (
        delete from public.notifications n using gone g where n.alert_id = g.id
    )
    delete from public.alerts a using gone g where a.id = g.id;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

revoke execute on function public.claim_notifications(text, int, int) from public, anon, authenticated;

revoke execute on function public.settle_notifications(text, jsonb) from public, anon, authenticated;

revoke execute on function public.test_alert(uuid) from public, anon;

grant execute on function public.claim_notifications(text, int, int) to service_role;

grant execute on function public.settle_notifications(text, jsonb) to service_role;

grant execute on function public.test_alert(uuid) to authenticated;

comment on function public.claim_notifications(text, int, int) is 'Claim notices that are due, under a fencing token. Engine only.';

comment on function public.settle_notifications(text, jsonb) is 'Say what came of claimed notices. Engine only; an older token settles nothing.';

comment on function public.test_alert(uuid) is 'Queue a notice that only shows whether notices arrive. Admins.';

-- The rules of the alerts: each is a query for what holds right now, with its bounds from the section `alerts` of the
-- risk configuration. docs/alerts.md describes every rule.

-- One thing that somebody should know of.
create type private.alert_condition as (
    rule       text,
    subject    text,
    severity   text,
    owner_id   uuid,
    profile_id uuid,
    symbol     text,
    message    text,
    detail     jsonb
);

-- The bounds; what the configuration does not set has its shipped value.
create type private.alert_bounds as (
    paused              interval,                    -- a pause without a planned end lasts longer
    flapping_changes    int,                         -- so many changes of a scope's mode ...
    flapping_window     interval,                    -- ... within this time
    volatility          numeric,                     -- daily, as a fraction: 0.03 is 3 %
    engine_silent       interval,
    unprotected         interval,                    -- after an entry's last fill
    approval_left       interval,
    daily_loss_fraction numeric,                     -- of the daily loss limit
    late_entry_shown    interval,                    -- how long an entry after a pause stays on the list
    notifier_silent     interval,
    failed_notice_shown interval
);

create function private.alert_rules()
    returns text[]
    language sql
    immutable
    set search_path = ''
as $$
    select array['APPROVAL_EXPIRING', 'AUDIT_CHAIN_BROKEN', 'BRAKE_ON', 'BROKER_BLOCKED', 'CONTROL_FLAPPING', 'DAILY_LOSS_NEAR',
                 'ENGINE_DEAD', 'ENGINE_FAULT', 'ENTRY_AFTER_PAUSE', 'JOB_LATE', 'LIVE_WITHOUT_NOTIFIER', 'NOTICE_UNDELIVERED', 'ORDER_UNKNOWN', 'PAUSED_LONG',
                 'PAUSED_VOLATILE', 'POSITION_UNPROTECTED', 'RECONCILIATION_BREAK'];
$$;

-- A bound from the configuration, or its shipped value: what is there is never trusted to be a number.
create function private.alert_bound(p_config jsonb, p_name text, p_shipped numeric)
    returns numeric
    language sql
    immutable
as $$
    select least(coalesce(private.positive(p_config -> 'alerts' ->> p_name), p_shipped), 1e8);
$$;

create function private.alert_bounds()
    returns private.alert_bounds
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select row(
        make_interval(secs => private.alert_bound(r.config, 'paused_s', 3600)::float8),
        private.alert_bound(r.config, 'flapping_changes', 6)::int,
        make_interval(secs => private.alert_bound(r.config, 'flapping_window_s', 600)::float8),
        private.alert_bound(r.config, 'volatility_daily', 0.03),
        make_interval(secs => private.alert_bound(r.config, 'engine_silent_s', 15)::float8),
        make_interval(secs => private.alert_bound(r.config, 'unprotected_s', 10)::float8),
        make_interval(secs => private.alert_bound(r.config, 'approval_left_s', 120)::float8),
        private.alert_bound(r.config, 'daily_loss_fraction', 0.8),
        interval '1 hour', interval '1 minute', interval '1 hour')::private.alert_bounds
    from private.active_risk_config() r;
$$;

-- Everything that holds now.
create function private.alert_conditions(p_now timestamptz)
    returns setof private.alert_condition
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    b private.alert_bounds := private.alert_bounds();
begin
    return query
        select * from private.alerts_of_controls(p_now, b)
        union all select * from private.alerts_of_engines(p_now, b)
        union all select * from private.alerts_of_orders(p_now, b)
        union all select * from private.alerts_of_positions(p_now, b)
        union all select * from private.alerts_of_records(p_now, b);
end;
$$;

-- PAUSED_LONG, PAUSED_VOLATILE, CONTROL_FLAPPING. A pause whose end is planned is nobody's oversight.
create function private.alerts_of_controls(p_now timestamptz, b private.alert_bounds)
    returns setof private.alert_condition
    language sql
    stable
    set search_path = ''
as $$
    with scopes as (
        select c.*, f.owner_id, f.id as profile_id, c.scope || ':' || c.scope_key as subject,
               case when c.scope = 'symbol' then c.scope_key end as symbol,
               case c.scope when 'global' then 'Trading' when 'profile' then 'Profile ' || coalesce(f.name, c.scope_key)
                            else 'Symbol ' || c.scope_key end as called,
               case when c.mode <> 'RUNNING' then coalesce(
                   (select e.changed_at from public.trading_control_events e
                    where e.scope = c.scope and e.scope_key = c.scope_key and e.from_mode = 'RUNNING' and e.to_mode <> 'RUNNING'
                    order by e.id desc limit 1), c.changed_at) end as stopped_at,
               c.resume_at is not null or exists (select 1 from public.control_schedules s
                                                  where s.id = c.schedule_id and s.kind <> 'condition') as end_is_planned
        from public.trading_controls c
        left join public.profiles f on c.scope = 'profile' and f.id = private.as_uuid(c.scope_key)
    )
    select 'PAUSED_LONG', s.subject, 'warning', s.owner_id, s.profile_id, s.symbol,
           format('%s has not run since %s: %s, by %s, "%s".', s.called, private.utc_text(s.stopped_at), s.mode, s.changed_by_email, s.reason),
           jsonb_build_object('mode', s.mode, 'since', s.stopped_at, 'by', s.changed_by_email, 'reason', s.reason)
    from scopes s where s.mode <> 'RUNNING' and not s.end_is_planned and s.stopped_at < p_now - b.paused
    union all
    select 'PAUSED_VOLATILE', s.subject, 'warning', s.owner_id, s.profile_id, s.symbol,
           format('%s does not run while prices move much: %s %% a day, the bound is %s %%.', s.called,
                  round(100 * v.volatility, 1), round(100 * b.volatility, 1)),
           jsonb_build_object('mode', s.mode, 'volatility_daily', round(v.volatility, 4), 'bound', b.volatility)
    from scopes s cross join lateral (select private.daily_volatility(s.scope, s.scope_key) as volatility) v
    where s.mode <> 'RUNNING' and v.volatility > b.volatility
    union all
    select 'CONTROL_FLAPPING', s.subject, 'warning', s.owner_id, s.profile_id, s.symbol,
           format('%s changed its mode %s times within %s minutes.', s.called, e.changes, round(extract(epoch from b.flapping_window) / 60)),
           jsonb_build_object('changes', e.changes, 'window_s', extract(epoch from b.flapping_window))
    from (select n.scope, n.scope_key, count(*) as changes from public.trading_control_events n
          where n.changed_at > p_now - b.flapping_window group by 1, 2) e
    join scopes s using (scope, scope_key)
    where e.changes >= b.flapping_changes;
$$;

-- ENGINE_DEAD, ENGINE_FAULT, JOB_LATE, BRAKE_ON, BROKER_BLOCKED: told by any engine but the dead one, or by whoever else looks.
create function private.alerts_of_engines(p_now timestamptz, b private.alert_bounds)
    returns setof private.alert_condition
    language sql
    stable
    set search_path = ''
as $$
    select 'ENGINE_DEAD', s.shard, 'critical', null::uuid, null::uuid, null::text,
           format('The engine of shard %s has given no sign of life since %s; it trades %s. Protective orders rest at the broker.',
                  s.shard, coalesce(private.utc_text(h.beat_at), 'ever'), case s.profiles when 1 then '1 profile' else s.profiles || ' profiles' end),
           jsonb_build_object('beat_at', h.beat_at, 'holder', h.holder, 'profiles', s.profiles)
    from (select f.shard, count(*) as profiles from public.profiles f where f.active group by f.shard) s
    left join public.engine_heartbeats h on h.shard = s.shard
    where (h.beat_at > p_now - b.engine_silent) is not true
    union all
    select 'JOB_LATE', h.shard || ':' || j.key, 'critical', null, null, null,
           format('Job %s of shard %s has not succeeded within its limit of %s s.', j.key, h.shard, j.value ->> 'limit_s'),
           jsonb_build_object('limit_s', j.value -> 'limit_s', 'last_error', j.value -> 'last_error')
    from public.engine_heartbeats h
    cross join lateral jsonb_each(case jsonb_typeof(h.jobs) when 'object' then h.jobs else '{}' end) j
    where h.beat_at > p_now - b.engine_silent and jsonb_typeof(j.value) = 'object' and j.value -> 'healthy' = 'false'
    union all
    select 'BROKER_BLOCKED', h.shard, 'critical', null, null, null,
           format('The broker account of shard %s may not trade: it is blocked or suspended there.', h.shard), '{}'::jsonb
    from public.engine_heartbeats h
    where h.beat_at > p_now - b.engine_silent and h.detail -> 'broker_blocked' = 'true'
    union all
    select 'BRAKE_ON', h.shard, 'warning', null, null, null,
           format('The local brake of the engine of shard %s is on: it sends nothing until the brake is taken off.', h.shard), '{}'::jsonb
    from public.engine_heartbeats h
    where h.beat_at > p_now - b.engine_silent and h.detail -> 'brake' = 'true'
    union all
    select 'ENGINE_FAULT', h.shard, 'critical', null, null, null,
           format('The engine of shard %s opens no positions: %s', h.shard, left(h.detail ->> 'local_fault', 300)), '{}'::jsonb
    from public.engine_heartbeats h
    where h.beat_at > p_now - b.engine_silent and h.detail ->> 'local_fault' <> '';
$$;

-- ORDER_UNKNOWN, APPROVAL_EXPIRING, ENTRY_AFTER_PAUSE, RECONCILIATION_BREAK. An entry after a pause stays on the list
-- for an hour although it was cancelled at once: it has to be looked into.
create function private.alerts_of_orders(p_now timestamptz, b private.alert_bounds)
    returns setof private.alert_condition
    language sql
    stable
    set search_path = ''
as $$
    select 'ORDER_UNKNOWN', o.id::text, 'critical', o.owner_id, o.profile_id, o.symbol,
           format('What became of an order at the broker is not known: %s %s %s of %s. Entries in %s wait until it is settled.',
                  o.purpose, o.side, trim_scale(o.qty), o.symbol, o.symbol),
           jsonb_build_object('order_id', o.id, 'purpose', o.purpose, 'side', o.side, 'qty', o.qty, 'submitted_at', o.submitted_at)
    from public.orders o where o.state = 'unknown'
    union all
    select 'APPROVAL_EXPIRING', a.id::text, 'warning', a.owner_id, a.profile_id, a.symbol,
           format('An entry waits for a person until %s: %s %s of %s.', private.utc_text(a.expires_at), a.side, trim_scale(a.qty), a.symbol),
           jsonb_build_object('approval_id', a.id, 'order_id', a.order_id, 'expires_at', a.expires_at)
    from public.operator_approvals a
    where a.status = 'pending' and a.expires_at > p_now and a.expires_at <= p_now + b.approval_left
    union all
    select 'ENTRY_AFTER_PAUSE', d.shard || ':' || d.key, 'critical', o.owner_id, o.profile_id, coalesce(o.symbol, d.symbol),
           format('An entry in %s was alive at the broker after it was over here; it is cancelled there. Look for a frozen engine.', d.symbol),
           d.detail || jsonb_build_object('found_at', d.first_seen_at)
    from public.reconciliation_findings d
    left join public.orders o on o.id = private.as_uuid(split_part(d.key, ':', 2))
    where d.kind = 'ENTRY_AFTER_PAUSE' and (d.status = 'open' or d.last_seen_at > p_now - b.late_entry_shown)
    union all
    select 'RECONCILIATION_BREAK', d.shard || ':' || d.key, d.severity, null, null, d.symbol,
           format('Our books and the broker''s differ%s: %s.', coalesce(' in ' || d.symbol, ''), d.kind) || coalesce(' ' || d.advice, ''),
           d.detail || jsonb_build_object('kind', d.kind, 'found_at', d.first_seen_at)
    from public.reconciliation_findings d
    where d.status = 'open' and d.severity <> 'info'  -- the others have rules of their own
      and d.kind not in ('ENTRY_AFTER_PAUSE', 'POSITION_UNPROTECTED', 'ACCOUNT_BLOCKED', 'TRADING_SUSPENDED');
$$;

-- POSITION_UNPROTECTED, DAILY_LOSS_NEAR.
create function private.alerts_of_positions(p_now timestamptz, b private.alert_bounds)
    returns setof private.alert_condition
    language sql
    stable
    set search_path = ''
as $$
    select 'POSITION_UNPROTECTED', n.trade_id::text, 'critical', n.owner_id, n.profile_id, n.symbol,
           format('No stop at the broker covers %s of %s %s in %s.', trim_scale(n.qty - n.protected_qty), trim_scale(n.qty), n.side, n.symbol),
           jsonb_build_object('trade_id', n.trade_id, 'qty', n.qty, 'protected_qty', n.protected_qty)
    from public.positions n
    join public.trades t on t.id = n.trade_id
    where n.protected_qty < n.qty and t.recorded_at < p_now - b.unprotected
      and not exists (select 1 from public.orders o where o.id = n.trade_id and o.ended_at > p_now - b.unprotected)
      and not exists (select 1 from public.orders o
                      where (o.id = n.trade_id or o.trade_id = n.trade_id) and o.purpose in ('entry', 'exit')
                        and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled'))
    union all
    select 'DAILY_LOSS_NEAR', f.id::text, 'warning', f.owner_id, f.id, null,
           format('Profile %s has lost %s USD today; its limit is %s USD.', f.name, round(l.loss_usd, 2), round(l.limit_usd, 2)),
           jsonb_build_object('loss_usd', round(l.loss_usd, 2), 'limit_usd', round(l.limit_usd, 2))
    from public.profiles f
    join public.profile_capital c on c.profile_id = f.id
    left join public.engine_heartbeats h on h.shard = f.shard
    cross join (select (r.config #>> '{loss_limits,daily_loss_max_pct}')::numeric as limit_pct from private.active_risk_config() r) m
    cross join lateral (
        select m.limit_pct * c.capital_usd as limit_usd,
               coalesce((select d.equity_usd from public.equity_daily d
                         where d.profile_id = f.id
                           and d.session_date < (coalesce(h.market_at, p_now) at time zone 'America/New_York')::date
                         order by d.session_date desc limit 1), c.capital_usd) - private.equity_of(c) as loss_usd) l
    where f.active and l.limit_usd > 0 and l.loss_usd >= b.daily_loss_fraction * l.limit_usd;
$$;

-- AUDIT_CHAIN_BROKEN, LIVE_WITHOUT_NOTIFIER, NOTICE_UNDELIVERED. Notices about undelivered notices do not count.
create function private.alerts_of_records(p_now timestamptz, b private.alert_bounds)
    returns setof private.alert_condition
    language sql
    stable
    set search_path = ''
as $$
    select 'AUDIT_CHAIN_BROKEN', 'audit_log', 'critical', null::uuid, null::uuid, null::text,
           format('The audit log does not verify: %s', w.audit_broken_why), jsonb_build_object('row', nullif(w.audit_broken_id, 0))
    from private.alert_watch w where w.audit_broken_why is not null
    union all
    select 'LIVE_WITHOUT_NOTIFIER', f.id::text, 'critical', f.owner_id, f.id, null,
           format('Profile %s trades live, and no engine has anywhere to send alerts to. Set ALERT_URLS for the engine.', f.name), '{}'::jsonb
    from public.profiles f cross join private.alert_watch w
    where f.active and f.trading_mode = 'live' and (w.notifier_seen_at > p_now - b.notifier_silent) is not true
    union all
    select 'NOTICE_UNDELIVERED', 'notifications', 'critical', null, null, null,
           format('%s of the last hour could not be delivered, the last at %s: %s', case n.failed when 1 then '1 notice' else n.failed || ' notices' end,
                  private.utc_text(n.last_at), coalesce(n.last_error, 'no reason given')),
           jsonb_build_object('failed', n.failed, 'last_at', n.last_at)
    from (select count(*) as failed, max(m.ended_at) as last_at, (array_agg(m.last_error order by m.ended_at desc))[1] as last_error
          from public.notifications m left join public.alerts a on a.id = m.alert_id
          where m.status = 'failed' and m.ended_at > p_now - b.failed_notice_shown
            and a.rule is distinct from 'NOTICE_UNDELIVERED') n
    where n.failed > 0;
$$;

-- Verify the next rows of the audit log, round and round, and every chain's end at each look. What was found broken
-- is looked at again first: it stays on record until it verifies.
create function private.verify_next_audit_rows(w private.alert_watch, p_rows int)
    returns private.alert_watch
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_next record;
begin
    if private.audit_chain_cut_off() is not null then
        w.audit_broken_why := 'rows are missing at the end of a chain: it is shorter than its head says.';
        w.audit_broken_id := 0;
        return w;
    end if;
    select format('row %s: %s', a.id, private.audit_row_problem(a)) into w.audit_broken_why from public.audit_log a
     where a.id = w.audit_broken_id and private.audit_row_problem(a) is not null;
    if w.audit_broken_why is not null then
        return w;
    end if;
    select max(n.id) as last_id, count(*) as rows, min(n.id) filter (where n.problem is not null) as broken_id,
           (array_agg(format('row %s: %s', n.id, n.problem) order by n.id) filter (where n.problem is not null))[1] as problem
      into v_next
      from (select a.id, private.audit_row_problem(a) as problem from public.audit_log a
            where a.id > w.audit_checked_id order by a.id limit p_rows) n;
    w.audit_broken_id := v_next.broken_id;
    w.audit_broken_why := v_next.problem;
    w.audit_checked_id := case when v_next.rows < p_rows then 0 else v_next.last_id end;
    return w;
end;
$$;

-- Telemetry: what an engine's metrics need to know of what happened in the database, read by cursor.

-- What happened since the cursors: changes of mode, stages of the shard's orders, and how things stand. Without cursors
-- it begins where the shard's engine took its lease. The last two seconds are left for the next call, so that a
-- transaction which commits a little later is not passed over. Called by: engines.
create function public.engine_telemetry(p_shard text, p_control_after bigint default null, p_order_after bigint default null,
                                        p_limit int default 1000)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_until timestamptz := clock_timestamp() - interval '2 seconds';
    v_limit int := least(greatest(coalesce(p_limit, 1000), 1), 10000);
    v_since timestamptz := coalesce((select h.started_at from public.engine_heartbeats h where h.shard = p_shard), v_until);
    v_control bigint := coalesce(p_control_after, (
        select e.id from public.trading_control_events e where e.changed_at < v_since order by e.id desc limit 1), 0);
    v_order bigint := coalesce(p_order_after, (select e.id from public.order_events e where e.at < v_since order by e.id desc limit 1), 0);
begin
    return (
        with changes as (
            select e.*, case when e.to_mode = 'RUNNING' then e.changed_at - (
                       select s.changed_at from public.trading_control_events s
                       where s.scope = e.scope and s.scope_key = e.scope_key and s.id < e.id
                         and s.from_mode = 'RUNNING' and s.to_mode <> 'RUNNING' order by s.id desc limit 1) end as stopped_for
            from public.trading_control_events e
            where e.id > v_control and e.changed_at < v_until order by e.id limit v_limit
        ), events as (
            select n.* from public.order_events n where n.id > v_order and n.at < v_until order by n.id limit v_limit
        ), stages as (
            select o.purpose, o.code, e.to_state, case
                       when e.to_state = 'submitting' then e.at - coalesce(o.ready_at, o.created_at)
                       when e.from_state in ('submitting', 'unknown') and e.to_state in ('working', 'partially_filled', 'filled')
                           then coalesce(o.accepted_at, e.at) - o.submitted_at end as before,
                   case when e.to_state = 'filled' then e.at - coalesce(o.accepted_at, o.submitted_at, o.created_at) end as filling
            from events e join public.orders o on o.id = e.order_id
            where o.shard = p_shard
        )
        select jsonb_build_object(
            'control_id', coalesce((select max(c.id) from changes c), v_control),
            'order_id', coalesce((select max(e.id) from events e), v_order),
            'changes', (select coalesce(jsonb_agg(jsonb_build_object(
                    'scope', c.scope, 'to_mode', c.to_mode,
                    'by', case when c.schedule_id is not null then 'schedule' when c.changed_by is null then 'system' else 'person' end,
                    'stopped_s', extract(epoch from c.stopped_for)) order by c.id), '[]')
                from changes c),
            'stages', (select coalesce(jsonb_agg(jsonb_build_object('purpose', s.purpose, 'stage', t.stage, 'seconds', extract(epoch from t.took))), '[]')
                from stages s
                cross join lateral (values (case when s.to_state = 'submitting' then 'gate_to_submit' else 'submit_to_accepted' end, s.before),
                                           ('accepted_to_filled', s.filling)) t (stage, took)
                where t.took is not null),
            'denied', (select coalesce(jsonb_object_agg(d.code, d.n), '{}')
                from (select coalesce(s.code, 'UNKNOWN') as code, count(*) as n from stages s
                      where s.to_state = 'denied' and s.purpose = 'entry' group by 1) d),
            'findings', (select coalesce(jsonb_object_agg(f.kind, f.n), '{}')
                from (select d.kind, count(*) as n from public.reconciliation_findings d
                      where d.shard = p_shard and d.status = 'open' group by 1) f),
            'alerts', (select coalesce(jsonb_object_agg(a.rule, a.n), '{}')
                from (select r.rule, count(*) as n from public.alerts r where r.resolved_at is null group by 1) a),
            'notices_waiting', (select count(*) from public.notifications w where w.status in ('queued', 'sending'))));
end;
$$;

revoke execute on function public.engine_telemetry(text, bigint, bigint, int) from public, anon, authenticated;

grant execute on function public.engine_telemetry(text, bigint, bigint, int) to service_role;

comment on function public.engine_telemetry(text, bigint, bigint, int) is
    'What an engine''s metrics need to know of what happened in the database, by cursor. Engine only.';

-- What is kept beside the rows from now on, for the rows that there are.
insert into private.owner_capital (owner_id, capital_usd)
select f.owner_id, sum(f.capital_usd) from public.profiles f group by f.owner_id;

insert into public.equity_daily_totals (session_date, owner_id, shard, market_at, equity_usd, cash_usd, exposure_usd,
                                        realized_usd, unrealized_usd, profiles)
select d.session_date, d.owner_id, f.shard, max(d.market_at), sum(d.equity_usd), sum(d.cash_usd), sum(d.exposure_usd),
       sum(d.realized_usd), sum(d.unrealized_usd), count(*)
from public.equity_daily d join public.profiles f on f.id = d.profile_id
group by d.session_date, d.owner_id, f.shard;

insert into public.decisions (id, order_id, owner_id, profile_id, symbol, side, outcome, code, config_version, market_at, created_at,
                              checks, inputs) overriding system value
select b.id, b.order_id, b.owner_id, b.profile_id, b.symbol, b.side, b.outcome, b.code, b.config_version, b.market_at, b.created_at,
       b.checks, b.inputs
from public.decisions_before b order by b.id;
select setval(pg_get_serial_sequence('public.decisions', 'id'), max(d.id)) from public.decisions d having max(d.id) is not null;
drop table public.decisions_before;
