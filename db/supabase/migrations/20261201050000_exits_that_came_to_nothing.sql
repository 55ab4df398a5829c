-- An exit that was sent without the database and came to nothing does not undo one that waits. Made from db/schema; the
-- two build the same database.

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
