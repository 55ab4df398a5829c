-- The control functions: pause, resume, halt, and what everyone sees of them.

-- What the caller may see of the controls. Called by: any member, the engine.
-- Errors: FORBIDDEN (403) for a signed-in user who is no member.
create function public.trading_status()
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
revoke execute on function public.trading_status() from public, anon;
grant execute on function public.trading_status() to authenticated, service_role;
comment on function public.trading_status() is
    'Effective mode per scope, who, when, why, entries in flight, quiescence, engine heartbeat. Any member.';

-- Open permits as a member may know them: ids and deadlines, but no other tenant's symbols.
create function private.in_flight_list()
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'order_id', o.id, 'state', o.state, 'permit_deadline', o.permit_deadline,
        'symbol', case when private.is_engine() or private.is_staff() or o.owner_id = auth.uid() then o.symbol end)
        order by o.submitted_at), '[]')
    from private.entries_in_flight('global', '*') o;
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

create function private.restricted_scopes()
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
create function private.next_change()
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

-- The oldest heartbeat speaks for all: one dead shard is a dead engine to whoever reads the badge.
create function private.engine_status()
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(
        (select jsonb_build_object(
            'alive', clock_timestamp() - h.beat_at < interval '15 seconds',
            'age_s', round(extract(epoch from clock_timestamp() - h.beat_at), 3),
            'beat_at', h.beat_at, 'market_at', h.market_at, 'holder', h.holder, 'version', h.version)
         from public.engine_heartbeats h order by h.beat_at limit 1),
        jsonb_build_object('alive', false, 'age_s', null, 'beat_at', null, 'market_at', null,
                           'holder', null, 'version', null));
$$;

-- Cancel the entries of a scope that were not sent yet and ask for the cancellation, by id, of those
-- that rest at the broker. Protective orders are not entries and are never touched.
create function private.cancel_entries(p_scope public.control_scope, p_scope_key text, p_why text)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_canceled int;
begin
    perform 1 from public.profile_capital c
      where c.profile_id in (select o.profile_id from public.orders o
                              where o.purpose = 'entry' and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol)
                                and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled'))
      order by c.profile_id for update;
    update public.orders o
       set state = 'canceled', reason = p_why
     where o.purpose = 'entry' and o.state in ('ready', 'awaiting_approval')
       and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol);
    get diagnostics v_canceled = row_count;
    update public.orders o
       set cancel_requested_at = clock_timestamp(), reason = p_why
     where o.purpose = 'entry' and o.state in ('submitting', 'unknown', 'working', 'partially_filled')
       and o.cancel_requested_at is null
       and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol);
    return v_canceled;
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

-- The scope's key in its one spelling, or NULL when it names nothing known.
create function private.control_key(p_scope public.control_scope, p_scope_key text)
    returns text
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select case p_scope
        when 'global' then case when coalesce(nullif(p_scope_key, ''), '*') = '*' then '*' end
        when 'profile' then (select p.id::text from public.profiles p where p.id = private.as_uuid(p_scope_key))
        when 'symbol' then (select upper(trim(p_scope_key)) from public.profiles p
                            where upper(trim(p_scope_key)) = any (p.symbols) limit 1)
    end;
$$;

-- Why a control request cannot be accepted as it is written; NULL when it can.
create function private.control_request_error(p_scope text, p_scope_key text, p_reason text, p_reason_code text,
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

    -- What a schedule or a drill has stopped, and a person stops too, is the person's from then on.
    v_changes := v_now.mode <> p_to or p_to <> 'RUNNING' and (v_now.schedule_id is not null
                 or v_now.reason_code = 'drill' and p_reason_code is distinct from 'drill');
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

-- Stop entries. Open positions keep their protective orders and can still be closed.
-- Called by: admins. Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create function public.pause_trading(
    p_reason text, p_request_id uuid default null, p_scope text default 'global', p_scope_key text default null,
    p_reason_code text default 'manual', p_resume_at timestamptz default null, p_cancel_entries boolean default true,
    p_expected_version int default null)
    returns jsonb
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select private.control('PAUSED', 'pause_trading', p_reason, p_request_id, p_scope, p_scope_key, p_reason_code,
                           p_resume_at, coalesce(p_cancel_entries, true), p_expected_version);
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

-- Stop everything but cancels; exits too. Protective orders at the broker stay. Called by: admins.
create function public.halt_trading(
    p_reason text, p_request_id uuid default null, p_scope text default 'global', p_scope_key text default null,
    p_reason_code text default 'manual', p_expected_version int default null)
    returns jsonb
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select private.control('HALTED', 'halt_trading', p_reason, p_request_id, p_scope, p_scope_key, p_reason_code,
                           null, true, p_expected_version);
$$;

-- Not revoked from authenticated non-admins: their attempt must reach the function to be recorded.
revoke execute on function public.pause_trading(text, uuid, text, text, text, timestamptz, boolean, int) from public, anon;
revoke execute on function public.resume_trading(text, uuid, text, text, text, int, text, int, numeric) from public, anon;
revoke execute on function public.halt_trading(text, uuid, text, text, text, int) from public, anon;
grant execute on function public.pause_trading(text, uuid, text, text, text, timestamptz, boolean, int) to authenticated, service_role;
grant execute on function public.resume_trading(text, uuid, text, text, text, int, text, int, numeric) to authenticated, service_role;
grant execute on function public.halt_trading(text, uuid, text, text, text, int) to authenticated, service_role;
comment on function public.pause_trading(text, uuid, text, text, text, timestamptz, boolean, int) is
    'No new entries in the scope until resumed; unsent entries are cancelled. Admins only, idempotent by request id.';
comment on function public.resume_trading(text, uuid, text, text, text, int, text, int, numeric) is
    'Entries may flow again, once the pre-flight list is met or overridden; staged if asked. Admins only.';
comment on function public.halt_trading(text, uuid, text, text, text, int) is 'Nothing but cancels in the scope. Admins only.';

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
create function private.resume_due()
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
