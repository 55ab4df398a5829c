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
