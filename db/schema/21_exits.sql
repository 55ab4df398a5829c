-- Exits: closing, reducing and protecting open positions. Never gated by pause, limits or approval;
-- only a halt, which leaves nothing but cancels, refuses them.

-- What is wrong with one exit request; NULL when it is well formed.
create function private.exit_request_error(p jsonb, p_shard text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when private.as_uuid(p ->> 'id') is null then 'id must be a uuid'
        when not exists (select 1 from public.trades t join public.profiles f on f.id = t.profile_id
                         where t.id = private.as_uuid(p ->> 'trade_id') and f.shard = p_shard)
            then format('trade %s does not exist in shard %s', p ->> 'trade_id', p_shard)
        when p ->> 'qty' is not null and private.positive(p ->> 'qty') is null then 'qty must be a number above 0, or absent for all'
        when coalesce(p ->> 'order_type', 'market') not in ('market', 'limit', 'stop') then 'order_type must be market, limit or stop'
        when p ->> 'order_type' = 'limit' and private.price(p ->> 'limit_price') is null then 'a limit exit needs a limit_price above 0'
        when p ->> 'order_type' = 'stop' and private.price(p ->> 'stop_price') is null then 'a stop exit needs a stop_price above 0'
        when coalesce(p ->> 'purpose', 'exit') not in ('exit', 'stop_loss') then 'purpose must be exit or stop_loss'
        when p ->> 'replaces_broker_id' is not null and (p ->> 'purpose' is distinct from 'stop_loss' or p ->> 'order_type' is distinct from 'stop')
            then 'only a stop can take another stop''s place'
    end;
$$;

-- How many shares the resting stops and targets of a trade would sell, and those on their way; a bracket's pair
-- sells the same shares once, less what either has filled. A stop that another one replaces is not counted.
create function private.reserved_by_legs(p_trade_id uuid)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    with legs as (
        select coalesce(o.parent_id, o.id) as pair, o.qty, o.filled_qty
        from public.orders o
        where o.trade_id = p_trade_id and o.purpose in ('stop_loss', 'take_profit')
          and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')
          and not exists (select 1 from public.orders n where n.trade_id = p_trade_id and n.replaces_broker_id = o.broker_order_id
                          and n.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled'))
    )
    select coalesce(sum(g.qty), 0) from (select greatest(max(l.qty) - sum(l.filled_qty), 0) as qty from legs l group by l.pair) g;
$$;

-- Why an exit of an open position is not accepted now: a code and a sentence; NULL when it is.
create function private.exit_denial(n public.positions, p jsonb)
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select case
        when private.effective_mode(n.profile_id, n.symbol) = 'HALTED' then
            jsonb_build_object('code', 'TRADING_HALTED', 'reason', 'Trading is halted: nothing but cancels.')
        when exists (select 1 from public.orders o where o.trade_id = n.trade_id and o.purpose = 'exit'
                      and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) then
            jsonb_build_object('code', 'DUPLICATE_ORDER', 'reason', 'An exit of this trade is already under way.')
        when p ->> 'replaces_broker_id' is not null then (
            select jsonb_build_object('code', 'STOP_GONE', 'reason', 'The stop to be moved no longer rests at the broker, or is being moved.')
            where not exists (select 1 from public.orders o where o.trade_id = n.trade_id and o.purpose = 'stop_loss'
                               and o.broker_order_id = p ->> 'replaces_broker_id' and o.state in ('working', 'partially_filled'))
               or exists (select 1 from public.orders o where o.replaces_broker_id = p ->> 'replaces_broker_id'
                           and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')))
        when p ->> 'purpose' = 'stop_loss' and private.reserved_by_legs(n.trade_id) >= n.qty then
            jsonb_build_object('code', 'ALREADY_PROTECTED', 'reason', 'Resting orders already cover the whole position.')
    end;
$$;

-- Decide one exit. A stop never sells more than resting orders leave over; an exit cancels stops that were not
-- sent. The caller holds the profile's capital row.
create function private.decide_exit(p jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_order public.orders;
    v_position public.positions;
    v_purpose public.order_purpose := coalesce(p ->> 'purpose', 'exit');
    v_moved public.orders;
    v_denial jsonb;
    v_qty numeric;
begin
    select o.* into v_order from public.orders o where o.id = (p ->> 'id')::uuid;
    if found then
        return jsonb_build_object('id', v_order.id, 'state', v_order.state, 'code', v_order.code, 'reason', v_order.reason);
    end if;
    select n.* into v_position from public.positions n where n.trade_id = (p ->> 'trade_id')::uuid;
    v_denial := case when found then private.exit_denial(v_position, p)
                     else jsonb_build_object('code', 'NO_POSITION', 'reason', 'The trade has nothing left to close.') end;
    if v_denial is not null then
        return jsonb_build_object('id', p ->> 'id', 'state', 'denied') || v_denial;
    end if;
    v_qty := least(coalesce(private.positive(p ->> 'qty'), v_position.qty), v_position.qty);
    if p ->> 'replaces_broker_id' is not null then
        select o.* into v_moved from public.orders o where o.broker_order_id = p ->> 'replaces_broker_id';
        v_qty := v_moved.qty - v_moved.filled_qty;
    elsif v_purpose = 'stop_loss' then
        v_qty := least(v_qty, v_position.qty - private.reserved_by_legs(v_position.trade_id));
    else
        update public.orders o set state = 'canceled', reason = 'An exit takes its place.'
         where o.trade_id = v_position.trade_id and o.purpose = 'stop_loss' and o.state = 'ready';
    end if;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        order_class, time_in_force, limit_price, stop_price, reference_price, state, reason, exit_reason, trade_id, parent_id,
        replaces_broker_id, market_at, created_at, updated_at)
    select (p ->> 'id')::uuid, f.owner_id, f.id, f.shard, v_position.symbol,
           case v_position.side when 'long' then 'sell' else 'buy' end::public.order_side, v_position.side, v_purpose, v_qty,
           coalesce(p ->> 'order_type', 'market'), 'simple',
           -- The broker takes parts of shares for the day only: such a stop is placed again each day.
           case when coalesce(p ->> 'order_type', 'market') = 'market' or v_qty <> trunc(v_qty) then 'day' else 'gtc' end,
           private.price(p ->> 'limit_price'), private.price(p ->> 'stop_price'),
           private.price(p ->> 'reference_price'), 'ready', left(p ->> 'reason', 500),
           coalesce(p ->> 'exit_reason', v_purpose::text), v_position.trade_id, v_moved.parent_id,
           p ->> 'replaces_broker_id', (p ->> 'market_at')::timestamptz, clock_timestamp(), clock_timestamp()
    from public.profiles f where f.id = v_position.profile_id
    returning * into v_order;
    return jsonb_build_object('id', v_order.id, 'state', v_order.state, 'code', null, 'reason', v_order.reason);
end;
$$;

-- Accept exits. The same id sent again answers the same and does nothing; one open exit per trade.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any request is malformed, and then nothing changes.
create function public.request_exits(p_shard text, p_token bigint, p_requests jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_request jsonb;
    v_error text;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_requests) is distinct from 'array' then
        perform private.fail(422, 'INVALID', 'p_requests must be an array of exit requests.');
    end if;
    for v_request in select e.value from jsonb_array_elements(p_requests) e loop
        v_error := private.exit_request_error(v_request, p_shard);
        if v_error is not null then
            perform private.fail(422, 'INVALID', format('Exit request %s: %s.', coalesce(v_request ->> 'id', '(no id)'), v_error));
        end if;
    end loop;
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select t.profile_id from jsonb_array_elements(p_requests) e
                             join public.trades t on t.id = (e.value ->> 'trade_id')::uuid)
      order by c.profile_id for update;
    for v_request in select e.value from jsonb_array_elements(p_requests) e loop
        v_answers := v_answers || private.decide_exit(v_request);
    end loop;
    return v_answers;
end;
$$;
revoke execute on function public.request_exits(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.request_exits(text, bigint, jsonb) to service_role;
comment on function public.request_exits(text, bigint, jsonb) is 'Accept exits of open trades; not gated by pause. Engine only.';

-- Have orders of open trades cancelled at the broker by id: the rest of an entry whose position must be protected, or
-- resting orders that would sell more than is held. What was not sent ends at once. Answers how many it concerns.
-- Called by: the engine's position monitor. Errors: LEASE_LOST, INVALID.
create function public.request_cancels(p_shard text, p_token bigint, p_requests jsonb)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_asked int;
    v_ended int;
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_requests) is distinct from 'array'
       or exists (select 1 from jsonb_array_elements(p_requests) e
                  where private.as_uuid(e.value ->> 'id') is null or coalesce(private.trimmed(e.value ->> 'reason'), '') = '') then
        perform private.fail(422, 'INVALID', 'p_requests must be an array of objects with the id of an order and the reason.');
    end if;
    perform private.lock_controls(p_exclusive => false);
    perform private.lock_capital_of(
        (select array_agg(private.as_uuid(e.value ->> 'id')) from jsonb_array_elements(p_requests) e), '{}');
    update public.orders o
       set cancel_requested_at = clock_timestamp(), reason = left(r.reason, 500)
      from jsonb_to_recordset(p_requests) as r (id uuid, reason text)
     where o.id = r.id and o.shard = p_shard and o.cancel_requested_at is null
       and o.state in ('submitting', 'unknown', 'working', 'partially_filled');
    get diagnostics v_asked = row_count;
    update public.orders o
       set state = 'canceled', reason = left(r.reason, 500)
      from jsonb_to_recordset(p_requests) as r (id uuid, reason text)
     where o.id = r.id and o.shard = p_shard and o.state = 'ready';
    get diagnostics v_ended = row_count;
    return v_asked + v_ended;
end;
$$;
revoke execute on function public.request_cancels(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.request_cancels(text, bigint, jsonb) to service_role;
comment on function public.request_cancels(text, bigint, jsonb) is
    'Have orders of open trades cancelled at the broker by id, with the reason. Engine only.';
