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
