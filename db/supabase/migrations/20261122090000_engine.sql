-- What the engine needs to be killed anywhere and lose nothing. Made from db/schema; the two build the same database.

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
    rule             text,                           -- NULL: every rule
    subject          text,                           -- NULL: every subject
    reason           text not null,
    starts_at        timestamptz not null,
    expires_at       timestamptz not null,
    created_by       uuid,
    created_by_email text not null,
    removed_at       timestamptz,
    removed_by_email text,
    removed_reason   text,
    check (rule is not null or subject is not null)
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

-- Whether notices of an alert are held back now.
create function private.is_muted(p_rule text, p_subject text, p_now timestamptz)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select exists (select 1 from public.alert_mutes m
                   where m.removed_at is null and m.starts_at <= p_now and p_now < m.expires_at
                     and coalesce(m.rule, p_rule) = p_rule and coalesce(m.subject, p_subject) = p_subject);
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
    v_rule text := nullif(private.trimmed(p_rule), '');
    v_subject text := nullif(private.trimmed(p_subject), '');
    v_target text := 'alert:' || left(coalesce(v_rule, '*') || ':' || coalesce(v_subject, '*'), 120);
    v_error text := case
        when v_rule is null and v_subject is null then 'Say what to mute: a rule, a subject, or both.'
        when not coalesce(v_rule = any (private.alert_rules()), true)
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
    v_answer := private.answered(p_request_id, 'mute_alert', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    insert into public.alert_mutes (rule, subject, reason, starts_at, expires_at, created_by, created_by_email)
    values (v_rule, v_subject, private.trimmed(p_reason), clock_timestamp(), clock_timestamp() + make_interval(mins => p_minutes),
            auth.uid(), private.actor_email())
    returning * into m;
    perform private.audit('mute_alert', v_target, 'done', m.reason, to_jsonb(m));
    return private.answer(p_request_id, 'mute_alert', v_target, jsonb_build_object('success', true, 'mute', to_jsonb(m)));
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
-- another exit of the trade has been sent meanwhile, it counts as over: still alive at the broker, it is cancelled
-- there as a late one, and what it filled is booked all the same.
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
           private.positive(p ->> 'qty'), p ->> 'order_type',
           case p ->> 'order_type' when 'market' then 'day' else 'gtc' end,
           private.positive(p ->> 'limit_price'), private.positive(p ->> 'stop_price'),
           case when d.is_second then 'canceled' else 'submitting' end::public.order_state,
           case when d.is_second then 'DUPLICATE_ORDER' end,
           left(p ->> 'reason', 500), coalesce(p ->> 'exit_reason', v_purpose::text), t.id,
           (p ->> 'market_at')::timestamptz, p_token, v_now, v_now, v_now, v_now, case when d.is_second then v_now end
    from public.trades t
    join public.profiles f on f.id = t.profile_id
    cross join lateral (select v_purpose = 'exit' and exists (
        select 1 from public.orders o where o.trade_id = t.id and o.purpose = 'exit' and o.id <> v_id
           and o.state in ('submitting', 'unknown', 'working', 'partially_filled')) as is_second) d
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
-- that is not the newest settles nothing. Answers what each is now. Called by: engines and the watcher.
create function public.settle_notifications(p_results jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    if jsonb_typeof(p_results) is distinct from 'array'
       or exists (select 1 from jsonb_array_elements(p_results) e
                  where jsonb_typeof(e.value) <> 'object' or private.as_uuid(e.value ->> 'id') is null
                     or coalesce(e.value ->> 'token', '') !~ '^[0-9]{1,15}$'
                     or coalesce(jsonb_typeof(e.value -> 'delivered_to'), 'array') not in ('array', 'null')
                     or coalesce(jsonb_typeof(e.value -> 'error'), 'null') not in ('string', 'null')) then
        perform private.fail(422, 'INVALID', 'p_results must be an array of results with id, token, delivered_to and error.');
    end if;
    return (
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
             where n.id = r.id and n.token = r.token and n.status = 'sending'
            returning n.id, n.status
        )
        select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'settled', s.id is not null, 'status', s.status)), '[]')
        from results r left join settled s on s.id = r.id);
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

revoke execute on function public.claim_notifications(text, int, int) from public, anon, authenticated;

revoke execute on function public.settle_notifications(jsonb) from public, anon, authenticated;

revoke execute on function public.test_alert(uuid) from public, anon;

grant execute on function public.claim_notifications(text, int, int) to service_role;

grant execute on function public.settle_notifications(jsonb) to service_role;

grant execute on function public.test_alert(uuid) to authenticated;

comment on function public.claim_notifications(text, int, int) is 'Claim notices that are due, under a fencing token. Engine only.';

comment on function public.settle_notifications(jsonb) is 'Say what came of claimed notices. Engine only; an older token settles nothing.';

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
    select array['APPROVAL_EXPIRING', 'AUDIT_CHAIN_BROKEN', 'BROKER_BLOCKED', 'CONTROL_FLAPPING', 'DAILY_LOSS_NEAR', 'ENGINE_DEAD',
                 'ENTRY_AFTER_PAUSE', 'JOB_LATE', 'LIVE_WITHOUT_NOTIFIER', 'NOTICE_UNDELIVERED', 'ORDER_UNKNOWN', 'PAUSED_LONG',
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

create function private.utc_text(p_at timestamptz)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
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
               coalesce((select max(e.changed_at) from public.trading_control_events e
                         where e.scope = c.scope and e.scope_key = c.scope_key and e.from_mode = 'RUNNING' and e.to_mode <> 'RUNNING'),
                        c.changed_at) as stopped_at,
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

-- ENGINE_DEAD, JOB_LATE, BROKER_BLOCKED: told by any engine but the dead one, or by whoever else looks.
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
    where h.beat_at > p_now - b.engine_silent and h.detail -> 'broker_blocked' = 'true';
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
    select 'RECONCILIATION_BREAK', d.shard || ':' || d.key, 'critical', null, null, d.symbol,
           format('Our books and the broker''s differ%s: %s.', coalesce(' in ' || d.symbol, ''), d.kind),
           d.detail || jsonb_build_object('kind', d.kind, 'found_at', d.first_seen_at)
    from public.reconciliation_findings d
    where d.status = 'open' and d.kind not in ('ENTRY_AFTER_PAUSE', 'POSITION_UNPROTECTED');
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
    cross join lateral (
        select coalesce((select d.equity_usd from public.equity_daily d
                         where d.profile_id = f.id
                           and d.session_date < (coalesce(h.market_at, p_now) at time zone 'America/New_York')::date
                         order by d.session_date desc limit 1), c.capital_usd) - private.equity_of(c) as loss_usd,
               ((private.active_risk_config()).config #>> '{loss_limits,daily_loss_max_pct}')::numeric * c.capital_usd as limit_usd) l
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

-- What is wrong with one row of the audit log; NULL when it follows on the one before it and holds what was written.
create function private.audit_row_problem(a public.audit_log)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when a.prev_hash is distinct from coalesce((select p.hash from public.audit_log p where p.tenant = a.tenant and p.id < a.id
                                                    order by p.id desc limit 1), sha256(''))
            then format('row %s does not follow on the row before it: one was removed, added or replaced.', a.id)
        when a.hash is distinct from private.audit_hash(a.prev_hash, a)
            then format('the content of row %s was changed after it was written.', a.id) end;
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
    select 'rows are missing at the end of a chain: it is shorter than its head says.' into w.audit_broken_why
    from private.audit_chain_heads h
    where h.length > 0
      and h.hash is distinct from (select a.hash from public.audit_log a where a.tenant = h.tenant order by a.id desc limit 1)
    limit 1;
    if found then
        w.audit_broken_id := 0;
        return w;
    end if;
    select private.audit_row_problem(a) into w.audit_broken_why from public.audit_log a where a.id = w.audit_broken_id;
    if w.audit_broken_why is not null then
        return w;
    end if;
    select max(n.id) as last_id, count(*) as rows, min(n.id) filter (where n.problem is not null) as broken_id,
           (array_agg(n.problem order by n.id) filter (where n.problem is not null))[1] as problem
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

-- What happened since the cursors: changes of mode, stages of the shard's orders, and how things stand. Without
-- cursors it answers where they start. The last two seconds are left for the next call, so that a transaction which
-- commits a little later is not passed over. Called by: engines.
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
    v_control bigint := coalesce(p_control_after, (select max(e.id) from public.trading_control_events e), 0);
    v_order bigint := coalesce(p_order_after, (select max(e.id) from public.order_events e), 0);
begin
    return (
        with changes as (
            select e.*, e.changed_at - (
                       select max(s.changed_at) from public.trading_control_events s
                       where s.scope = e.scope and s.scope_key = e.scope_key and s.id < e.id
                         and s.from_mode = 'RUNNING' and s.to_mode <> 'RUNNING') as stopped_for
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
                    'stopped_s', case when c.to_mode = 'RUNNING' then extract(epoch from c.stopped_for) end) order by c.id), '[]')
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
