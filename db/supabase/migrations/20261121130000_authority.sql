-- The authority, whole: schedules and conditions, pre-flight and staged resume, lockouts, overrides, approvals,
-- every check of the gate, risk configuration with versions, roles, fencing tokens in every engine function.
--
-- Tables: adds operator_approvals, symbol_lockouts, control_schedules, gate_overrides; adds columns to profiles,
--   profile_capital, risk_configs, orders, trading_controls, trading_control_events.
-- Lock: brief exclusive locks on those tables; columns are added without rewriting them.
-- Rollback: restore a backup from before; no column or table is dropped here.

drop function public.resume_trading(text, uuid, text, text, text, int);
drop function public.record_bars(jsonb);
drop function public.load_bot_state(text);
drop function private.control(public.control_mode, text, text, uuid, text, text, text, timestamptz, boolean, int);
drop function private.change_mode(public.control_mode, public.control_scope, text, text, text, timestamptz, boolean);
drop function private.refuse(int, text, text, text, text, text);
drop function private.risk_config();
drop function private.expire_stale(text, jsonb);
drop function private.decide_wave(jsonb, int, public.risk_configs);
drop function private.entry_requests_error(jsonb, text);
drop function private.gate_checks(private.gate_snapshot);
drop function private.gate_code(jsonb);
drop function private.gate_reason(jsonb);
drop function private.apply_submission(jsonb);
drop function private.apply_update(jsonb);
drop type private.gate_snapshot;
drop policy "a member reads itself, an admin reads all members" on public.members;
drop policy "staff read the audit log, a member reads its own acts" on public.audit_log;
drop policy "owners and staff read profiles" on public.profiles;
drop policy "owners and staff read capital" on public.profile_capital;
drop policy "owners and staff read signals" on public.signals;
drop policy "owners and staff read orders" on public.orders;
drop policy "owners and staff read order events" on public.order_events;
drop policy "owners and staff read fills" on public.fills;
drop policy "owners and staff read trades" on public.trades;
drop policy "owners and staff read positions" on public.positions;
drop policy "owners and staff read decisions" on public.decision_log;
drop policy "owners and staff read equity" on public.equity_snapshots;
drop policy "owners and staff read daily equity" on public.equity_daily;
drop index public.trades_profile;

alter table public.profiles add column disabled_reason text;
alter table public.profile_capital add column peak_equity_usd numeric(24, 9);
alter table public.risk_configs add column diff jsonb not null default '[]';
alter table public.orders add column ready_at timestamptz;
alter table public.trading_controls
    add column schedule_id uuid,
    add column stage_entries int check (stage_entries >= 0),
    add column stage_fraction numeric(5, 4) check (stage_fraction > 0 and stage_fraction < 1);
alter table public.trading_control_events add column schedule_id uuid;

-- Written once and read as a whole: json, not jsonb, which costs as much again to build.
alter table public.decision_log alter column checks type json using checks::json, alter column inputs type json using inputs::json;

alter table private.control_requests add column target text not null default '';
insert into private.order_transitions (from_state, to_state)
select 'ready', s::public.order_state from unnest(array['working', 'partially_filled', 'filled', 'rejected']) s;


-- Whether text is a point in time such as 2026-01-05T15:00:00+00:00; NULL for NULL.
create function private.is_time(p_text text)
    returns boolean
    language sql
    immutable
as $$
    select p_text ~ '^[12][0-9]{3}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-][01][0-9](:?[0-5][0-9])?)$';
$$;

-- Whether the caller's token is one that a sign-in makes, and the sign-in still holds: it has an end, is meant for
-- users, and neither was its session ended since nor its user banned. PostgREST has verified signature and times, and asks no more.
create function private.token_holds()
    returns boolean
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select c.claims ? 'exp' and c.claims ->> 'aud' = 'authenticated'
           and (c.claims ->> 'session_id' is null
                or exists (select 1 from auth.sessions s
                           where s.id = private.as_uuid(c.claims ->> 'session_id') and s.user_id = auth.uid()))
           and not exists (select 1 from auth.users u where u.id = auth.uid() and u.banned_until > clock_timestamp())
    from (select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb as claims) c;
$$;

-- The role of the signed-in caller; NULL when the caller is no member.
-- Security definer: policies on members itself would otherwise recurse.
create or replace function private.caller_role()
    returns public.member_role
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select m.role from public.members m where m.user_id = auth.uid() and private.token_holds();
$$;

-- The id of the signed-in caller; NULL when the caller is no member or its sign-in has ended. Policies compare with
-- this, so that somebody who was removed, or has signed out, reads nothing with a token that still runs.
create function private.caller_id()
    returns uuid
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select m.user_id from public.members m where m.user_id = auth.uid() and private.token_holds();
$$;

grant execute on function private.caller_id() to authenticated;

create policy "a member reads itself, an admin reads all members"
    on public.members for select to authenticated
    using (user_id = (select private.caller_id()) or (select private.caller_role()) = 'admin');

create index audit_log_actor on public.audit_log (actor, id desc);

-- Answer a refused attempt: the status goes out through PostgREST's response.status instead of an
-- exception, so that the audit row of the attempt commits while nothing else changes.
create function private.refuse(p_status int, p_code text, p_message text, p_action text, p_target text,
                               p_hint text default null, p_details jsonb default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.audit(p_action, p_target, 'refused', left(p_message, 500),
                          jsonb_build_object('code', p_code) || coalesce(jsonb_build_object('details', p_details), '{}'));
    perform set_config('response.status', p_status::text, true);
    return jsonb_build_object('code', p_code, 'message', p_message, 'hint', p_hint, 'details', p_details);
end;
$$;

-- What was answered to this request before; NULL when it is new. A repeat that is still under way is
-- waited for. An id that was used for something else is refused.
create function private.answered(p_request_id uuid, p_action text, p_target text)
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
    elsif v_seen.action <> p_action or v_seen.target <> p_target or v_seen.actor is distinct from auth.uid() then
        return private.refuse(409, 'CONFLICT', 'This request id was already used for something else.', p_action, p_target,
                              'Send each new request with a new id.');
    end if;
    return v_seen.response;
end;
$$;

-- Keep an answer for repeats of the request, and give it.
create function private.answer(p_request_id uuid, p_action text, p_target text, p_response jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    if p_request_id is not null then
        insert into private.control_requests (request_id, action, actor, response, target)
        values (p_request_id, p_action, auth.uid(), p_response, p_target);
    end if;
    return p_response;
end;
$$;

-- Who is acting, as the records name it.
create function private.actor_email()
    returns text
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select coalesce((select m.email from public.members m where m.user_id = auth.uid()), 'engine');
$$;

-- What is wrong with the reason that a person gave; NULL when nothing is.
create function private.reason_error(p_reason text)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select case
        when coalesce(p_reason, '') !~ '\S' then 'A reason is required: say in a few words why.'
        when length(p_reason) > 500
            then format('The reason has %s characters; at most 500 are kept. Shorten it.', length(p_reason)) end;
$$;

create function private.trimmed(p_text text)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select regexp_replace(p_text, '^\s+|\s+$', '', 'g');
$$;

-- Append-only: no update, and no delete but by the table's own pruning (25_retention.sql), which the log has none of.
create or replace function private.refuse_change()
    returns trigger
    language plpgsql
    set search_path = ''
as $$
begin
    if tg_op = 'DELETE' and tg_table_name <> 'audit_log' and current_setting('interlock.pruning', true) = tg_table_name then
        return null;
    end if;
    raise exception '% is append-only', tg_table_name using errcode = '42501';
end;
$$;

create policy "staff read the audit log, a member reads its own acts and what concerns its profiles"
    on public.audit_log for select to authenticated
    using ((select private.is_staff()) or actor = (select private.caller_id()) or tenant = (select private.caller_id()));

-- Recompute every chain, oldest row first. Called by: admins. Names the first broken row and why.
create or replace function public.verify_audit_chain()
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_broken record;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin can verify the audit log.', 'verify_audit_chain', 'audit_log');
    end if;
    select c.* into v_broken from (
        select a.id, a.tenant, a.at, a.action,
               case when a.prev_hash is distinct from lag(a.hash, 1, sha256('')) over w
                    then 'It does not follow on the row before it: a row was removed, added or replaced.'
                    when a.hash is distinct from private.audit_hash(a.prev_hash, a)
                    then 'Its content was changed after it was written.' end as why
        from public.audit_log a
        window w as (partition by a.tenant order by a.id)) c
    where c.why is not null order by c.id limit 1;
    if v_broken.id is null then
        -- Rows cut off at a chain's end: its head knows the last hash and the length.
        select coalesce(l.id, 0) as id, h.tenant, l.at, l.action,
               'Rows are missing after it: the chain is shorter than its head says.' as why
          into v_broken
          from private.audit_chain_heads h
          left join lateral (select a.* from public.audit_log a where a.tenant = h.tenant order by a.id desc limit 1) l on true
         where l.hash is distinct from h.hash
            or h.length <> (select count(*) from public.audit_log a where a.tenant = h.tenant)
         order by l.id nulls first limit 1;
    end if;
    return jsonb_build_object(
        'ok', v_broken.id is null, 'first_broken_id', v_broken.id,
        'first_broken', case when v_broken.id is not null then to_jsonb(v_broken) end,
        'chains', (select count(*) from private.audit_chain_heads), 'rows', (select count(*) from public.audit_log));
end;
$$;

comment on function public.verify_audit_chain() is
    'Recomputes the audit log''s hash chains; admins only. Answers ok and the first broken row with why.';

-- What the system switches off is on record as well; a person's own act is noted where it is done.
create function private.note_switched_off()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    perform private.audit('profile_switched_off', 'profile:' || new.id, 'done', new.disabled_reason,
                          jsonb_build_object('name', new.name), new.owner_id);
    return null;
end;
$$;

create trigger profiles_note_when_the_system_switches_them_off
    after update of active on public.profiles
    for each row
    when (old.active and not new.active and new.disabled_reason is not null and private.is_engine())
    execute function private.note_switched_off();

create policy "owners and staff read profiles"
    on public.profiles for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

create policy "owners and staff read capital"
    on public.profile_capital for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

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
        ('signal_layers.competitive', 'flag', null, null, false),
        ('retention.decisions_days', 'count', 30, 36500, true),
        ('retention.order_events_days', 'count', 30, 36500, true),
        ('retention.bars_days', 'count', 30, 36500, true),
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
                when 'count' then format('%s must be a whole number from %s to %s%s.', b.path, b.minimum::bigint, b.maximum::bigint, b.or_unset)
                else format('%s must be a number above 0 and at most %s%s.', b.path, trim_scale(b.maximum), b.or_unset) end
            from (select r.*, p_config #> string_to_array(r.path, '.') as value, p_config #>> string_to_array(r.path, '.') as text,
                         case when r.nullable then ', or null for not set' else '' end as or_unset
                  from private.risk_bounds() r) b
            where b.value is not null and not (b.nullable and b.value = 'null')
              and (case b.kind
                       when 'flag' then jsonb_typeof(b.value) = 'boolean'
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
    v_answer := private.answered(p_request_id, 'update_risk_config', 'risk_config:' || md5(coalesce(p_config::text, '')));
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.activate_risk_config('update_risk_config', p_config, p_expected_version, p_reason);
    return case when v_answer ? 'success' then private.answer(p_request_id, 'update_risk_config', 'risk_config:' || md5(coalesce(p_config::text, '')), v_answer) else v_answer end;
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
    v_answer := private.answered(p_request_id, 'revert_risk_config', 'risk_config:' || coalesce(p_version::text, ''));
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.activate_risk_config('revert_risk_config', v_config, p_expected_version, p_reason);
    return case when v_answer ? 'success' then private.answer(p_request_id, 'revert_risk_config', 'risk_config:' || coalesce(p_version::text, ''), v_answer) else v_answer end;
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
    v_answer := private.answered(p_request_id, 'update_approval_config', 'risk_config:' || md5(p_patch::text));
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
    return private.answer(p_request_id, 'update_approval_config', 'risk_config:' || md5(p_patch::text), v_answer || jsonb_build_object('approval', public.approval_config()));
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
            beat_at = excluded.beat_at;
    return jsonb_build_object('acquired', true, 'token', v_lease.token, 'holder', p_holder,
                              'expires_at', v_lease.expires_at);
end;
$$;

-- Renew the lease, note the sign of life, apply the changes of mode that are due. Answers trading_status.
create or replace function public.heartbeat(p_shard text, p_token bigint, p_version text default '', p_market_at timestamptz default null,
                                 p_jobs jsonb default '{}', p_detail jsonb default '{}', p_ttl_s int default 10)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    update public.engine_leases l
       set expires_at = clock_timestamp() + make_interval(secs => least(greatest(coalesce(p_ttl_s, 10), 1), 300))
     where l.shard = p_shard and l.token = p_token and l.expires_at > clock_timestamp();
    if not found then
        perform private.check_lease(p_shard, p_token);
    end if;
    update public.engine_heartbeats h
       set beat_at = clock_timestamp(), version = coalesce(p_version, ''), market_at = coalesce(p_market_at, h.market_at),
           jobs = coalesce(p_jobs, '{}'), detail = coalesce(p_detail, '{}')
     where h.shard = p_shard;
    perform private.apply_due(p_conditions => true);
    return public.trading_status();
end;
$$;

create policy "owners and staff read signals"
    on public.signals for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- What could trade with an order of ours on the other side.
create index orders_crossable on public.orders (symbol, side, limit_price)
    where order_type in ('limit', 'market') and state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled');

-- How many entries a profile has made lately, in market time.
create index orders_entry_rate on public.orders (profile_id, market_at desc) where purpose = 'entry' and state <> 'denied';

-- Row-level security keeps a state out of an index's condition, but not out of a partial index's predicate.
create index orders_open_created on public.orders (created_at desc, id)
    where state in ('ready', 'awaiting_approval', 'submitting', 'unknown', 'working', 'partially_filled');

create index orders_failed_created on public.orders (created_at desc, id)
    where state in ('rejected', 'expired', 'replaced', 'approval_rejected', 'approval_expired');

create index order_events_owner on public.order_events (owner_id, id desc);

create policy "owners and staff read orders"
    on public.orders for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

create policy "owners and staff read order events"
    on public.order_events for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

create index trades_profile on public.trades (profile_id, closed_at desc, id);

create index trades_profile_symbol on public.trades (profile_id, symbol);

create policy "owners and staff read fills"
    on public.fills for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

create policy "owners and staff read trades"
    on public.trades for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

create policy "owners and staff read positions"
    on public.positions for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- How many of the profile's last trades in a row lost money, counted up to p_max among those closed after
-- p_since (market time).
create function private.loss_streak(p_profile_id uuid, p_max int, p_since timestamptz)
    returns int
    language sql
    stable
    set search_path = ''
as $$
    select count(*)::int
    from (select bool_and(t.realized_pnl_usd < 0) over (order by t.closed_at desc, t.id) as losing
          from (select n.id, n.realized_pnl_usd, n.closed_at from public.trades n
                where n.profile_id = p_profile_id and n.closed_at > p_since
                order by n.closed_at desc, n.id limit p_max) t) s
    where s.losing;
$$;

create policy "owners and staff read equity"
    on public.equity_snapshots for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

create policy "owners and staff read daily equity"
    on public.equity_daily for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- What a profile is worth now: capital plus realized profit plus the marks of its positions, in USD.
create function private.equity_of(c public.profile_capital)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    select c.capital_usd + c.realized_usd + coalesce(
        (select sum(n.unrealized_pnl_usd) from public.positions n where n.profile_id = c.profile_id), 0);
$$;

-- How far a profile's equity lies below its peak: a fraction from 0 to 1.
create function private.drawdown_of(c public.profile_capital)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    select greatest(0, round(1 - private.equity_of(c) / nullif(greatest(coalesce(c.peak_equity_usd, c.capital_usd), 0), 0), 6));
$$;

-- Note the marks of open positions and what protects them. Called by: the engine's position monitor.
create or replace function public.record_marks(p_shard text, p_token bigint, p_marks jsonb)
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
    if exists (select 1 from jsonb_to_recordset(p_marks) as m (trade_id uuid, mark_price numeric, stop_price numeric,
                                                               take_profit_price numeric, protected_qty numeric)
               where (m.mark_price between 0 and 1e9 and coalesce(m.stop_price, 1) between 0 and 1e9
                      and coalesce(m.take_profit_price, 1) between 0 and 1e9 and coalesce(m.protected_qty, 0) between 0 and 1e15) is not true) then
        perform private.fail(422, 'INVALID', 'A mark needs a trade, a price, and numbers where it names stop, target and protected quantity.');
    end if;
    perform 1 from public.profile_capital c
      where c.profile_id in (select n.profile_id from jsonb_to_recordset(p_marks) as m (trade_id uuid)
                             join public.positions n on n.trade_id = m.trade_id)
      order by c.profile_id for update;
    update public.positions n
       set mark_price = m.mark_price,
           unrealized_pnl_usd = (m.mark_price - n.avg_entry_price) * n.qty * case n.side when 'long' then 1 else -1 end,
           stop_price = coalesce(m.stop_price, n.stop_price),
           take_profit_price = coalesce(m.take_profit_price, n.take_profit_price),
           protected_qty = coalesce(m.protected_qty, n.protected_qty), marked_at = m.market_at, updated_at = clock_timestamp()
      from jsonb_to_recordset(p_marks) as m (trade_id uuid, mark_price numeric, stop_price numeric,
                                             take_profit_price numeric, protected_qty numeric, market_at timestamptz)
     where n.trade_id = m.trade_id and m.mark_price > 0
       and n.profile_id in (select f.id from public.profiles f where f.shard = p_shard);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

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

create index price_bars_newest on public.price_bars (symbol, bar_at desc);

-- Keep bars; the same bar again replaces the earlier one. Called by: the engine.
-- Errors: LEASE_LOST.
create function public.record_bars(p_shard text, p_token bigint, p_bars jsonb)
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
    if exists (select 1 from jsonb_to_recordset(p_bars) as n (symbol text, timeframe text, bar_at timestamptz, open numeric, high numeric,
                                                              low numeric, close numeric, volume numeric)
               where (num_nulls(n.open, n.high, n.low, n.close, n.volume) = 0 and length(n.symbol) between 1 and 20 and n.timeframe in ('1Min', '5Min', '15Min', '30Min', '1Hour', '1Day')
                      and isfinite(n.bar_at) and n.low > 0 and n.low <= least(n.open, n.close) and n.high >= greatest(n.open, n.close)
                      and n.high < 1e9 and n.volume >= 0 and n.volume < 1e15) is not true) then
        perform private.fail(422, 'INVALID', 'A bar needs symbol, timeframe, bar_at, prices with low <= open, close <= high, and a volume.');
    end if;
    insert into public.price_bars as b (symbol, timeframe, bar_at, open, high, low, close, volume)
    select distinct on (n.symbol, n.timeframe, n.bar_at) n.symbol, n.timeframe, n.bar_at, n.open, n.high, n.low, n.close, n.volume
    from jsonb_to_recordset(p_bars) as n (symbol text, timeframe text, bar_at timestamptz, open numeric, high numeric,
                                          low numeric, close numeric, volume numeric)
    on conflict (symbol, timeframe, bar_at) do update
        set open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume
        where (b.open, b.high, b.low, b.close, b.volume)
              is distinct from (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

revoke execute on function public.record_bars(text, bigint, jsonb) from public, anon, authenticated;

grant execute on function public.record_bars(text, bigint, jsonb) to service_role;

comment on function public.record_bars(text, bigint, jsonb) is 'Keep fetched bars. Engine only.';

create index reconciliation_runs_shard on public.reconciliation_runs (shard, finished_at desc);

-- Keep a snapshot; the last hundred of a shard stay. Called by: the engine. Errors: LEASE_LOST.
create or replace function public.save_bot_state(p_shard text, p_token bigint, p_state jsonb)
    returns timestamptz
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_saved timestamptz;
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_state) is distinct from 'object' then
        perform private.fail(422, 'INVALID', 'p_state must be an object.');
    end if;
    insert into public.bot_state_snapshots (shard, token, state, saved_at)
    values (p_shard, p_token, p_state, clock_timestamp()) returning saved_at into v_saved;
    delete from public.bot_state_snapshots s
     where s.shard = p_shard
       and s.id <= (select n.id from public.bot_state_snapshots n where n.shard = p_shard order by n.id desc offset 100 limit 1);
    return v_saved;
end;
$$;

-- The newest snapshot of a shard; NULL when there is none. Called by: the engine. Errors: LEASE_LOST.
create function public.load_bot_state(p_shard text, p_token bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return (select jsonb_build_object('state', s.state, 'saved_at', s.saved_at)
            from public.bot_state_snapshots s where s.shard = p_shard order by s.id desc limit 1);
end;
$$;

-- Note one reconciliation: new differences open a finding, known ones are seen again, and open ones
-- that a full sweep no longer sees are repaired. Called by: the engine. Errors: LEASE_LOST.
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
                        or coalesce(e.value ->> 'status', 'open') not in ('open', 'repaired')) then
        perform private.fail(422, 'INVALID', 'p_findings must be an array of findings with key, kind and, if any, status open or repaired.');
    end if;
    insert into public.reconciliation_runs (shard, kind, started_at, finished_at, orders_checked, positions_checked, findings)
    values (p_shard, p_run ->> 'kind', coalesce((p_run ->> 'started_at')::timestamptz, v_now), v_now,
            coalesce((p_run ->> 'orders_checked')::int, 0), coalesce((p_run ->> 'positions_checked')::int, 0),
            jsonb_array_length(p_findings))
    returning id into v_run;
    insert into public.reconciliation_findings as f (run_id, shard, key, kind, symbol, detail, status, first_seen_at, last_seen_at)
    select distinct on (n.key) v_run, p_shard, n.key, n.kind, n.symbol, coalesce(n.detail, '{}'), coalesce(n.status, 'open'), v_now, v_now
    from jsonb_to_recordset(p_findings) as n (key text, kind text, symbol text, detail jsonb, status text)
    on conflict (shard, key) where status = 'open' do update
        set last_seen_at = v_now, detail = excluded.detail, run_id = excluded.run_id;
    update public.reconciliation_findings f
       set status = 'repaired', last_seen_at = v_now
     where f.shard = p_shard and f.status = 'open'
       and (p_run ->> 'kind' = 'full' and f.last_seen_at < v_now
            or exists (select 1 from jsonb_to_recordset(p_findings) as n (key text, status text)
                       where n.key = f.key and n.status = 'repaired'));
    return jsonb_build_object('run_id', v_run, 'findings', jsonb_array_length(p_findings));
end;
$$;

revoke execute on function public.load_bot_state(text, bigint) from public, anon, authenticated;

grant execute on function public.load_bot_state(text, bigint) to service_role;

create index trading_control_events_scope on public.trading_control_events (scope, scope_key, id);

-- Each change with how long it lasted; the last one of a scope is still going on.
create view public.trading_control_history with (security_invoker = true) as
select e.*, extract(epoch from coalesce(e.ended_at, now()) - e.changed_at) as duration_s
from (select v.*, lead(v.changed_at) over (partition by v.scope, v.scope_key order by v.id) as ended_at
      from public.trading_control_events v) e;

comment on view public.trading_control_history is
    'Every change of a control with when it ended and how many seconds it lasted; ended_at is NULL while it lasts.';

revoke all on public.trading_controls, public.trading_control_events, public.trading_control_history
    from anon, authenticated, service_role;

grant select on public.trading_controls, public.trading_control_events, public.trading_control_history to authenticated, service_role;

-- Note the moment at which a paused scope has no open permit left. Called by: every function that settles a permit,
-- at its end. The rows are locked before they are judged: of two calls that settle the last two permits, the
-- second one sees what the first has done.
create or replace function private.settle_quiescence()
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform 1 from public.trading_controls c where c.mode <> 'RUNNING' and c.quiesced_at is null
      order by c.scope, c.scope_key for update;
    if found then
        update public.trading_controls c
           set quiesced_at = clock_timestamp()
         where c.mode <> 'RUNNING' and c.quiesced_at is null
           and not exists (select 1 from private.entries_in_flight(c.scope, c.scope_key));
    end if;
end;
$$;

-- The pre-flight list: what has to hold before trading resumes.

-- What a resume needs to be safe, item by item: [{item, ok, detail}]. Concerns the shards, orders and
-- positions of the scope.
create function private.preflight(p_scope public.control_scope, p_key text)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_shards text[] := array(select distinct f.shard from public.profiles f
                             where f.active and private.in_scope(p_scope, p_key, f.id, case when p_key = any (f.symbols) then p_key end));
    v_unknown int := (select count(*) from public.orders o
                      where o.state = 'unknown' and private.in_scope(p_scope, p_key, o.profile_id, o.symbol));
    v_naked int := (select count(*) from public.positions n
                    where n.protected_qty < n.qty and private.in_scope(p_scope, p_key, n.profile_id, n.symbol)
                      and not exists (select 1 from public.orders o
                                      where o.trade_id = n.trade_id and o.purpose in ('entry', 'exit')
                                        and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')));
    v_items jsonb := '[]';
begin
    v_items := (select coalesce(jsonb_agg(i.item order by i.n, s.shard), '[]')
        from unnest(v_shards) s (shard)
        left join public.engine_heartbeats h on h.shard = s.shard
        cross join lateral (values
            (1, private.preflight_item('ENGINE_ALIVE', clock_timestamp() - h.beat_at < interval '15 seconds',
                format('The engine of shard %s reported %s.', s.shard, coalesce('at ' || h.beat_at, 'never')))),
            (2, private.preflight_item('RECONCILED', (
                    select r.finished_at >= h.started_at and r.finished_at > clock_timestamp() - interval '10 minutes'
                    from public.reconciliation_runs r where r.shard = s.shard order by r.finished_at desc limit 1)
                and not exists (select 1 from public.reconciliation_findings d
                    where d.shard = s.shard and d.status = 'open' and (p_scope <> 'symbol' or coalesce(d.symbol, p_key) = p_key)),
                format('The books of shard %s were compared with the broker''s in the last 10 minutes and agree.', s.shard))),
            (5, private.preflight_item('DATA_FRESH', (h.detail ->> 'data_age_s')::numeric <= 30,
                format('The engine of shard %s read the market %s seconds ago.', s.shard, coalesce(h.detail ->> 'data_age_s', 'an unknown number of')))),
            (6, private.preflight_item('BROKER_NOT_BLOCKED', (h.detail ->> 'broker_blocked') = 'false',
                format('The broker account of shard %s may trade.', s.shard)))) i (n, item));
    return v_items
        || private.preflight_item('NO_UNKNOWN_ORDER', v_unknown = 0, format('%s orders whose fate at the broker is not known.', v_unknown))
        || private.preflight_item('POSITIONS_PROTECTED', v_naked = 0, format('%s positions that no stop at the broker covers in full.', v_naked));
end;
$$;

create function private.preflight_item(p_item text, p_ok boolean, p_detail text)
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('item', p_item, 'ok', p_ok is true, 'detail', p_detail);
$$;

create function private.preflight_failures(p_scope public.control_scope, p_key text)
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select jsonb_path_query_array(private.preflight(p_scope, p_key), '$[*] ? (@.ok == false)');
$$;

-- What would stand in the way of a resume right now. Called by: operators and admins, before they resume.
create function public.preflight_resume(p_scope text default 'global', p_scope_key text default null)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_key text := case when p_scope in ('global', 'profile', 'symbol')
                       then private.control_key(p_scope::public.control_scope, p_scope_key) end;
begin
    if not private.is_staff() then
        perform private.fail(403, 'FORBIDDEN', 'Only operators and admins see the pre-flight list.');
    elsif v_key is null then
        perform private.fail(422, 'INVALID', format('Scope %L %L is not known here.', left(p_scope, 40), left(p_scope_key, 60)),
                             'Use global, profile with its id, or symbol.');
    end if;
    return (select jsonb_build_object('ok', not exists (select 1 from jsonb_array_elements(i.items) e where e.value ->> 'ok' = 'false'),
                                      'items', i.items)
            from (select private.preflight(p_scope::public.control_scope, v_key) as items) i);
end;
$$;

create function private.failing_items(p_items jsonb)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select 'Not met: ' || string_agg(distinct e.value ->> 'item', ', ') || '.' from jsonb_array_elements(p_items) e;
$$;

revoke execute on function public.preflight_resume(text, text) from public, anon;

grant execute on function public.preflight_resume(text, text) to authenticated;

comment on function public.preflight_resume(text, text) is 'The pre-flight list of a resume, item by item. Operators and admins.';

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
        'engine', private.engine_status(),
        'role', v_role,
        'email', (select m.email from public.members m where m.user_id = auth.uid()),
        'checked_at', clock_timestamp());
end;
$$;

-- What is left of a staged resume; NULL when there is none.
create function private.stage_of(p_control public.trading_controls)
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select case when p_control.stage_entries > 0 then jsonb_build_object(
        'entries_left', p_control.stage_entries, 'fraction', p_control.stage_fraction) end;
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
    where c.scope <> 'global' and (c.mode <> 'RUNNING' or c.stage_entries > 0);
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
        from public.trading_controls c where c.mode <> 'RUNNING' and c.resume_at is not null
        union all
        select s.scope, s.scope_key, s.next_at, case when s.in_force then 'RUNNING' else s.mode::text end, s.id
        from public.control_schedules s where s.active and s.next_at < 'infinity'
        order by at limit 1) n);
end;
$$;

-- Set a scope's mode, record the event and the audit row. The caller holds the exclusive lock and
-- has checked rights and arguments. Answers how many unsent entries were cancelled.
create function private.change_mode(p_to public.control_mode, p_scope public.control_scope, p_key text,
                                    p_reason text, p_reason_code text, p_resume_at timestamptz default null,
                                    p_cancel_entries boolean default false, p_schedule_id uuid default null,
                                    p_stage_entries int default null, p_stage_fraction numeric default null,
                                    p_detail jsonb default '{}')
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_from public.control_mode;
    v_new public.trading_controls;
    v_canceled int := 0;
    v_in_flight int;
begin
    v_from := coalesce((select c.mode from public.trading_controls c where c.scope = p_scope and c.scope_key = p_key), 'RUNNING');
    if p_to <> 'RUNNING' and p_cancel_entries then
        v_canceled := private.cancel_entries(p_scope, p_key, format('%s: %s', initcap(p_to::text), left(p_reason, 200)));
    end if;
    select count(*) into v_in_flight from private.entries_in_flight(p_scope, p_key);
    insert into public.trading_controls as c (scope, scope_key, mode, reason_code, reason, changed_by,
        changed_by_email, changed_at, resume_at, cancel_entries, quiesced_at, schedule_id, stage_entries, stage_fraction)
    values (p_scope, p_key, p_to, p_reason_code, p_reason, auth.uid(), private.actor_email(), clock_timestamp(),
            p_resume_at, p_cancel_entries, case when p_to <> 'RUNNING' and v_in_flight = 0 then clock_timestamp() end,
            p_schedule_id, p_stage_entries, p_stage_fraction)
    on conflict (scope, scope_key) do update
        set mode = excluded.mode, version = c.version + 1, reason_code = excluded.reason_code,
            reason = excluded.reason, changed_by = excluded.changed_by, changed_by_email = excluded.changed_by_email,
            changed_at = excluded.changed_at, resume_at = excluded.resume_at,
            cancel_entries = excluded.cancel_entries, quiesced_at = excluded.quiesced_at,
            schedule_id = excluded.schedule_id, stage_entries = excluded.stage_entries,
            stage_fraction = excluded.stage_fraction
    returning c.* into v_new;
    insert into public.trading_control_events (scope, scope_key, from_mode, to_mode, version, reason_code, reason,
        changed_by, changed_by_email, changed_at, entries_canceled, entries_in_flight, schedule_id)
    values (p_scope, p_key, v_from, p_to, v_new.version, p_reason_code, p_reason,
            v_new.changed_by, v_new.changed_by_email, v_new.changed_at, v_canceled, v_in_flight, p_schedule_id);
    perform private.audit(
        case p_to when 'RUNNING' then 'resume_trading' when 'PAUSED' then 'pause_trading' else 'halt_trading' end,
        p_scope || ':' || p_key, 'done', p_reason,
        jsonb_build_object('from', v_from, 'to', p_to, 'version', v_new.version, 'reason_code', p_reason_code,
                           'resume_at', p_resume_at, 'entries_canceled', v_canceled, 'entries_in_flight', v_in_flight,
                           'schedule_id', p_schedule_id) || p_detail);
    return v_canceled;
end;
$$;

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
    end if;
    return null;
end;
$$;

-- Everything that the three control functions share: rights, arguments, repeat, version, pre-flight, change.
create function private.control(p_to public.control_mode, p_action text, p_reason text, p_request_id uuid,
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
    v_answer := private.answered(p_request_id, p_action, v_target);
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
        'status', public.trading_status()));
end;
$$;

create function private.stage_error(p_entries int, p_fraction numeric)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select case
        when p_fraction is not null and p_entries is null then 'A staged resume needs the number of entries it holds back.'
        when p_entries not between 1 and 10000 then 'A staged resume holds back between 1 and 10,000 entries.'
        when not (p_fraction > 0 and p_fraction < 1)
            then 'The fraction of a staged resume lies between 0 and 1, such as 0.25; leave it empty to ask for approval.' end;
$$;

-- Let entries flow again. Refused with the failing items of the pre-flight list unless overridden with a
-- reason. Staged: the next p_stage_entries entries need approval, or run at p_stage_fraction of their size.
-- Called by: admins. Errors: FORBIDDEN, INVALID, CONFLICT, PREFLIGHT_FAILED.
create function public.resume_trading(
    p_reason text, p_request_id uuid default null, p_scope text default 'global', p_scope_key text default null,
    p_reason_code text default 'manual', p_expected_version int default null, p_override_reason text default null,
    p_stage_entries int default null, p_stage_fraction numeric default null)
    returns jsonb
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select private.control('RUNNING', 'resume_trading', p_reason, p_request_id, p_scope, p_scope_key, p_reason_code,
                           null, false, p_expected_version, p_override_reason, p_stage_entries, p_stage_fraction);
$$;

revoke execute on function public.resume_trading(text, uuid, text, text, text, int, text, int, numeric) from public, anon;

grant execute on function public.resume_trading(text, uuid, text, text, text, int, text, int, numeric) to authenticated, service_role;

comment on function public.resume_trading(text, uuid, text, text, text, int, text, int, numeric) is
    'Entries may flow again, once the pre-flight list is met or overridden; staged if asked. Admins only.';

-- End a pause without a person: only when the pre-flight list is met. Answers whether it ended.
-- The caller holds the exclusive lock.
create function private.resume_automatically(p_control public.trading_controls, p_reason text, p_reason_code text)
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    if private.preflight_failures(p_control.scope, p_control.scope_key) <> '[]' then
        return false;
    end if;
    perform private.change_mode('RUNNING', p_control.scope, p_control.scope_key, p_reason, p_reason_code);
    return true;
end;
$$;

-- End the pauses whose time has come. Called by: apply_due, under the exclusive lock.
create or replace function private.resume_due()
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_due public.trading_controls;
begin
    for v_due in select c.* from public.trading_controls c
                 where c.mode <> 'RUNNING' and c.resume_at <= clock_timestamp() loop
        perform private.resume_automatically(v_due, format('The pause set by %s ended as planned.', v_due.changed_by_email), 'resume_at');
    end loop;
end;
$$;

-- Schedules: changes of mode that a person plans ahead. Windows pause a scope from one time to another,
-- once, every week or around listed dates; conditions pause or resume when a measured value crosses a bound.
-- A schedule acts on edges: what a person decides inside a window stands until the next edge.

create type public.schedule_kind as enum ('once', 'weekly', 'dates', 'condition');

create table public.control_schedules (
    id                uuid primary key default gen_random_uuid(),
    scope             public.control_scope not null,
    scope_key         text not null,
    mode              public.control_mode not null,  -- what it sets; RUNNING: it resumes
    kind              public.schedule_kind not null,
    time_zone         text not null,
    starts_at         timestamptz,               -- once
    ends_at           timestamptz,               -- once; NULL: open-ended
    weekdays          int[],                     -- weekly: 1 is Monday, 7 is Sunday
    dates             date[],                    -- dates: such as days of earnings reports
    days_before       int not null default 0 check (days_before between 0 and 30),
    days_after        int not null default 0 check (days_after between 0 and 30),
    start_time        time not null default '00:00',
    end_time          time not null default '00:00',  -- not after start_time: on the next day
    inverted          boolean not null default false, -- pause outside the windows, not inside
    condition         jsonb,                     -- {metric, above | below, for_s}
    resume_condition  jsonb,                     -- ends the pause that this schedule set
    cancel_entries    boolean not null default true,
    reason_code       text not null,
    reason            text not null,
    active            boolean not null default true,
    in_force          boolean not null default false, -- inside a window, or the condition is met
    next_at           timestamptz not null default 'infinity',
    met_since         timestamptz,
    created_by        uuid,
    created_by_email  text not null,
    created_at        timestamptz not null default now(),
    canceled_by_email text,
    canceled_at       timestamptz,
    cancel_reason     text,
    resumes_to        public.control_mode not null default 'RUNNING'  -- what its end goes back to: a person's pause, if there was one
);

create index control_schedules_active on public.control_schedules (next_at) where active;

comment on table public.control_schedules is 'Planned changes of mode: windows and conditions.';

alter table public.control_schedules enable row level security;

revoke all on public.control_schedules from anon, authenticated, service_role;

grant select on public.control_schedules to authenticated, service_role;

create policy "members read the schedules"
    on public.control_schedules for select to authenticated
    using ((select private.caller_role()) is not null);

-- The windows of a schedule that touch the days from p_from to p_to, as the clocks of its time zone show.
create function private.schedule_windows(s public.control_schedules, p_from timestamptz, p_to timestamptz)
    returns setof tstzrange
    language sql
    stable
    set search_path = ''
as $$
    with days as (
        select d.day::date as first_day, d.day::date as last_day
        from generate_series((p_from at time zone s.time_zone)::date - 2, (p_to at time zone s.time_zone)::date + 1, interval '1 day') d (day)
        where s.kind = 'weekly' and extract(isodow from d.day)::int = any (s.weekdays)
        union all
        select d.day - s.days_before, d.day + s.days_after from unnest(s.dates) d (day) where s.kind = 'dates'
        order by 1
    ), edges as (
        select (d.first_day + s.start_time) at time zone s.time_zone as starts,
               (d.last_day + s.end_time + case when s.end_time <= s.start_time then interval '1 day' else '0' end)
                   at time zone s.time_zone as ends
        from days d
        union all
        select s.starts_at, coalesce(s.ends_at, 'infinity') where s.kind = 'once'
    )
    select tstzrange(e.starts, e.ends) from edges e where e.starts < e.ends;  -- an hour that the clocks skip is no window
$$;

create function private.schedule_in_window(s public.control_schedules, p_now timestamptz)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select exists (select 1 from private.schedule_windows(s, p_now, p_now) w where w @> p_now) <> s.inverted;
$$;

-- The next moment at which a window starts or ends; infinity when none comes.
create function private.schedule_next_at(s public.control_schedules, p_now timestamptz)
    returns timestamptz
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(min(e.at), 'infinity')
    from private.schedule_windows(s, p_now, p_now + interval '9 days') w
    cross join lateral (values (lower(w)), (upper(w))) e (at)
    where e.at > p_now;
$$;

-- The last daily close-to-close returns of the scope's symbols: the standard deviation of the most
-- volatile one, as a fraction (0.02 is 2 % a day).
create function private.daily_volatility(p_scope public.control_scope, p_key text)
    returns numeric
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select max(v.deviation) from (
        select stddev_samp(r.step) as deviation
        from (select distinct y.symbol from public.profiles f cross join unnest(f.symbols) y (symbol)
              where f.active and private.in_scope(p_scope, p_key, f.id, y.symbol)) s
        cross join lateral (
            select ln(b.close / lead(b.close) over (order by b.bar_at desc)) as step
            from (select n.close, n.bar_at from public.price_bars n
                  where n.symbol = s.symbol and n.timeframe = '1Day' order by n.bar_at desc limit 21) b) r
        group by s.symbol) v;
$$;

-- The measured value of a metric in a scope; NULL when it is not known.
create function private.metric(p_metric text, p_scope public.control_scope, p_key text)
    returns numeric
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select case p_metric
        when 'drawdown' then (
            select max(private.drawdown_of(c)) from public.profile_capital c
            where private.in_scope(case p_scope when 'symbol' then 'global' else p_scope end, p_key, c.profile_id, null))
        when 'loss_streak' then (
            select max(private.loss_streak(f.id, 50, '-infinity')) from public.profiles f
            where f.active and private.in_scope(case p_scope when 'symbol' then 'global' else p_scope end, p_key, f.id, null))
        when 'volatility' then private.daily_volatility(p_scope, p_key)
        when 'data_age_s' then (select max((h.detail ->> 'data_age_s')::numeric) from public.engine_heartbeats h)
        when 'broker_error_rate' then (select max((h.detail ->> 'broker_error_rate')::numeric) from public.engine_heartbeats h)
    end;
$$;

-- Whether a condition holds now: NULL when its metric is not known, which neither pauses nor resumes.
create function private.condition_holds(p_condition jsonb, p_scope public.control_scope, p_key text)
    returns boolean
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select case when p_condition ? 'above' then m.value > (p_condition ->> 'above')::numeric
                else m.value < (p_condition ->> 'below')::numeric end
    from (select private.metric(p_condition ->> 'metric', p_scope, p_key) as value) m;
$$;

-- What is wrong with a condition; NULL when nothing is.
create function private.condition_error(c jsonb)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select case
        when jsonb_typeof(c) <> 'object' then 'A condition is an object such as {"metric": "drawdown", "above": 0.1}.'
        when coalesce(c ->> 'metric', '') not in ('drawdown', 'loss_streak', 'volatility', 'data_age_s', 'broker_error_rate')
            then 'A condition''s metric is drawdown, loss_streak, volatility, data_age_s or broker_error_rate.'
        when num_nonnulls(c ->> 'above', c ->> 'below') <> 1 then 'A condition has one bound: above or below.'
        when private.positive(coalesce(c ->> 'above', c ->> 'below')) is null then 'A condition''s bound is a number above 0.'
        when c ->> 'for_s' is not null and coalesce(private.positive(c ->> 'for_s'), 1e9) > 86400
            then 'A condition''s for_s is a number of seconds up to 86,400.' end;
$$;

-- Whether a time zone is known by this name. Tried, not looked up: the list of all names takes 50 ms to read.
create function private.is_time_zone(p_name text)
    returns boolean
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    perform now() at time zone p_name;
    return p_name ~ '^[A-Z][A-Za-z0-9_+/-]{1,60}$';
exception
    when data_exception then
        return false;
end;
$$;

-- Why a schedule cannot be accepted as it is written; NULL when it can.
create function private.schedule_error(s public.control_schedules)
    returns text
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    if not private.is_time_zone(s.time_zone) then
        return format('Time zone %L is unknown: use a name such as America/New_York or UTC.', left(s.time_zone, 60));
    elsif s.mode = 'HALTED' and s.kind = 'condition' and s.resume_condition is not null then
        return 'A halt is ended by a person: leave the resume condition empty.';
    elsif s.mode = 'RUNNING' and s.kind not in ('once', 'condition') then
        return 'A resume is planned once or on a condition.';
    end if;
    return case s.kind
        when 'once' then case
            when s.starts_at is null then 'A schedule that runs once needs its start.'
            when s.mode = 'RUNNING' and s.ends_at is not null then 'A planned resume has no end.'
            when s.ends_at <= s.starts_at then 'The end lies before the start.'
            when coalesce(s.ends_at, s.starts_at) <= clock_timestamp() then 'The window has already passed: choose a later one.' end
        when 'weekly' then case
            when coalesce(cardinality(s.weekdays), 0) = 0 or not s.weekdays <@ array[1, 2, 3, 4, 5, 6, 7]
                then 'Choose at least one weekday, 1 (Monday) to 7 (Sunday).' end
        when 'dates' then case
            when coalesce(cardinality(s.dates), 0) not between 1 and 400 then 'Give between 1 and 400 dates.'
            when (select max(d) from unnest(s.dates) d) + s.days_after < (clock_timestamp() at time zone s.time_zone)::date
                then 'All dates have already passed.' end
        else coalesce(private.condition_error(coalesce(s.condition, 'null')),
                      case when s.resume_condition is not null then private.condition_error(s.resume_condition) end) end;
end;
$$;

-- Plan a change of mode. Windows: kind once (from, to), weekly (weekdays, times), dates (listed days, with days
-- before and after); condition: when a metric crosses a bound. Times are those of the named time zone.
-- Called by: admins. Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create function public.schedule_trading_mode(
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
    v_answer := private.answered(p_request_id, 'schedule_trading_mode', v_target);
    if v_answer is not null then
        return v_answer;
    end if;

    -- Due at once: the next look decides whether it is inside a window already.
    s.next_at := case s.kind when 'condition' then 'infinity' else clock_timestamp() end;
    insert into public.control_schedules select s.*;
    perform private.audit('schedule_trading_mode', v_target, 'done', s.reason, to_jsonb(s));
    perform private.apply_due();
    select n.* into s from public.control_schedules n where n.id = s.id;
    return private.answer(p_request_id, 'schedule_trading_mode', v_target, jsonb_build_object('success', true, 'schedule', to_jsonb(s)));
end;
$$;

-- Withdraw a schedule. A pause that it has set stays until a person ends it. Called by: admins.
create function public.cancel_schedule(p_schedule_id uuid, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'schedule:' || coalesce(p_schedule_id::text, '');
    v_answer jsonb;
    s public.control_schedules;
    v_holds boolean;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may withdraw a schedule.', 'cancel_schedule', v_target);
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'cancel_schedule', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'cancel_schedule', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    update public.control_schedules n
       set active = false, next_at = 'infinity', canceled_at = clock_timestamp(), canceled_by_email = private.actor_email(),
           cancel_reason = private.trimmed(p_reason)
     where n.id = p_schedule_id and n.active returning n.* into s;
    if s.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no active schedule with this id.', 'cancel_schedule', v_target,
                              'It may have ended or been withdrawn meanwhile: look at the list again.');
    end if;
    v_holds := exists (select 1 from public.trading_controls c where c.schedule_id = s.id and c.mode <> 'RUNNING');
    update public.trading_controls c set schedule_id = null where c.schedule_id = s.id;
    perform private.audit('cancel_schedule', v_target, 'done', private.trimmed(p_reason), to_jsonb(s));
    return private.answer(p_request_id, 'cancel_schedule', v_target, jsonb_build_object('success', true, 'message',
        case when v_holds then 'The schedule is withdrawn. The pause that it set stays until someone resumes.'
             else 'The schedule is withdrawn.' end, 'schedule', to_jsonb(s)));
end;
$$;

-- The strictest mode that the other schedules of a scope hold right now; RUNNING when none does.
create function private.still_scheduled(p_scope public.control_scope, p_key text, p_except uuid, out holder uuid, out mode public.control_mode)
    language sql
    stable
    set search_path = ''
as $$
    select o.id, o.mode from public.control_schedules o
    where o.scope = p_scope and o.scope_key = p_key and o.active and o.in_force and o.mode <> 'RUNNING' and o.id <> p_except
    order by o.mode desc, o.id limit 1;
$$;

-- A schedule's window began or its condition came true. Answers whether it is done with: false when it
-- resumes and the pre-flight list is not met, and then the next look tries again. The caller holds the
-- exclusive lock.
create function private.schedule_begins(s public.control_schedules)
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
    if s.mode = 'RUNNING' then
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

-- A schedule's window ended, or its resume condition came true. Answers whether it is done with: false
-- when the pre-flight list is not met, and then the next look tries again.
create function private.schedule_ends(s public.control_schedules)
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    c public.trading_controls;
    v_other record;
begin
    select n.* into c from public.trading_controls n
     where n.scope = s.scope and n.scope_key = s.scope_key and n.schedule_id = s.id and n.mode <> 'RUNNING';
    if not found then
        return true;  -- a person decided otherwise meanwhile
    end if;
    select o.* into v_other from private.still_scheduled(s.scope, s.scope_key, s.id) o;
    if v_other.holder is not null then
        update public.control_schedules n set resumes_to = s.resumes_to where n.id = v_other.holder and s.resumes_to > n.resumes_to;
        perform private.change_mode(v_other.mode, s.scope, s.scope_key, 'Another scheduled window goes on.', s.reason_code, null, false, v_other.holder);
        return true;
    end if;
    if s.resumes_to <> 'RUNNING' then
        perform private.change_mode(s.resumes_to, s.scope, s.scope_key, 'The planned window ended; the pause from before it goes on.',
                                    s.reason_code);
        return true;
    end if;
    return private.resume_automatically(c, format('The window planned by %s ended: %s', s.created_by_email, s.reason), s.reason_code);
end;
$$;

-- Carry out one schedule whose time has come, or whose condition is to be looked at.
create function private.apply_schedule(s public.control_schedules)
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
           next_at = case when s.kind = 'condition' then 'infinity' when v_done then private.schedule_next_at(s, v_now) else v_now end,
           -- What has no edge left to come is over, unless its window goes on.
           active = s.kind in ('weekly', 'condition') or not v_done
                    or v_in_force and s.mode <> 'RUNNING' or private.schedule_next_at(s, v_now) < 'infinity'
     where n.id = s.id;
end;
$$;

-- Apply every change of mode that is due. Called by: the gate and every claim before they judge, so that
-- a window begins on time; heartbeats, which look at the conditions too.
create function private.apply_due(p_conditions boolean default false)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    s public.control_schedules;
begin
    if not exists (select 1 from public.trading_controls c where c.mode <> 'RUNNING' and c.resume_at <= v_now)
       and not exists (select 1 from public.control_schedules n where n.active and (n.next_at <= v_now or p_conditions and n.kind = 'condition')) then
        return;
    end if;
    perform private.lock_controls(p_exclusive => true);
    perform private.resume_due();
    for s in select n.* from public.control_schedules n
             where n.active and (n.next_at <= v_now or p_conditions and n.kind = 'condition')
             order by n.mode desc, n.id loop
        perform private.apply_schedule(s);
    end loop;
end;
$$;

revoke execute on function public.schedule_trading_mode(text, text, text, text, text, text, text, timestamptz, timestamptz, int[], date[],
    int, int, time, time, boolean, jsonb, jsonb, boolean, uuid) from public, anon;

revoke execute on function public.cancel_schedule(uuid, text, uuid) from public, anon;

grant execute on function public.schedule_trading_mode(text, text, text, text, text, text, text, timestamptz, timestamptz, int[], date[],
    int, int, time, time, boolean, jsonb, jsonb, boolean, uuid) to authenticated, service_role;

grant execute on function public.cancel_schedule(uuid, text, uuid) to authenticated, service_role;

comment on function public.schedule_trading_mode(text, text, text, text, text, text, text, timestamptz, timestamptz, int[], date[],
    int, int, time, time, boolean, jsonb, jsonb, boolean, uuid) is
    'Plan a change of mode: a window once, weekly or around dates, or a condition. Admins only, idempotent by request id.';

comment on function public.cancel_schedule(uuid, text, uuid) is 'Withdraw a schedule; a pause that it has set stays. Admins only.';

-- Symbol lockouts: no entries in a symbol for a time. Half-open intervals in the database's time; those
-- that people set and those that the system sets stand side by side and end each by itself.

create type public.lockout_type as enum ('manual', 'news_shock', 'cooldown', 'stoploss_guard', 'drawdown', 'reconciliation');

create table public.symbol_lockouts (
    id               uuid primary key default gen_random_uuid(),
    ticker           text not null check (ticker ~ '^(\*|[A-Z][A-Z0-9./-]{0,14})$'),  -- '*': every symbol
    side             public.position_side,       -- NULL: both directions
    profile_id       uuid references public.profiles (id),  -- NULL: every profile
    owner_id         uuid,                       -- the profile's owner; NULL: concerns everyone
    lockout_type     public.lockout_type not null,
    reason           text not null,
    detail           jsonb not null default '{}',  -- what the system saw, such as a headline and its source
    starts_at        timestamptz not null,
    expires_at       timestamptz not null check (expires_at > starts_at),
    created_by       uuid,                       -- NULL: the engine
    created_by_email text not null,
    removed_at       timestamptz,
    removed_by       uuid,
    removed_by_email text,
    removed_reason   text
);

create index symbol_lockouts_in_force on public.symbol_lockouts (ticker, expires_at) where removed_at is null;

create index symbol_lockouts_started on public.symbol_lockouts (starts_at desc);

create index symbol_lockouts_profile on public.symbol_lockouts (profile_id) where profile_id is not null;

create index symbol_lockouts_owner on public.symbol_lockouts (owner_id);

comment on table public.symbol_lockouts is 'No entries in a symbol from starts_at until expires_at or removed_at.';

alter table public.symbol_lockouts enable row level security;

revoke all on public.symbol_lockouts from anon, authenticated, service_role;

grant select on public.symbol_lockouts to authenticated, service_role;

create policy "members read the lockouts that concern them, staff read all"
    on public.symbol_lockouts for select to authenticated
    using ((select private.is_staff()) or owner_id = (select private.caller_id())
           or owner_id is null and (select private.caller_role()) is not null);

-- The lockout that keeps an entry out at a moment: the one that lasts longest; no row when there is none.
-- Without a search_path of its own, so that it can be inlined into the gate's query.
create function private.lockout_of(p_symbol text, p_side public.position_side, p_profile_id uuid, p_at timestamptz)
    returns setof public.symbol_lockouts
    language sql
    stable
as $$
    select l.* from public.symbol_lockouts l
    where l.ticker in (p_symbol, '*') and l.removed_at is null and l.starts_at <= p_at and p_at < l.expires_at
      and coalesce(l.side, p_side) = p_side and coalesce(l.profile_id, p_profile_id) = p_profile_id
    order by l.expires_at desc limit 1;
$$;

-- Cancel what a lockout catches: entries that were not sent, and by id those that rest at the broker.
-- The caller holds the exclusive lock.
create function private.cancel_locked_entries(l public.symbol_lockouts)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_caught uuid[] := array(
        select o.id from public.orders o
         where o.purpose = 'entry' and o.state in ('ready', 'awaiting_approval', 'submitting', 'unknown', 'working', 'partially_filled')
           and (l.ticker = '*' or o.symbol = l.ticker) and coalesce(l.side, o.position_side) = o.position_side
           and coalesce(l.profile_id, o.profile_id) = o.profile_id);
    v_why text := format('Locked out: %s', left(l.reason, 200));
    v_canceled int;
begin
    perform 1 from public.profile_capital c
      where c.profile_id in (select o.profile_id from public.orders o where o.id = any (v_caught)) order by c.profile_id for update;
    update public.orders o set state = 'canceled', reason = v_why
     where o.id = any (v_caught) and o.state in ('ready', 'awaiting_approval');
    get diagnostics v_canceled = row_count;
    update public.orders o set cancel_requested_at = clock_timestamp(), reason = v_why
     where o.id = any (v_caught) and o.state in ('submitting', 'unknown', 'working', 'partially_filled')
       and o.cancel_requested_at is null;
    return v_canceled;
end;
$$;

-- Why a lockout cannot be accepted as it is written; NULL when it can.
create function private.lockout_error(p_ticker text, p_reason text, p_minutes int, p_type text, p_side text)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select case
        when coalesce(upper(private.trimmed(p_ticker)), '') !~ '^(\*|[A-Z][A-Z0-9./-]{0,14})$'
            then format('%L is no ticker: use letters, digits, dots, dashes or slashes, such as AAPL or BRK.B, or * for every symbol.',
                        left(coalesce(p_ticker, ''), 40))
        when private.reason_error(p_reason) is not null then private.reason_error(p_reason)
        when coalesce(p_minutes, 0) not between 1 and 525600 then 'The duration is between 1 minute and 525,600 minutes (a year).'
        when coalesce(p_type, '') not in ('manual', 'news_shock', 'cooldown', 'stoploss_guard', 'drawdown', 'reconciliation')
            then 'The type is manual, news_shock, cooldown, stoploss_guard, drawdown or reconciliation.'
        when coalesce(p_side, 'long') not in ('long', 'short') then 'The side is long, short, or empty for both.' end;
$$;

-- Begin a lockout now, cancel what it catches and note it. The caller has checked rights and arguments.
create function private.lock_out(p_ticker text, p_reason text, p_minutes int, p_type text, p_side text,
                                 p_profile_id uuid default null, p_detail jsonb default '{}')
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    l public.symbol_lockouts;
    v_canceled int;
begin
    insert into public.symbol_lockouts (ticker, side, profile_id, owner_id, lockout_type, reason, detail, starts_at, expires_at,
                                        created_by, created_by_email)
    values (upper(private.trimmed(p_ticker)), p_side::public.position_side, p_profile_id,
            (select f.owner_id from public.profiles f where f.id = p_profile_id), p_type::public.lockout_type,
            private.trimmed(p_reason), coalesce(p_detail, '{}'), v_now, v_now + make_interval(mins => p_minutes),
            auth.uid(), private.actor_email())
    returning * into l;
    v_canceled := private.cancel_locked_entries(l);
    perform private.audit('create_lockout', 'symbol:' || l.ticker, 'done', l.reason,
                          to_jsonb(l) || jsonb_build_object('entries_canceled', v_canceled));
    return jsonb_build_object('success', true, 'lockout', to_jsonb(l), 'entries_canceled', v_canceled);
end;
$$;

-- Lock a symbol out for some minutes from now on. Called by: operators and admins.
-- Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create function public.create_lockout(
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
    v_answer jsonb;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may lock symbols out.', 'create_lockout', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'create_lockout', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'create_lockout', v_target);
    return coalesce(v_answer, private.answer(p_request_id, 'create_lockout', v_target, private.lock_out(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side)));
end;
$$;

-- The same for the engine, which says what it saw, and for one profile where the reason is the profile's own.
-- While one of the same type, symbol, side and profile is in force it answers that one. Errors: LEASE_LOST, INVALID.
create function public.engine_lockout(p_shard text, p_token bigint, p_ticker text, p_reason text, p_duration_minutes int,
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
       and n.side is not distinct from p_side::public.position_side and n.profile_id is not distinct from p_profile_id
       and n.removed_at is null and n.expires_at > clock_timestamp() limit 1;
    if l.id is not null then
        return jsonb_build_object('success', true, 'lockout', to_jsonb(l), 'entries_canceled', 0);
    end if;
    return private.lock_out(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side, p_profile_id, p_detail);
end;
$$;

-- End one lockout early; others on the same symbol stay. Called by: operators and admins.
create function public.remove_lockout(p_lockout_id uuid, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'lockout:' || coalesce(p_lockout_id::text, '');
    v_answer jsonb;
    l public.symbol_lockouts;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may remove lockouts.', 'remove_lockout', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'remove_lockout', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'remove_lockout', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    update public.symbol_lockouts n
       set removed_at = clock_timestamp(), removed_by = auth.uid(), removed_by_email = private.actor_email(),
           removed_reason = private.trimmed(p_reason)
     where n.id = p_lockout_id and n.removed_at is null and n.expires_at > clock_timestamp()
    returning n.* into l;
    if l.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no lockout in force with this id.', 'remove_lockout', v_target,
                              'It may have run out or been removed meanwhile: look at the list again.');
    end if;
    perform private.audit('remove_lockout', 'symbol:' || l.ticker, 'done', l.removed_reason, to_jsonb(l));
    return private.answer(p_request_id, 'remove_lockout', v_target, jsonb_build_object('success', true, 'lockout', to_jsonb(l)));
end;
$$;

revoke execute on function public.create_lockout(text, text, int, text, text, uuid) from public, anon;

revoke execute on function public.remove_lockout(uuid, text, uuid) from public, anon;

revoke execute on function public.engine_lockout(text, bigint, text, text, int, text, text, uuid, jsonb) from public, anon, authenticated;

grant execute on function public.create_lockout(text, text, int, text, text, uuid) to authenticated, service_role;

grant execute on function public.remove_lockout(uuid, text, uuid) to authenticated, service_role;

grant execute on function public.engine_lockout(text, bigint, text, text, int, text, text, uuid, jsonb) to service_role;

comment on function public.create_lockout(text, text, int, text, text, uuid) is
    'No entries in a symbol for some minutes. Operators and admins, idempotent by request id.';

comment on function public.remove_lockout(uuid, text, uuid) is 'End a lockout early, with a reason. Operators and admins.';

comment on function public.engine_lockout(text, bigint, text, text, int, text, text, uuid, jsonb) is
    'A lockout that the system sets: news shock, cooldown, guards. Engine only.';

-- Overrides: an admin lets entries pass one named limit for a while, exceptionally and on record. What keeps
-- money and orders consistent (modes, unknown orders, capital) cannot be overridden, nor can a limit that is not set.

create table public.gate_overrides (
    id               uuid primary key default gen_random_uuid(),
    profile_id       uuid not null references public.profiles (id),
    owner_id         uuid not null,
    symbol           text,                       -- NULL: every symbol of the profile
    code             text not null check (code in ('SYMBOL_LOCKED', 'ORDER_QTY_MAX', 'ORDER_NOTIONAL_MAX', 'PRICE_COLLAR',
                        'OPEN_ORDERS_MAX', 'POSITIONS_MAX', 'POSITION_LIMIT', 'SECTOR_EXPOSURE', 'GROSS_EXPOSURE', 'ORDER_RATE',
                        'DAILY_LOSS', 'DRAWDOWN', 'LOSS_STREAK', 'MARKET_CLOSED')),
    reason           text not null,
    granted_by       uuid not null,
    granted_by_email text not null,
    starts_at        timestamptz not null,
    expires_at       timestamptz not null check (expires_at > starts_at),
    revoked_at       timestamptz,
    revoked_by_email text
);

create index gate_overrides_in_force on public.gate_overrides (profile_id, expires_at) where revoked_at is null;

create index gate_overrides_profile on public.gate_overrides (profile_id);

create index gate_overrides_owner on public.gate_overrides (owner_id);

comment on table public.gate_overrides is 'Temporary permissions of an admin to pass one limit of the gate.';

alter table public.gate_overrides enable row level security;

revoke all on public.gate_overrides from anon, authenticated, service_role;

grant select on public.gate_overrides to authenticated, service_role;

create policy "owners and staff read overrides"
    on public.gate_overrides for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- Let a profile's entries pass one limit for up to a day. Called by: admins.
-- Errors: FORBIDDEN, INVALID, NOT_FOUND, CONFLICT, each audited as refused.
create function public.grant_override(
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
    v_answer := private.answered(p_request_id, 'grant_override', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    insert into public.gate_overrides (profile_id, owner_id, symbol, code, reason, granted_by, granted_by_email, starts_at, expires_at)
    values (p_profile_id, v_owner, upper(private.trimmed(p_symbol)), p_code, private.trimmed(p_reason), auth.uid(), private.actor_email(),
            clock_timestamp(), clock_timestamp() + make_interval(mins => p_minutes))
    returning * into v;
    perform private.audit('grant_override', v_target, 'done', v.reason, to_jsonb(v), v_owner);
    return private.answer(p_request_id, 'grant_override', v_target, jsonb_build_object('success', true, 'override', to_jsonb(v)));
end;
$$;

-- Withdraw an override before its time. Called by: admins.
create function public.revoke_override(p_override_id uuid, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'override:' || coalesce(p_override_id::text, '');
    v_answer jsonb;
    v public.gate_overrides;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may withdraw an override.', 'revoke_override', v_target);
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'revoke_override', v_target);
    end if;
    v_answer := private.answered(p_request_id, 'revoke_override', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    update public.gate_overrides n set revoked_at = clock_timestamp(), revoked_by_email = private.actor_email()
     where n.id = p_override_id and n.revoked_at is null and n.expires_at > clock_timestamp() returning n.* into v;
    if v.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no override in force with this id.', 'revoke_override', v_target);
    end if;
    perform private.audit('revoke_override', v_target, 'done', private.trimmed(p_reason), to_jsonb(v), v.owner_id);
    return private.answer(p_request_id, 'revoke_override', v_target, jsonb_build_object('success', true, 'override', to_jsonb(v)));
end;
$$;

-- Switch a profile on or off. On again after it was switched off for repeated executions or after a loss, it
-- starts afresh: its drawdown counts from the equity of now. Called by: admins.
create function public.set_profile_active(p_profile_id uuid, p_active boolean, p_reason text, p_request_id uuid default null)
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
    v_answer := private.answered(p_request_id, 'set_profile_active', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    select p.* into f from public.profiles p where p.id = p_profile_id for update;
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
    return private.answer(p_request_id, 'set_profile_active', v_target, jsonb_build_object('success', true, 'changed', v_changed, 'profile', to_jsonb(f)));
end;
$$;

revoke execute on function public.grant_override(uuid, text, text, int, text, uuid) from public, anon;

revoke execute on function public.revoke_override(uuid, text, uuid) from public, anon;

revoke execute on function public.set_profile_active(uuid, boolean, text, uuid) from public, anon;

grant execute on function public.grant_override(uuid, text, text, int, text, uuid) to authenticated, service_role;

grant execute on function public.revoke_override(uuid, text, uuid) to authenticated, service_role;

grant execute on function public.set_profile_active(uuid, boolean, text, uuid) to authenticated, service_role;

comment on function public.grant_override(uuid, text, text, int, text, uuid) is
    'Let a profile''s entries pass one limit for up to a day. Admins only, audited.';

comment on function public.revoke_override(uuid, text, uuid) is 'Withdraw an override. Admins only, audited.';

comment on function public.set_profile_active(uuid, boolean, text, uuid) is
    'Switch a profile on or off; on again it starts its drawdown afresh. Admins only, audited.';

-- Operator approvals: entries that a person has to decide. Created by the gate only after the risk checks
-- have passed; the gate judges again when an approved entry is released.

create type public.approval_status as enum (
    'pending',
    'approved',   -- released: the order became ready
    'rejected',
    'expired',    -- nobody decided in time
    'denied',     -- approved, but the gate said no at the release
    'canceled'    -- the order ended otherwise meanwhile, such as by a pause
);

create table public.operator_approvals (
    id               uuid primary key default gen_random_uuid(),
    order_id         uuid not null unique references public.orders (id),
    owner_id         uuid not null,
    profile_id       uuid not null references public.profiles (id),
    symbol           text not null,
    side             public.order_side not null,
    qty              numeric(24, 9) not null,
    limit_price      numeric(18, 6) not null,
    reference_price  numeric(18, 6) not null,    -- the quote when it was asked
    notional_usd     numeric(24, 6) not null,
    trading_mode     public.trading_mode not null,
    reasons          text[] not null,            -- why a person has to decide: mode, notional, first_trade, ...
    shown_hash       text not null,              -- of what the person is shown
    status           public.approval_status not null default 'pending',
    config_version   int not null,
    requested_at     timestamptz not null,
    expires_at       timestamptz not null,
    decided_at       timestamptz,
    decided_by       uuid,
    decided_by_email text,
    decision_reason  text,
    release_code     text                        -- the gate's code when it said no at the release
);

create index operator_approvals_pending on public.operator_approvals (expires_at) where status = 'pending';

create index operator_approvals_requested on public.operator_approvals (requested_at desc, id);

create index operator_approvals_owner on public.operator_approvals (owner_id, requested_at desc);

create index operator_approvals_profile on public.operator_approvals (profile_id);

comment on table public.operator_approvals is 'Entries that a person has to decide, and what was decided, by whom and why.';

alter table public.operator_approvals enable row level security;

revoke all on public.operator_approvals from anon, authenticated, service_role;

grant select on public.operator_approvals to authenticated, service_role;

create policy "owners and staff read approvals"
    on public.operator_approvals for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- Binds an approval to what is shown: another order, size, price, direction, mode or account has another hash.
create function private.approval_hash(p_order_id uuid, p_profile_id uuid, p_symbol text, p_side public.order_side, p_qty numeric,
                                      p_limit_price numeric, p_mode public.trading_mode, p_account text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select encode(sha256(convert_to(jsonb_build_array(p_order_id, p_profile_id, p_symbol, p_side, trim_scale(p_qty),
                                                      trim_scale(p_limit_price), p_mode, p_account)::text, 'UTF8')), 'hex');
$$;

-- An approval ends with its order's wait, however that ends.
create function private.close_approval()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    update public.operator_approvals a
       set status = case new.state when 'ready' then 'approved' when 'approval_rejected' then 'rejected'
                                   when 'approval_expired' then 'expired' when 'denied' then 'denied'
                                   else 'canceled' end::public.approval_status,
           decided_at = coalesce(a.decided_at, clock_timestamp()), release_code = case new.state when 'denied' then new.code end
     where a.order_id = new.id and a.status = 'pending';
    return null;
end;
$$;

create trigger orders_close_their_approval
    after update of state on public.orders
    for each row
    when (old.state = 'awaiting_approval' and new.state <> 'awaiting_approval')
    execute function private.close_approval();

-- End what waited too long, by the database's clock: approvals past their expiry, and entries that have been ready
-- since before p_ready_since, because decisions have a time to live. All capital is locked at once, in the order
-- that all callers keep. Answers how many approvals ended. The caller holds the controls' shared lock.
create function private.expire_waiting(p_shard text, p_ready_since timestamptz default '-infinity')
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_asked uuid[] := array(select a.order_id from public.operator_approvals a join public.orders o on o.id = a.order_id
                            where a.status = 'pending' and a.expires_at <= clock_timestamp() and o.shard = p_shard);
    v_ready uuid[] := array(select o.id from public.orders o
                            where o.shard = p_shard and o.purpose = 'entry' and o.state = 'ready'
                              and coalesce(o.ready_at, o.created_at) < p_ready_since);
    v_count int;
begin
    if cardinality(v_asked || v_ready) = 0 then
        return 0;
    end if;
    perform 1 from public.profile_capital c
      where c.profile_id in (select o.profile_id from public.orders o where o.id = any (v_asked || v_ready)) order by c.profile_id for update;
    update public.orders o set state = 'expired', reason = 'Not sent in time: the decision is too old.'
     where o.id = any (v_ready) and o.state = 'ready';
    update public.orders o set state = 'approval_expired', reason = 'Not decided in time.'
     where o.id = any (v_asked) and o.state = 'awaiting_approval';
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

-- End the approvals of a shard that nobody decided in time; answers how many. Called by: the engine.
-- Errors: LEASE_LOST.
create function public.expire_stale_approvals(p_shard text, p_token bigint)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_controls(p_exclusive => false);
    return private.expire_waiting(p_shard);
end;
$$;

-- Decide one approval. The caller has checked the role and holds the controls' shared lock and the locks
-- of the order's owner and capital.
create function private.decide_one(p_approval_id uuid, p_decision text, p_reason text, p_shown_hash text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'approval:' || coalesce(p_approval_id::text, '');
    a public.operator_approvals;
    o public.orders;
    v_checks json := '[]';
    v_hash text;
    v_state public.order_state := 'approval_rejected';
    v_now timestamptz;
begin
    select n.* into o from public.orders n
     where n.id = (select m.order_id from public.operator_approvals m where m.id = p_approval_id) for update;
    select n.* into a from public.operator_approvals n where n.id = p_approval_id for update;
    v_hash := (select private.approval_hash(o.id, o.profile_id, o.symbol, o.side, o.qty, o.limit_price, f.trading_mode, f.broker_account)
               from public.profiles f where f.id = o.profile_id);
    if a.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no approval with this id.', 'decide_approval', v_target);
    elsif a.status <> 'pending' then
        return private.refuse(409, 'CONFLICT', format('This approval is already %s%s.', a.status, coalesce(' by ' || a.decided_by_email, '')),
                              'decide_approval', v_target, 'Nothing was changed. Look at the list again.');
    elsif a.expires_at <= clock_timestamp() then  -- judged after the locks are held
        update public.orders n set state = 'approval_expired', reason = 'Not decided in time.' where n.id = o.id;
        return private.refuse(409, 'APPROVAL_EXPIRED', 'This approval has run out; the entry will not be sent.', 'decide_approval', v_target);
    elsif p_decision = 'approve' and a.owner_id = auth.uid()
          and coalesce(((private.active_risk_config()).config #>> '{operator_approval,four_eyes}')::boolean, false) then
        return private.refuse(403, 'FOUR_EYES', 'Someone other than the profile''s owner has to approve this entry.', 'decide_approval', v_target);
    elsif p_decision = 'approve' and (a.shown_hash <> v_hash or p_shown_hash <> v_hash) then
        return private.refuse(409, 'CONFLICT', 'The entry is not what was shown: its size, price, mode or account changed.',
                              'decide_approval', v_target, 'Look at the approval again and decide afresh, or reject it.');
    end if;

    if p_decision = 'approve' then
        v_checks := private.gate_again(o);
        v_state := case when private.gate_code(v_checks) is null then 'ready' else 'denied' end;
    end if;
    v_now := clock_timestamp();
    if a.expires_at <= v_now then  -- the gate took its time
        update public.orders n set state = 'approval_expired', reason = 'Not decided in time.' where n.id = o.id;
        return private.refuse(409, 'APPROVAL_EXPIRED', 'This approval has run out; the entry will not be sent.', 'decide_approval', v_target);
    end if;
    update public.operator_approvals n
       set decided_at = v_now, decided_by = auth.uid(), decided_by_email = private.actor_email(), decision_reason = private.trimmed(p_reason)
     where n.id = a.id;
    update public.orders n
       set state = v_state, code = private.gate_code(v_checks), ready_at = case v_state when 'ready' then v_now end,
           reason = case p_decision when 'reject' then format('Rejected: %s', private.trimmed(p_reason)) else private.gate_reason(v_checks) end
     where n.id = o.id;
    select n.* into o from public.orders n where n.id = o.id;
    select n.* into a from public.operator_approvals n where n.id = a.id;
    perform private.audit('decide_approval', v_target, 'done', a.decision_reason, jsonb_build_object(
        'decision', p_decision, 'order_id', o.id, 'symbol', o.symbol, 'side', o.side, 'qty', o.qty, 'limit_price', o.limit_price,
        'shown_hash', a.shown_hash, 'order_state', o.state, 'code', o.code), o.owner_id);
    return jsonb_build_object('success', true, 'id', a.id, 'order_id', o.id, 'status', a.status, 'order_state', o.state,
                              'code', o.code, 'reason', o.reason, 'decided_by_email', a.decided_by_email, 'decided_at', a.decided_at);
end;
$$;

-- What is wrong with a request to decide; NULL when nothing is.
create function private.decision_error(p_decision text, p_reason text)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select case
        when coalesce(p_decision, '') not in ('approve', 'reject') then 'The decision is approve or reject.'
        when p_decision = 'reject' and private.reason_error(p_reason) is not null then private.reason_error(p_reason)
        when length(p_reason) > 500 then private.reason_error(p_reason) end;
$$;

-- Lock everything that deciding some approvals touches, in the order that all callers keep.
create function private.lock_for_decision(p_ids uuid[])
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.lock_gate(array(select a.profile_id from public.operator_approvals a where a.id = any (p_ids)));
    perform private.apply_due();
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select a.profile_id from public.operator_approvals a where a.id = any (p_ids))
      order by c.profile_id for update;
end;
$$;

-- Approve or reject one entry, once. The gate judges again before an approved entry is released.
-- Called by: operators and admins. Errors: FORBIDDEN, FOUR_EYES, INVALID, NOT_FOUND, CONFLICT, APPROVAL_EXPIRED.
create function public.decide_approval(p_approval_id uuid, p_decision text, p_reason text default null,
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
    v_answer := private.answered(p_request_id, 'decide_approval', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.decide_one(p_approval_id, p_decision, p_reason, p_shown_hash);
    return case when v_answer ? 'success' then private.answer(p_request_id, 'decide_approval', v_target, v_answer) else v_answer end;
end;
$$;

-- Decide several at once; each stands or falls by itself, and the answers come in the order of the ids.
-- Called by: operators and admins.
create function public.decide_approvals(p_approval_ids uuid[], p_decision text, p_reason text default null, p_request_id uuid default null)
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
    v_answer := private.answered(p_request_id, 'decide_approvals', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    foreach v_id in array p_approval_ids loop
        v_answers := v_answers || jsonb_build_array(jsonb_build_object('id', v_id, 'success', false)
                                                    || private.decide_one(v_id, p_decision, p_reason, null));
    end loop;
    perform set_config('response.status', '200', true);  -- refusals are told in the answers
    return private.answer(p_request_id, 'decide_approvals', v_target, jsonb_build_object('success', true, 'decisions', v_answers));
end;
$$;

revoke execute on function public.expire_stale_approvals(text, bigint) from public, anon, authenticated;

revoke execute on function public.decide_approval(uuid, text, text, text, uuid) from public, anon;

revoke execute on function public.decide_approvals(uuid[], text, text, uuid) from public, anon;

grant execute on function public.expire_stale_approvals(text, bigint) to service_role;

grant execute on function public.decide_approval(uuid, text, text, text, uuid) to authenticated, service_role;

grant execute on function public.decide_approvals(uuid[], text, text, uuid) to authenticated, service_role;

comment on function public.expire_stale_approvals(text, bigint) is 'End approvals that nobody decided in time. Engine only.';

comment on function public.decide_approval(uuid, text, text, text, uuid) is
    'Approve or reject an entry, once; the gate judges again at the release. Operators and admins.';

comment on function public.decide_approvals(uuid[], text, text, uuid) is 'Decide several approvals at once. Operators and admins.';

create policy "owners and staff read decisions"
    on public.decision_log for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

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

-- Judge a snapshot. Pure. Every rule is evaluated, in the order in which the first failure counts; a comparison
-- with a limit that is not set, or with what is not known, has not passed.
create function private.gate_passes(s private.gate_snapshot)
    returns boolean[]
    language plpgsql
    immutable
    set search_path = ''
as $$
begin
    return array[
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
end;
$$;

-- The list of checks: each rule's name, limit, observed value and whether it passed. Pure. One formatted text,
-- because building the list value by value takes five times as long; what is NULL leaves a gap that is filled.
create function private.gate_checks(s private.gate_snapshot)
    returns json
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    p boolean[] := private.gate_passes(s);
    v_checks text;
begin
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
create or replace function public.request_entries(p_shard text, p_token bigint, p_requests jsonb)
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

-- Permits: the right to send one order until a deadline, and the broker's answers.

-- Issue permits: exits first, entries only while nothing in their scope is paused or halted.
-- Called by: the engine. Errors: LEASE_LOST.
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
             order by (r.purpose = 'entry'), r.created_at, r.id
             limit least(greatest(coalesce(p_limit, 50), 1), 500)
             for update skip locked)
        returning o.*;
end;
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
    v_changed := v_state <> o.state or v_filled > o.filled_qty or o.broker_status is distinct from b ->> 'status';
    if v_changed and not (private.is_terminal(o.state) and v_filled <= o.filled_qty) then
        update public.orders u
           set state = v_state,
               broker_order_id = coalesce(u.broker_order_id, b ->> 'broker_order_id'),
               broker_status = b ->> 'status',
               broker_updated_at = greatest(u.broker_updated_at, (b ->> 'updated_at')::timestamptz),
               accepted_at = coalesce(u.accepted_at, clock_timestamp()),
               filled_qty = greatest(u.filled_qty, v_filled),
               filled_avg_price = case when v_filled >= u.filled_qty then coalesce((b ->> 'filled_avg_price')::numeric, u.filled_avg_price)
                                       else u.filled_avg_price end,
               reserved_usd = u.reserved_usd - v_release,
               reason = coalesce(b ->> 'reason', u.reason)
         where u.id = p_order_id;
    else
        v_changed := false;
    end if;
    return v_changed;
end;
$$;

create function private.apply_submission(p jsonb, p_shard text)
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
        update public.orders u set broker_request_id = coalesce(p ->> 'request_id', u.broker_request_id) where u.id = o.id;
        perform private.apply_broker_order(o.id, p -> 'order');
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

-- Record what came of sending. accepted: the broker's order; rejected: its definitive no; unknown: ambiguous;
-- not_sent: the permit is handed back. Called by: the engine. Errors: LEASE_LOST, NOT_FOUND, INVALID.
create or replace function public.record_submission(p_shard text, p_token bigint, p_results jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_result jsonb;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_controls(p_exclusive => false);  -- a pause waits for this, or sees what it settles
    perform private.lock_capital_of(
        (select array_agg(private.as_uuid(e.value ->> 'id')) from jsonb_array_elements(p_results) e), '{}');
    for v_result in select e.value from jsonb_array_elements(p_results) e loop
        v_answers := v_answers || private.apply_submission(v_result, p_shard);
    end loop;
    perform private.settle_quiescence();
    return v_answers;
end;
$$;

create function private.apply_update(b jsonb, p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_id uuid;
    v_changed boolean;
begin
    select o.id into v_id from public.orders o
     where o.id = private.as_uuid(b ->> 'client_order_id') or o.broker_order_id = b ->> 'broker_order_id'
     order by (o.broker_order_id = b ->> 'broker_order_id') is true desc limit 1;
    if v_id is null then
        return jsonb_build_object('id', null, 'client_order_id', b ->> 'client_order_id', 'state', null, 'changed', false);
    end if;
    if (select o.shard from public.orders o where o.id = v_id) <> p_shard then
        -- Another engine's order in the same account: known, and that engine's to record.
        return (select jsonb_build_object('id', o.id, 'state', o.state, 'changed', false, 'late', false) from public.orders o where o.id = v_id);
    end if;
    v_changed := private.apply_broker_order(v_id, b);
    v_changed := private.apply_legs(v_id, b -> 'legs') or v_changed;
    return (select jsonb_build_object('id', o.id, 'state', o.state, 'changed', v_changed,
                -- Ended on our side, alive at the broker: the engine has to cancel it.
                'late', private.is_terminal(o.state) and o.state not in ('filled', 'replaced')
                        and not private.is_terminal(private.state_of(b ->> 'status', 0)))
            from public.orders o where o.id = v_id);
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
        (select array_agg(e.value ->> 'broker_order_id') from jsonb_array_elements(p_updates) e));
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
create function public.set_member_role(p_user_id uuid, p_role text, p_reason text, p_request_id uuid default null)
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
    v_answer := private.answered(p_request_id, 'set_member_role', v_target);
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
        'user_id', m.user_id, 'email', m.email, 'role', p_role));
end;
$$;

revoke execute on function public.set_member_role(uuid, text, text, uuid) from public, anon;

grant execute on function public.set_member_role(uuid, text, text, uuid) to authenticated, service_role;

comment on function public.set_member_role(uuid, text, text, uuid) is 'Give a member another role, from its next call on. Admins only.';

-- Why, or why not: the gate's own answer for a symbol right now, without asking for an entry.

-- Judge an entry of one share at the last known price for each of the caller's profiles that trade the symbol.
-- What only a real request can know (its signal, its quote's age) counts as fresh.
-- Called by: any member. Errors: FORBIDDEN, INVALID, NOT_FOUND.
create function public.why(p_symbol text, p_profile_id uuid default null, p_side text default 'buy', p_qty numeric default 1,
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
                'profile_id', r.profile_id, 'profile', f.name, 'symbol', v_symbol, 'side', p_side, 'qty', p_qty, 'price', v_price,
                'code', private.gate_code(c.checks), 'reason', private.gate_reason(c.checks), 'checks', c.checks,
                'approval', case when private.gate_code(c.checks) is null then to_jsonb(private.approval_reasons(v_risk.config, s.snapshot)) end,
                'lock_reason', (s.snapshot).lock_reason, 'config_version', v_risk.version, 'judged_at', clock_timestamp())
                order by s.n)
            from private.gate_snapshots(v_asked, v_risk.config, clock_timestamp()) s
            join unnest(v_asked) r on r.position = s.n
            join public.profiles f on f.id = r.profile_id
            cross join lateral (select private.gate_checks(s.snapshot) as checks) c);
end;
$$;

revoke execute on function public.why(text, uuid, text, numeric, numeric) from public, anon;

grant execute on function public.why(text, uuid, text, numeric, numeric) to authenticated, service_role;

comment on function public.why(text, uuid, text, numeric, numeric) is
    'The gate''s answer for a symbol right now, for each profile that the caller sees. Any member.';

-- Retention: how long what grows without end is kept. Nothing goes unless the risk configuration's section
-- `retention` says so; orders, fills, trades and the audit log are kept for good.

-- Remove rows that are older than the configuration keeps them, at most p_limit of each kind; answers how many
-- went of each. Called by: the engine, until nothing is left to remove. Errors: LEASE_LOST.
create function public.prune_history(p_shard text, p_token bigint, p_limit int default 10000)
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

    perform set_config('interlock.pruning', 'decision_log', true);
    delete from public.decision_log d where d.id in (
        select n.id from public.decision_log n
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
    return jsonb_build_object('decisions', v_decisions, 'order_events', v_events, 'bars', v_bars);
end;
$$;

revoke execute on function public.prune_history(text, bigint, int) from public, anon, authenticated;

grant execute on function public.prune_history(text, bigint, int) to service_role;

comment on function public.prune_history(text, bigint, int) is
    'Remove decisions, order events and intraday bars that are older than the configuration keeps them. Engine only.';

-- Limits that are new take their shipped defaults, so that an installation trades on after the upgrade; what it
-- has set itself stays as it is.
with old as (
    update public.risk_configs r set active = false where r.active returning r.config
)
insert into public.risk_configs (config, reason)
select d.config || (select jsonb_object_agg(k.key, case when jsonb_typeof(d.config -> k.key) = 'object' and jsonb_typeof(o.config -> k.key) = 'object'
                                                        then d.config -> k.key || (o.config -> k.key) else o.config -> k.key end)
                    from jsonb_object_keys(o.config) k (key)),
       'Shipped defaults for the limits that are new'
from old o cross join (select private.default_risk_config() as config) d;
