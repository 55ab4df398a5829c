-- Manual exits: a person closes one position. The order is an exit like the engine's own: it waits as ready, the
-- engine claims and sends it, and neither pause nor approval holds it back.

-- What a refused exit means to the person who asked for it, by the code of private.decide_exit.
create function private.exit_refusal(p_code text)
    returns table (status int, code text, hint text)
    language sql
    immutable
    set search_path = ''
as $$
    select r.status, coalesce(r.own_code, p_code), r.hint
    from (values
        ('NO_POSITION', 404, 'NOT_FOUND', 'It may have been closed meanwhile: look at the list again.'),
        ('DUPLICATE_ORDER', 409, null, 'Wait for it to be filled or to end; Orders shows how far it is.'),
        ('TRADING_HALTED', 409, null, 'Set the mode to PAUSED first: while paused, positions can be closed.')) as r (given, status, own_code, hint)
    where r.given = p_code
    union all
    select 409, p_code, 'Look at the position again and decide anew.'
    where p_code not in ('NO_POSITION', 'DUPLICATE_ORDER', 'TRADING_HALTED');
$$;

-- Close the whole of one open position at market. The rest of its entry, if any still works, is cancelled.
-- Called by: operators and admins. Errors: FORBIDDEN, INVALID, NOT_FOUND, DUPLICATE_ORDER when an exit is under way
-- already, TRADING_HALTED. Answers: the exit order as it waits to be sent.
create function public.close_position(p_trade_id uuid, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'trade:' || coalesce(p_trade_id::text, '');
    v_answer jsonb;
    v_exit jsonb;
    r record;
    t public.trades;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may close positions.', 'close_position', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'close_position', v_target);
    end if;
    perform private.lock_controls(p_exclusive => false);
    v_answer := private.answered(p_request_id, 'close_position', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    select n.* into t from public.trades n where n.id = p_trade_id;
    perform 1 from public.profile_capital c where c.profile_id = t.profile_id for update;
    v_exit := private.decide_exit(jsonb_build_object(
        'id', gen_random_uuid(), 'trade_id', p_trade_id, 'exit_reason', 'manual',
        'reason', format('Closed by %s: %s', private.actor_email(), private.trimmed(p_reason)),
        'market_at', (select n.marked_at from public.positions n where n.trade_id = p_trade_id)));
    if v_exit ->> 'state' <> 'ready' then
        select * into r from private.exit_refusal(v_exit ->> 'code');
        return private.refuse(r.status, r.code, v_exit ->> 'reason', 'close_position', v_target, r.hint);
    end if;
    update public.orders o set cancel_requested_at = clock_timestamp()
     where o.id = p_trade_id and o.purpose = 'entry' and o.cancel_requested_at is null
       and o.state in ('submitting', 'unknown', 'working', 'partially_filled');
    perform private.audit('close_position', v_target, 'done', private.trimmed(p_reason),
                          jsonb_build_object('order_id', v_exit ->> 'id', 'symbol', t.symbol, 'side', t.position_side), t.owner_id);
    return private.answer(p_request_id, 'close_position', v_target,
                          jsonb_build_object('success', true, 'order_id', v_exit ->> 'id', 'state', v_exit ->> 'state',
                                             'symbol', t.symbol, 'trade_id', p_trade_id,
                                             'qty', (select o.qty from public.orders o where o.id = (v_exit ->> 'id')::uuid)));
end;
$$;

revoke execute on function private.exit_refusal(text) from public, anon, authenticated;
revoke execute on function public.close_position(uuid, text, uuid) from public, anon;
grant execute on function public.close_position(uuid, text, uuid) to authenticated, service_role;
comment on function public.close_position(uuid, text, uuid) is
    'Close one open position at market, with a reason. Operators and admins, idempotent by request id; not gated by pause.';
