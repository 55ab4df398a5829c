-- Risk configuration: one active version of a JSON document. A limit that is not set blocks.

-- live -> require_approval_for_live; paper -> not auto_approve_paper; disabled -> never, the gate
-- blocks it upstream. A missing key takes the shipped default.
create function private.requires_approval(p_config jsonb, p_mode public.trading_mode)
    returns boolean
    language sql
    immutable
as $$
    select case p_mode
        when 'live' then coalesce((p_config #>> '{operator_approval,require_approval_for_live}')::boolean, true)
        when 'paper' then not coalesce((p_config #>> '{operator_approval,auto_approve_paper}')::boolean, true)
        else false
    end;
$$;

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

create table public.risk_configs (
    version          int primary key generated always as identity,
    config           jsonb not null check (jsonb_typeof(config) = 'object'),
    active           boolean not null default true,
    created_by       uuid references public.members (user_id),
    created_by_email text not null default 'installation',
    reason           text not null default '',
    created_at       timestamptz not null default now(),
    diff             jsonb not null default '[]', -- [{path, from, to}] against the version before
    -- Typed once, where it is written, for every entry that is judged by it.
    limits           private.gate_limits generated always as (private.gate_limits_of(config)) stored
);
alter table public.risk_configs set (toast_tuple_target = 8160);  -- read by every entry: not packed
create unique index risk_configs_one_active on public.risk_configs (active) where active;
create index risk_configs_created_by on public.risk_configs (created_by);
comment on table public.risk_configs is 'Versions of the portfolio''s risk configuration; exactly one is active.';

alter table public.risk_configs enable row level security;
revoke all on public.risk_configs from anon, authenticated, service_role;
grant select on public.risk_configs to authenticated, service_role;
create policy "members read the risk configuration"
    on public.risk_configs for select to authenticated
    using ((select private.caller_role()) is not null);

-- The shipped default sets every limit that the gate checks.
create function private.default_risk_config()
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
insert into public.risk_configs (config, reason) values (private.default_risk_config(), 'Shipped default');

create function private.active_risk_config()
    returns public.risk_configs
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select r from public.risk_configs r where r.active;
$$;

-- What each known key may hold; other keys are kept as they are. A limit may be null: it is not set then, and blocks.
create function private.risk_bounds()
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
create function private.risk_config_error(p_config jsonb)
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

-- The differences of two documents: [{path, from, to}], absent values as null.
create function private.jsonb_diff(p_old jsonb, p_new jsonb, p_path text default '')
    returns jsonb
    language plpgsql
    immutable
    set search_path = ''
as $$
begin
    if p_old is not distinct from p_new then
        return '[]';
    elsif jsonb_typeof(p_old) = 'object' and jsonb_typeof(p_new) = 'object' then
        return (select coalesce(jsonb_agg(d.value order by k.key), '[]')
                from (select jsonb_object_keys(p_old) as key union select jsonb_object_keys(p_new)) k
                cross join lateral jsonb_array_elements(
                    private.jsonb_diff(p_old -> k.key, p_new -> k.key, concat_ws('.', nullif(p_path, ''), k.key))) d);
    end if;
    return jsonb_build_array(jsonb_build_object('path', p_path, 'from', p_old, 'to', p_new));
end;
$$;

-- Make a configuration the active one. The caller has checked the role. Answers the new version or a refusal.
create function private.activate_risk_config(p_action text, p_config jsonb, p_expected_version int, p_reason text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_old public.risk_configs;
    v_new public.risk_configs;
    v_error text := coalesce(private.reason_error(p_reason), private.risk_config_error(p_config));
    v_diff jsonb;
begin
    if v_error is not null then
        return private.refuse(422, 'INVALID', v_error, p_action, 'risk_config');
    end if;
    select r.* into v_old from public.risk_configs r where r.active;
    if p_expected_version is distinct from v_old.version then
        return private.refuse(409, 'CONFLICT', format('The configuration is at version %s now.', v_old.version), p_action,
                              'risk_config', 'Look at what was changed meanwhile and decide again.');
    end if;
    v_diff := private.jsonb_diff(v_old.config, p_config);
    if v_diff <> '[]' then
        update public.risk_configs r set active = false where r.active;
        insert into public.risk_configs (config, created_by, created_by_email, reason, created_at, diff)
        values (p_config, auth.uid(), private.actor_email(), private.trimmed(p_reason), clock_timestamp(), v_diff)
        returning * into v_new;
        perform private.audit(p_action, 'risk_config', 'done', v_new.reason,
                              jsonb_build_object('from_version', v_old.version, 'version', v_new.version, 'diff', v_diff));
    end if;
    return jsonb_build_object('success', true, 'changed', v_diff <> '[]', 'version', coalesce(v_new.version, v_old.version),
                              'config', p_config, 'diff', v_diff);
end;
$$;

-- The active configuration. Called by: admins.
create function public.risk_config()
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    if private.caller_role() is distinct from 'admin' then
        perform private.fail(403, 'FORBIDDEN', 'Only an admin may see the whole risk configuration here.');
    end if;
    return (select to_jsonb(r) from private.active_risk_config() r);
end;
$$;

-- Replace the active configuration. Called by: admins. Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create function public.update_risk_config(p_config jsonb, p_expected_version int, p_reason text, p_request_id uuid default null)
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
create function public.revert_risk_config(p_version int, p_expected_version int, p_reason text, p_request_id uuid default null)
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

-- When a person has to approve an entry, with the defaults where a key is missing. Called by: operators and admins.
create function public.approval_config()
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    if not private.is_staff() then
        perform private.fail(403, 'FORBIDDEN', 'Only operators and admins see the approval settings.');
    end if;
    return (select private.default_risk_config() -> 'operator_approval' || coalesce(r.config -> 'operator_approval', '{}')
                   || jsonb_build_object('version', r.version)
            from private.active_risk_config() r);
end;
$$;

-- Change some of the approval settings and leave every other key of the configuration alone. Called by: admins.
-- Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create function public.update_approval_config(p_patch jsonb, p_reason text default 'Approval settings changed.',
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

revoke execute on function public.risk_config() from public, anon;
revoke execute on function public.update_risk_config(jsonb, int, text, uuid) from public, anon;
revoke execute on function public.revert_risk_config(int, int, text, uuid) from public, anon;
revoke execute on function public.approval_config() from public, anon;
revoke execute on function public.update_approval_config(jsonb, text, int, uuid) from public, anon;
grant execute on function public.risk_config() to authenticated, service_role;
grant execute on function public.update_risk_config(jsonb, int, text, uuid) to authenticated, service_role;
grant execute on function public.revert_risk_config(int, int, text, uuid) to authenticated, service_role;
grant execute on function public.approval_config() to authenticated, service_role;
grant execute on function public.update_approval_config(jsonb, text, int, uuid) to authenticated, service_role;
comment on function public.risk_config() is 'The active risk configuration with its version. Admins only.';
comment on function public.update_risk_config(jsonb, int, text, uuid) is
    'Replace the risk configuration: validated, versioned, with the difference in the audit row. Admins only.';
comment on function public.revert_risk_config(int, int, text, uuid) is 'Make an earlier version active again. Admins only.';
comment on function public.approval_config() is 'When a person has to approve an entry. Operators and admins.';
comment on function public.update_approval_config(jsonb, text, int, uuid) is
    'Change approval settings and leave the rest of the configuration alone. Admins only.';
