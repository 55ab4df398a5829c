-- Permits: the right to send one order until a deadline, and the broker's answers.

-- Issue permits: exits first, entries only while nothing in their scope is paused or halted, and to no engine
-- that is older than the schema. Called by: the engine. Errors: LEASE_LOST, ENGINE_OUTDATED.
create function public.claim_orders(p_shard text, p_token bigint, p_limit int default 50, p_purpose text default null)
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

-- Our state for the broker's status. Statuses that end nothing, known or new, are working.
create function private.state_of(p_status text, p_filled_qty numeric)
    returns public.order_state
    language sql
    immutable
as $$
    select case
        when p_status in ('filled', 'canceled', 'expired', 'rejected', 'replaced') then p_status::public.order_state
        when p_filled_qty > 0 then 'partially_filled'
        else 'working' end;
$$;

-- Take over what the broker says about one order: fills first, then the state; never backwards.
-- Answers whether anything changed. The caller holds the profile's capital row.
create function private.apply_broker_order(p_order_id uuid, b jsonb)
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

-- Legs that the broker made for a bracket become orders of their own the first time they are seen.
create function private.apply_legs(p_parent_id uuid, p_legs jsonb)
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
        select o.id into v_id from public.orders o where o.broker_order_id = v_leg ->> 'broker_order_id';
        if not found then
            v_id := coalesce(private.as_uuid(v_leg ->> 'broker_order_id'), gen_random_uuid());
            insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
                order_class, time_in_force, limit_price, stop_price, state, exit_reason, trade_id, parent_id,
                broker_order_id, broker_status, market_at, created_at, updated_at, submitted_at, accepted_at)
            select v_id, o.owner_id, o.profile_id, o.shard, o.symbol, (v_leg ->> 'side')::public.order_side, o.position_side,
                   case when v_leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end::public.order_purpose,
                   (v_leg ->> 'qty')::numeric, v_leg ->> 'type', o.order_class, o.time_in_force,
                   (v_leg ->> 'limit_price')::numeric, (v_leg ->> 'stop_price')::numeric, 'working',
                   case when v_leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end,
                   o.trade_id, o.id, v_leg ->> 'broker_order_id', null, o.market_at,
                   clock_timestamp(), clock_timestamp(), o.submitted_at, clock_timestamp()
            from public.orders o where o.id = p_parent_id;
        end if;
        v_changed := private.apply_broker_order(v_id, v_leg) or v_changed;
    end loop;
    return v_changed;
end;
$$;

-- Lock the capital of every profile that a batch touches, in one order for all callers.
create function private.lock_capital_of(p_ids uuid[], p_broker_ids text[])
    returns void
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select 1 from public.profile_capital c
     where c.profile_id in (select o.profile_id from public.orders o
                             where o.id = any (p_ids) or o.broker_order_id = any (p_broker_ids))
     order by c.profile_id for update;
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
create function public.record_submission(p_shard text, p_token bigint, p_results jsonb)
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
create function public.record_order_updates(p_shard text, p_token bigint, p_updates jsonb)
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

revoke execute on function public.claim_orders(text, bigint, int, text) from public, anon, authenticated;
revoke execute on function public.record_submission(text, bigint, jsonb) from public, anon, authenticated;
revoke execute on function public.record_order_updates(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.claim_orders(text, bigint, int, text) to service_role;
grant execute on function public.record_submission(text, bigint, jsonb) to service_role;
grant execute on function public.record_order_updates(text, bigint, jsonb) to service_role;
comment on function public.claim_orders(text, bigint, int, text) is 'Issue permits to send; entries only while RUNNING. Engine only.';
comment on function public.record_submission(text, bigint, jsonb) is 'Record what came of sending each order. Engine only.';
comment on function public.record_order_updates(text, bigint, jsonb) is 'Take over the broker''s view, monotone and idempotent. Engine only.';
