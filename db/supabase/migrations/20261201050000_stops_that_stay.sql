-- An exit that was sent without the database and came to nothing does not undo one that waits. Whoever stops trading
-- during a drill has stopped it. A loss near its limit is told once. Made from db/schema; the two build the same database.

-- What this schema is called and the oldest engine that may open positions on it. `schema` is the version of
-- the newest migration; raise `oldest_engine` where an older one would decide or record something wrongly.
-- Called by: an engine at its start.
create or replace function public.schema_version()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('schema', '20261201050000', 'oldest_engine', '0.2.0');
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

-- Whether one such exit may be at work, or has filled what nobody has booked: then nothing else may close its trade now.
create function private.offline_exit_counts(p jsonb)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(private.positive(p #>> '{order,filled_qty}'), 0) > coalesce(k.filled_qty, 0)
        or (not coalesce(private.is_terminal(k.state), false)
            and (p ->> 'outcome' = 'unknown'
                 or p ->> 'outcome' = 'accepted' and not private.is_terminal(private.state_of(p #>> '{order,status}', 0))))
    from (values ((p ->> 'id')::uuid)) e (id) left join public.orders k on k.id = e.id;
$$;

-- Have the order of one such exit: as it was asked for already, or new. It was sent, so it is under way. Where
-- another exit of the trade has been sent meanwhile, or waits while this one came to nothing, or nothing is held any
-- more, it counts as over: still alive at the broker, it is cancelled there as a late one, and what it filled is booked
-- all the same. One of which nobody knows whether it was sent may be sent again, so it is for no more than is held.
create or replace function private.have_offline_exit(p jsonb, p_shard text, p_token bigint)
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
    if v_purpose = 'exit' and private.offline_exit_counts(p) then  -- what nobody has sent yet gives way to it
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
               and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) then 'DUPLICATE_ORDER'
        when n.trade_id is null then 'NO_POSITION' end as code) d
    where t.id = (p ->> 'trade_id')::uuid
    on conflict (id) do nothing;
end;
$$;

-- POSITION_UNPROTECTED, DAILY_LOSS_NEAR.
create or replace function private.alerts_of_positions(p_now timestamptz, b private.alert_bounds)
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
