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
    -- Prices move the loss from second to second: what was told is over only when it is clearly less.
    where f.active and l.limit_usd > 0
      and l.loss_usd >= l.limit_usd * b.daily_loss_fraction * case when exists (
              select 1 from public.alerts a where a.rule = 'DAILY_LOSS_NEAR' and a.subject = f.id::text and a.resolved_at is null)
          then 0.9 else 1 end;
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
