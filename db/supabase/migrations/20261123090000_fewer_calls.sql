-- Fewer calls and rows on the way of an order. Made from db/schema; the two build the same database.

-- What this schema is called and the oldest engine that may open positions on it. `schema` is the version of
-- the newest migration; raise `oldest_engine` where an older one would decide or record something wrongly.
-- Called by: an engine at its start.
create or replace function public.schema_version()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('schema', '20261123090000', 'oldest_engine', '0.2.0');
$$;

-- What an engine reads of its shard, and no more. As json, which is text from the start: to build whole rows as jsonb
-- takes several times as long.
create function private.brief_snapshot(p_shard text)
    returns json
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    return (
        with held as (
            select n.* from public.positions n join public.profiles f on f.id = n.profile_id where f.shard = p_shard
        ), told as (
            select json_agg(b order by o.created_at, o.id) filter (where o.is_ours) as orders,
                   json_agg(b order by o.created_at, o.id) filter (where not o.is_ours) as legs
              from (select true as is_ours, o.* from public.orders o
                     where o.shard = p_shard
                       and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')
                    union all
                    select false, o.* from held n join public.orders o on o.trade_id = n.trade_id
                     where o.shard <> p_shard and o.purpose in ('stop_loss', 'take_profit')
                       and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) o
             cross join lateral (select o.id, o.profile_id, o.symbol, o.side, o.purpose, o.qty, o.order_type, o.order_class,
                    o.time_in_force, o.state, o.trade_id, o.parent_id, o.limit_price, o.stop_price, o.take_profit_price,
                    o.stop_loss_price, o.broker_order_id, o.broker_status, o.filled_qty, o.market_at, o.broker_updated_at,
                    o.submitted_at, o.permit_deadline, o.cancel_requested_at, o.replaces_broker_id) b
        )
        select json_build_object(
            'profiles', (select coalesce(json_agg(b order by b.id), '[]') from (
                select f.id, f.name, f.strategy, f.symbols, f.params, f.timeframe, f.active, f.capital_usd
                  from public.profiles f where f.shard = p_shard) b),
            'trades', (select coalesce(json_agg(b order by b.opened_at, b.trade_id), '[]') from (
                select n.trade_id, n.profile_id, n.symbol, n.side, n.qty, n.avg_entry_price, n.mark_price, n.stop_price,
                       n.take_profit_price, n.opened_at, n.marked_at,
                       exists (select 1 from public.orders o where o.trade_id = n.trade_id and o.purpose = 'exit'
                                and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) as exit_working
                  from held n) b),
            'orders', coalesce(t.orders, '[]'),
            'legs', coalesce(t.legs, '[]'),
            'risk_config', (select json_build_object('version', r.version, 'config', r.config)
                              from public.risk_configs r where r.active))
          from told t);
end;
$$;

revoke execute on function private.brief_snapshot(text) from public, anon, authenticated;

drop function public.engine_snapshot(p_shard text, p_token bigint, p_legs boolean);
-- Everything an engine needs to act for its shard, in one consistent read. With p_brief the columns that an engine of
-- today reads; the whole rows are for one of an earlier version, which refuses a row that lacks a column. There, with
-- p_legs each trade comes with its protective orders; without, and in brief, they are among the orders, and those that
-- another shard made are in `legs`. Called by: the engine. Errors: LEASE_LOST.
create function public.engine_snapshot(p_shard text, p_token bigint, p_legs boolean default true, p_brief boolean default false)
    returns json
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    if p_brief then
        return private.brief_snapshot(p_shard);
    end if;
    return (select jsonb_build_object(
        'profiles', (select coalesce(jsonb_agg(to_jsonb(f) || jsonb_build_object(
                'reserved_usd', c.reserved_usd, 'used_usd', c.used_usd, 'realized_usd', c.realized_usd) order by f.id), '[]')
            from public.profiles f join public.profile_capital c on c.profile_id = f.id where f.shard = p_shard),
        'trades', (select coalesce(jsonb_agg(to_jsonb(n) || jsonb_build_object(
                'exit_working', exists (select 1 from public.orders o where o.trade_id = n.trade_id and o.purpose = 'exit'
                                        and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')))
                || case when p_legs then jsonb_build_object(
                'legs', (select coalesce(jsonb_agg(to_jsonb(o) order by o.created_at), '[]') from public.orders o
                         where o.trade_id = n.trade_id and o.purpose in ('stop_loss', 'take_profit')
                           and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled'))) else '{}' end
                order by n.opened_at, n.trade_id), '[]')
            from public.positions n join public.profiles f on f.id = n.profile_id where f.shard = p_shard),
        'orders', (select coalesce(jsonb_agg(to_jsonb(o) order by o.created_at, o.id), '[]') from public.orders o
            where o.shard = p_shard
              and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')),
        'legs', (select coalesce(jsonb_agg(to_jsonb(o) order by o.created_at, o.id), '[]')
            from public.positions n join public.profiles f on f.id = n.profile_id join public.orders o on o.trade_id = n.trade_id
            where not p_legs and f.shard = p_shard and o.shard <> p_shard and o.purpose in ('stop_loss', 'take_profit')
              and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')),
        'controls', (select jsonb_agg(to_jsonb(c)) from public.trading_controls c where c.scope = 'global' or c.mode <> 'RUNNING'),
        'risk_config', (select jsonb_build_object('version', r.version, 'config', r.config) from public.risk_configs r where r.active))::json);
end;
$$;
-- rights anew
revoke execute on function public.engine_snapshot(text, bigint, boolean, boolean) from public, anon, authenticated;
grant execute on function public.engine_snapshot(text, bigint, boolean, boolean) to service_role;

revoke execute on function public.engine_snapshot(text, bigint, boolean, boolean) from public, anon, authenticated;

grant execute on function public.engine_snapshot(text, bigint, boolean, boolean) to service_role;

comment on function public.engine_snapshot(text, bigint, boolean, boolean) is 'Everything an engine needs to act for its shard. Engine only.';

-- Cancel the entries of a scope that were not sent yet and ask for the cancellation, by id, of those
-- that rest at the broker. Protective orders are not entries and are never touched.
create or replace function private.cancel_entries(p_scope public.control_scope, p_scope_key text, p_why text)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_canceled int;
begin
    perform 1 from public.profile_capital c
      where c.profile_id in (select o.profile_id from public.orders o
                              where o.purpose = 'entry' and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol)
                                and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled'))
      order by c.profile_id for update;
    update public.orders o
       set state = 'canceled', reason = p_why
     where o.purpose = 'entry' and o.state in ('ready', 'awaiting_approval')
       and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol);
    get diagnostics v_canceled = row_count;
    update public.orders o
       set cancel_requested_at = clock_timestamp(), reason = p_why
     where o.purpose = 'entry' and o.state in ('submitting', 'unknown', 'working', 'partially_filled')
       and o.cancel_requested_at is null
       and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol);
    return v_canceled;
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
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from what is told to the orders, one by one, however many orders there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_entry_ttl interval;
    v_permit_ttl interval;
    v_holder text;
    v_is_current boolean;
begin
    perform private.check_lease(p_shard, p_token);
    if not exists (select 1 from public.orders o where o.shard = p_shard and o.state in ('ready', 'awaiting_approval')) then
        return;
    end if;
    select make_interval(secs => coalesce((c.config #>> '{order_limits,entry_ttl_s}')::numeric, 60)::float8),
           make_interval(secs => coalesce((c.config #>> '{order_limits,permit_ttl_s}')::numeric, 10)::float8),
           (select l.holder from public.engine_leases l where l.shard = p_shard), private.engine_is_current(p_shard)
      into v_entry_ttl, v_permit_ttl, v_holder, v_is_current
    from private.active_risk_config() c;
    perform private.apply_due();
    perform private.lock_controls(p_exclusive => false);
    perform private.expire_waiting(p_shard, clock_timestamp() - v_entry_ttl);
    return query
        update public.orders o
           set state = 'submitting', claimed_by = v_holder, permit_token = p_token, submitted_at = clock_timestamp(),
               permit_deadline = clock_timestamp() + v_permit_ttl
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

-- Take over what the broker says about one order: fills first, then the state; never backwards.
-- Answers whether anything changed. The caller holds the profile's capital row.
create or replace function private.apply_broker_order(p_order_id uuid, b jsonb)
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
    v_qty numeric;
    v_limit numeric;
    v_stop numeric;
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
    -- The broker restates what rests there: after a split, beside a partly filled sibling, where a stop trails.
    v_qty := greatest(coalesce(private.positive(b ->> 'qty'), o.qty), v_filled, o.filled_qty);
    v_limit := coalesce(private.price(b ->> 'limit_price'), o.limit_price);
    v_stop := coalesce(private.price(b ->> 'stop_price'), o.stop_price);
    if o.purpose = 'entry' and greatest(v_filled, o.filled_qty) > 0 then
        v_qty := o.qty;  -- what is reserved goes by it
    elsif o.purpose in ('stop_loss', 'take_profit') and v_qty > o.qty then
        -- After a split the position follows later, and until then nothing may look as if it covered too much.
        v_qty := greatest(o.qty, least(v_qty, (select n.qty from public.positions n where n.trade_id = o.trade_id)));
    end if;
    v_changed := v_state <> o.state or v_filled > o.filled_qty or o.broker_status is distinct from b ->> 'status'
                 or (v_qty, v_limit, v_stop) is distinct from (o.qty, o.limit_price, o.stop_price)
                 or o.id = private.as_uuid(b ->> 'client_order_id') and o.broker_order_id is distinct from coalesce(b ->> 'broker_order_id', o.broker_order_id);
    if o.broker_order_id is distinct from b ->> 'broker_order_id'
       and exists (select from public.orders x where x.broker_order_id = b ->> 'broker_order_id' and x.id <> o.id) then
        perform private.fail(409, 'CONFLICT', format('The broker''s order %s is another order here already.', left(b ->> 'broker_order_id', 60)));
    end if;
    -- What has ended stays as it ended; new are at most fills, or that it had been at the broker at all.
    if v_changed and not (private.is_terminal(o.state) and v_filled <= o.filled_qty and o.broker_order_id is not null) then
        update public.orders u
           set state = v_state,
               -- Under our own id the broker's word holds; a leg goes by the broker's id from the start.
               broker_order_id = case when u.id = private.as_uuid(b ->> 'client_order_id')
                                      then coalesce(b ->> 'broker_order_id', u.broker_order_id)
                                      else coalesce(u.broker_order_id, b ->> 'broker_order_id') end,
               broker_status = b ->> 'status',
               broker_request_id = coalesce(b ->> 'request_id', u.broker_request_id),
               broker_updated_at = greatest(u.broker_updated_at, (b ->> 'updated_at')::timestamptz),
               accepted_at = coalesce(u.accepted_at, clock_timestamp()),
               filled_qty = greatest(u.filled_qty, v_filled),
               -- Only with a fill: a later one is priced by the difference of the averages.
               filled_avg_price = case when v_filled > u.filled_qty then (b ->> 'filled_avg_price')::numeric else u.filled_avg_price end,
               qty = v_qty, limit_price = v_limit, stop_price = v_stop,
               reserved_usd = u.reserved_usd - v_release,
               reason = coalesce(b ->> 'reason', u.reason)
         where u.id = p_order_id;
        if (v_limit, v_stop) is distinct from (o.limit_price, o.stop_price) and not private.is_terminal(v_state) then
            perform private.follow_leg(p_order_id);
        end if;
    else
        v_changed := false;
    end if;
    return v_changed;
end;
$$;

-- Make orders of the legs that are not known yet; answers the broker's ids of these.
create function private.make_legs(p_parent_id uuid, p_legs jsonb)
    returns text[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_new text[];
begin
    with made as (
        insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
            order_class, time_in_force, limit_price, stop_price, state, exit_reason, trade_id, parent_id,
            broker_order_id, broker_status, broker_updated_at, market_at, created_at, updated_at, submitted_at, accepted_at, replaces_id)
        select distinct on (l.leg ->> 'broker_order_id')
               coalesce(private.as_uuid(l.leg ->> 'broker_order_id'), gen_random_uuid()), o.owner_id, o.profile_id, o.shard, o.symbol,
               (l.leg ->> 'side')::public.order_side, o.position_side,
               case when l.leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end::public.order_purpose,
               private.positive(l.leg ->> 'qty'), l.leg ->> 'type', o.order_class, o.time_in_force,
               private.price(l.leg ->> 'limit_price'), private.price(l.leg ->> 'stop_price'), 'working'::public.order_state,
               case when l.leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end,
               o.trade_id, o.id, l.leg ->> 'broker_order_id', l.leg ->> 'status', (l.leg ->> 'updated_at')::timestamptz, o.market_at,
               clock_timestamp(), clock_timestamp(), o.submitted_at, clock_timestamp(),
               (select r.id from public.orders r where r.broker_order_id = l.leg ->> 'replaces')
        from jsonb_array_elements(p_legs) l (leg) join public.orders o on o.id = p_parent_id
        where not exists (select from public.orders x where x.broker_order_id = l.leg ->> 'broker_order_id')
        returning broker_order_id)
    select array_agg(m.broker_order_id) into v_new from made m;
    return v_new;
end;
$$;

-- Legs that the broker made for a bracket become orders of their own the first time they are seen.
create or replace function private.apply_legs(p_parent_id uuid, p_legs jsonb)
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_sound boolean;
    v_unseen boolean;
    v_new text[];                                -- the broker's ids of those not seen before
    v_leg jsonb;
    v_changed boolean := false;
begin
    if jsonb_typeof(p_legs) is distinct from 'array' or p_legs = '[]' then
        return false;
    end if;
    select bool_and((private.positive(e.value ->> 'qty') > 0 and e.value ->> 'side' in ('buy', 'sell')
                     and e.value ->> 'type' = any (private.order_types()) and e.value ->> 'broker_order_id' is not null) is true),
           bool_or(not exists (select from public.orders x where x.broker_order_id = e.value ->> 'broker_order_id'))
      into v_sound, v_unseen
    from jsonb_array_elements(p_legs) e;
    if not v_sound then
        perform private.fail(422, 'INVALID', format('A leg of order %s has no id, quantity, side or type that is known here.', p_parent_id));
    end if;
    if v_unseen then
        v_new := private.make_legs(p_parent_id, p_legs);
    end if;
    for v_leg in select e.value from jsonb_array_elements(p_legs) e loop
        if v_leg ->> 'broker_order_id' = any (v_new) then
            v_changed := true;
            if v_leg ->> 'replaces' is not null then
                perform private.follow_leg(o.id) from public.orders o where o.broker_order_id = v_leg ->> 'broker_order_id';
            end if;
            -- It was made of this word, and there is no more in it.
            continue when coalesce((v_leg ->> 'filled_qty')::numeric, 0) = 0 and length(v_leg ->> 'status') between 1 and 60
                          and private.state_of(v_leg ->> 'status', 0) = 'working';
        end if;
        v_changed := private.apply_broker_order((select o.id from public.orders o where o.broker_order_id = v_leg ->> 'broker_order_id'), v_leg)
                     or v_changed;
    end loop;
    return v_changed;
end;
$$;

-- Record what came of sending. accepted: the broker's order; rejected: its definitive no; unknown: ambiguous;
-- not_sent: the permit is handed back. Called by: the engine. Errors: LEASE_LOST, NOT_FOUND, INVALID.
create or replace function public.record_submission(p_shard text, p_token bigint, p_results jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from what is told to the orders, one by one, however many orders there are
    set enable_hashjoin = off
    set enable_mergejoin = off
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

create or replace function private.apply_update(b jsonb, p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_before public.orders;
    v_old public.orders;                         -- the one whose place it took
    v_id uuid;
    v_after public.orders;
    v_changed boolean;
    v_late boolean;
    v_after_pause boolean := false;
begin
    select o.* into v_before from public.orders o
     where o.id = private.as_uuid(b ->> 'client_order_id') or o.broker_order_id = b ->> 'broker_order_id'
     order by (o.broker_order_id = b ->> 'broker_order_id') is true desc limit 1;
    if v_before.id is null and b ->> 'replaces' is not null then
        select o.* into v_old from public.orders o where o.broker_order_id = b ->> 'replaces';
        if v_old.shard = p_shard and not private.is_terminal(v_old.state) then
            -- Its predecessor is not known to be over: that one is looked up first.
            return jsonb_build_object('id', null, 'client_order_id', b ->> 'client_order_id', 'state', null, 'changed', false, 'deferred', true);
        elsif v_old.shard = p_shard then
            v_id := private.take_place(v_old, b);
            select o.* into v_before from public.orders o where o.id = v_id;
        else
            v_before := v_old;
        end if;
    end if;
    if v_before.id is null then
        return jsonb_build_object('id', null, 'client_order_id', b ->> 'client_order_id', 'state', null, 'changed', false);
    elsif v_before.shard <> p_shard then
        -- Another engine's order in the same account: known, and that engine's to record.
        return jsonb_build_object('id', v_before.id, 'state', v_before.state, 'changed', false, 'late', false);
    end if;
    v_changed := private.apply_broker_order(v_before.id, b);
    v_changed := private.apply_legs(v_before.id, b -> 'legs') or v_changed;
    select o.* into v_after from public.orders o where o.id = v_before.id;
    -- Ended on our side, alive at the broker: the engine has to cancel it. Or it filled after its end. What the broker
    -- itself has ended does not live again: a word that says so is an old one.
    v_old := case when v_old.id is null then v_before else v_old end;
    v_late := private.is_terminal(v_old.state) and v_old.state not in ('filled', 'replaced')
              and (not private.is_terminal(private.state_of(b ->> 'status', 0))
                   and (v_old.id = v_after.id and v_old.broker_status in ('filled', 'canceled', 'expired', 'rejected')) is not true
                   or v_after.filled_qty > v_before.filled_qty);
    if v_late then
        v_after_pause := v_after.purpose = 'entry' and private.was_paused_since_end(v_old);
        perform private.note_late(v_after, b, v_after_pause);
    end if;
    return jsonb_build_object('id', v_after.id, 'state', v_after.state, 'changed', v_changed, 'late', v_late, 'after_pause', v_after_pause);
end;
$$;

-- Take over the broker's view of orders; sent twice or out of order it changes nothing more.
-- Called by: the engine. Errors: LEASE_LOST.
create or replace function public.record_order_updates(p_shard text, p_token bigint, p_updates jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from what is told to the orders, one by one, however many orders there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_update jsonb;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_controls(p_exclusive => false);  -- a pause waits for this, or sees what it settles
    perform private.lock_capital_of(
        (select array_agg(private.as_uuid(e.value ->> 'client_order_id')) from jsonb_array_elements(p_updates) e),
        (select array_agg(r.id) from jsonb_array_elements(p_updates) e
         cross join lateral (values (e.value ->> 'broker_order_id'), (e.value ->> 'replaces')) r (id)));
    for v_update in select e.value from jsonb_array_elements(p_updates) e loop
        v_answers := v_answers || private.apply_update(v_update, p_shard);
    end loop;
    perform private.settle_quiescence();
    return v_answers;
end;
$$;

-- Record exits that were sent while this database could not be reached, with what the broker answered: accepted,
-- rejected, or unknown, which is looked up next. Told again, in any order, it changes nothing more.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any exit is malformed, and then nothing changes.
create or replace function public.record_offline_exits(p_shard text, p_token bigint, p_exits jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- as record_submission, whose plans it shares
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
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

-- Bring external orders into our books where the policy says so: as an exit of the one trade that is large enough,
-- or as a trade of the profile's own. Answers for each whether it was adopted, the policy and why not.
-- Called by: the engine. Errors: LEASE_LOST.
create or replace function public.adopt_orders(p_shard text, p_token bigint, p_orders jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- as record_submission, whose plans it shares
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_order jsonb;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select f.id from public.profiles f where f.shard = p_shard
                             and f.symbols && array(select e.value ->> 'symbol' from jsonb_array_elements(p_orders) e))
      order by c.profile_id for update;
    for v_order in select e.value from jsonb_array_elements(p_orders) e loop
        v_answers := v_answers || private.adopt_order(v_order, p_shard);
    end loop;
    return v_answers;
end;
$$;
