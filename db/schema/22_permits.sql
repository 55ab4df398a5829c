-- Permits: the right to send one order until a deadline, and the broker's answers.

-- Issue permits: exits first, entries only while nothing in their scope is paused or halted, and to no engine
-- that is older than the schema. Called by: the engine. Errors: LEASE_LOST, ENGINE_OUTDATED.
create function public.claim_orders(p_shard text, p_token bigint, p_limit int default 50, p_purpose text default null)
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

-- Our state for the broker's status. Statuses that end nothing, known or new, are working. `missing` is our own
-- word for what the broker has denied to know again and again.
create function private.state_of(p_status text, p_filled_qty numeric)
    returns public.order_state
    language sql
    immutable
as $$
    select case
        when p_status in ('filled', 'canceled', 'expired', 'rejected', 'replaced') then p_status::public.order_state
        when p_status = 'missing' then 'canceled'
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

-- A protective order that was moved at the broker says where the position's stop or target is from now on.
create function private.follow_leg(p_order_id uuid)
    returns void
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    update public.positions n
       set stop_price = case o.purpose when 'stop_loss' then o.stop_price else n.stop_price end,
           take_profit_price = case o.purpose when 'take_profit' then o.limit_price else n.take_profit_price end
      from public.orders o
     where o.id = p_order_id and n.trade_id = o.trade_id and o.purpose in ('stop_loss', 'take_profit');
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
create function private.apply_legs(p_parent_id uuid, p_legs jsonb)
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
        if not private.apply_broker_order(o.id, (p -> 'order') || jsonb_build_object('request_id', p ->> 'request_id')) then
            update public.orders u set broker_request_id = coalesce(p ->> 'request_id', u.broker_request_id) where u.id = o.id;
        end if;
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

-- An order that took the place of one of ours at the broker becomes an order of its own, with the same purpose,
-- trade and group. One that asks for more than was left, or than there is capital for, nobody has judged, and one
-- whose predecessor had been given up, or was to be cancelled, nobody wants: it is to be cancelled. NULL when something
-- else has taken its place here. The caller holds the profile's capital row.
create function private.take_place(o public.orders, b jsonb)
    returns uuid
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_id uuid := coalesce(private.as_uuid(b ->> 'broker_order_id'), gen_random_uuid());
    v_qty numeric := coalesce(private.positive(b ->> 'qty'), o.qty);
    v_notional numeric := round(v_qty * coalesce(private.price(b ->> 'limit_price'), o.limit_price, o.reference_price, 0), 6);
    v_fits boolean := o.purpose <> 'entry' and o.state = 'replaced';
begin
    if o.purpose = 'entry' and o.state = 'replaced' and o.cancel_requested_at is null and v_qty <= o.qty - o.filled_qty then
        update public.profile_capital c
           set reserved_usd = c.reserved_usd + v_notional, updated_at = clock_timestamp()
         where c.profile_id = o.profile_id and c.reserved_usd + c.used_usd + v_notional <= c.capital_usd;
        v_fits := found;
    end if;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type, order_class,
        time_in_force, limit_price, stop_price, take_profit_price, stop_loss_price, reference_price, notional_usd, reserved_usd,
        state, reason, exit_reason, signal_id, trade_id, parent_id, broker_order_id, cancel_requested_at, market_at,
        submitted_at, accepted_at, replaces_id)
    values (v_id, o.owner_id, o.profile_id, o.shard, o.symbol, o.side, o.position_side, o.purpose, v_qty,
        case when b ->> 'type' = any (private.order_types()) then b ->> 'type' else o.order_type end, o.order_class, o.time_in_force,
        private.price(b ->> 'limit_price'), private.price(b ->> 'stop_price'), o.take_profit_price, o.stop_loss_price, o.reference_price,
        case when v_fits and o.purpose = 'entry' then v_notional else 0 end, case when v_fits and o.purpose = 'entry' then v_notional else 0 end,
        'working', case when v_fits then 'Took the place of another order at the broker.'
                        else 'Took the place of another order at the broker and was not allowed: it is cancelled.' end,
        o.exit_reason, o.signal_id, o.trade_id, o.parent_id, b ->> 'broker_order_id', case when not v_fits then clock_timestamp() end,
        o.market_at, clock_timestamp(), clock_timestamp(), o.id);
    perform private.follow_leg(v_id);
    return v_id;
exception when unique_violation then
    return null;
end;
$$;

-- Whether trading was not running in an order's scope at some moment since it ended on our side.
create function private.was_paused_since_end(o public.orders)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select exists (select 1 from public.trading_control_history h
                   where h.to_mode <> 'RUNNING' and private.in_scope(h.scope, h.scope_key, o.profile_id, o.symbol)
                     and coalesce(h.ended_at, 'infinity') > coalesce(o.ended_at, o.updated_at));
$$;

-- Put an order on record that lives, or has filled, at the broker although it was over here: in the transaction that
-- finds it, since the engine may die before it can say so. What became of it, its next reconciliation adds.
create function private.note_late(o public.orders, b jsonb, p_after_pause boolean)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_kind text := case when p_after_pause then 'ENTRY_AFTER_PAUSE' else 'LATE_ORDER' end;
    v_now timestamptz := clock_timestamp();
    v_run uuid := (select r.id from public.reconciliation_runs r where r.shard = o.shard order by r.finished_at desc limit 1);
begin
    if v_run is null then  -- the first one has not come to its end
        insert into public.reconciliation_runs (shard, kind, started_at, finished_at, orders_checked, positions_checked, findings)
        values (o.shard, 'incremental', v_now, v_now, 1, 0, 1)
        returning id into v_run;
    end if;
    insert into public.reconciliation_findings (run_id, shard, key, kind, symbol, detail, status, first_seen_at, last_seen_at,
                                                severity, action, advice)
    values (v_run, o.shard, v_kind || ':' || coalesce(b ->> 'client_order_id', o.id::text), v_kind, o.symbol,
            jsonb_build_object('broker_order_id', b ->> 'broker_order_id', 'status', b ->> 'status', 'filled_qty', o.filled_qty::text),
            'open', v_now, v_now, 'critical',
            case when private.is_terminal(private.state_of(b ->> 'status', 0)) then 'It had ended; what it filled was booked and is looked after.'
                 else 'It is being cancelled at the broker.' end,
            'Look at the account: is it cancelled, and what has filled protected?')
    on conflict (shard, key) where status = 'open' do nothing;
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
create function public.record_order_updates(p_shard text, p_token bigint, p_updates jsonb)
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

revoke execute on function public.claim_orders(text, bigint, int, text) from public, anon, authenticated;
revoke execute on function public.record_submission(text, bigint, jsonb) from public, anon, authenticated;
revoke execute on function public.record_order_updates(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.claim_orders(text, bigint, int, text) to service_role;
grant execute on function public.record_submission(text, bigint, jsonb) to service_role;
grant execute on function public.record_order_updates(text, bigint, jsonb) to service_role;
comment on function public.claim_orders(text, bigint, int, text) is 'Issue permits to send; entries only while RUNNING. Engine only.';
comment on function public.record_submission(text, bigint, jsonb) is 'Record what came of sending each order. Engine only.';
comment on function public.record_order_updates(text, bigint, jsonb) is 'Take over the broker''s view, monotone and idempotent. Engine only.';
