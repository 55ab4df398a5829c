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
create policy "members read the schedules, but of profiles their own alone, staff read all"
    on public.control_schedules for select to authenticated
    using ((select private.is_staff()) or scope <> 'profile' and (select private.caller_role()) is not null
           or scope_key = any (array(select f.id::text from public.profiles f where f.owner_id = (select private.caller_id()))));

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
    from private.schedule_windows(s, p_now, p_now + interval '16 days') w  -- a week's window may fall into an hour that is skipped
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

-- Whether a time zone is known by this name. Tried, not looked up: the list of all names takes 50 ms to read. Names such
-- as UTC+5 are refused: to the database that is five hours behind UTC, as to no person who writes it.
create function private.is_time_zone(p_name text)
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
    v_in_a_drill boolean;
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
    v_in_a_drill := c.reason_code = 'drill' and c.mode <> 'RUNNING';  -- which only starts while trading runs, and ends
    if coalesce(c.mode, 'RUNNING') < s.mode or v_in_a_drill then
        update public.control_schedules n
           set resumes_to = case when v_in_a_drill then 'RUNNING' when c.schedule_id is null then coalesce(c.mode, 'RUNNING')
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
create function private.apply_due(p_conditions boolean default false)
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
