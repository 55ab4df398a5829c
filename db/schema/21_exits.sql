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
        when p ->> 'order_type' = 'limit' and private.positive(p ->> 'limit_price') is null then 'a limit exit needs a limit_price above 0'
        when p ->> 'order_type' = 'stop' and private.positive(p ->> 'stop_price') is null then 'a stop exit needs a stop_price above 0'
        when coalesce(p ->> 'purpose', 'exit') not in ('exit', 'stop_loss') then 'purpose must be exit or stop_loss'
    end;
$$;

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
begin
    select o.* into v_order from public.orders o where o.id = (p ->> 'id')::uuid;
    if found then
        return jsonb_build_object('id', v_order.id, 'state', v_order.state, 'code', v_order.code, 'reason', v_order.reason);
    end if;
    select n.* into v_position from public.positions n where n.trade_id = (p ->> 'trade_id')::uuid;
    if not found then
        return jsonb_build_object('id', p ->> 'id', 'state', 'denied', 'code', 'NO_POSITION',
                                  'reason', 'The trade has nothing left to close.');
    elsif private.effective_mode(v_position.profile_id, v_position.symbol) = 'HALTED' then
        return jsonb_build_object('id', p ->> 'id', 'state', 'denied', 'code', 'TRADING_HALTED',
                                  'reason', 'Trading is halted: nothing but cancels.');
    elsif v_purpose = 'exit' and exists (
        select 1 from public.orders o where o.trade_id = v_position.trade_id and o.purpose = 'exit'
           and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) then
        return jsonb_build_object('id', p ->> 'id', 'state', 'denied', 'code', 'DUPLICATE_ORDER',
                                  'reason', 'An exit of this trade is already under way.');
    end if;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        time_in_force, limit_price, stop_price, reference_price, state, reason, exit_reason, trade_id, market_at,
        created_at, updated_at)
    select (p ->> 'id')::uuid, f.owner_id, f.id, f.shard, v_position.symbol,
           case v_position.side when 'long' then 'sell' else 'buy' end::public.order_side, v_position.side, v_purpose,
           least(coalesce(private.positive(p ->> 'qty'), v_position.qty), v_position.qty),
           coalesce(p ->> 'order_type', 'market'),
           case coalesce(p ->> 'order_type', 'market') when 'market' then 'day' else 'gtc' end,
           private.positive(p ->> 'limit_price'), private.positive(p ->> 'stop_price'),
           private.positive(p ->> 'reference_price'), 'ready', left(p ->> 'reason', 500),
           coalesce(p ->> 'exit_reason', v_purpose::text), v_position.trade_id, (p ->> 'market_at')::timestamptz,
           clock_timestamp(), clock_timestamp()
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
