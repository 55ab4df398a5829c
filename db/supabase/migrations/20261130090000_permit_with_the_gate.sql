-- An entry that passes the gate gets its permit in the same call. Made from db/schema; the two build the same database.

-- What this schema is called and the oldest engine that may open positions on it. `schema` is the version of
-- the newest migration; raise `oldest_engine` where an older one would decide or record something wrongly.
-- Called by: an engine at its start.
create or replace function public.schema_version()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('schema', '20261130090000', 'oldest_engine', '0.2.0');
$$;

drop function private.decide_wave(private.entry_request[], uuid[], public.risk_configs, boolean, boolean);

-- Judge and record some requests, all at once; answers what became of each. Of the call's first p_permits requests, those
-- that pass get their permit under p_lease. The caller holds the controls' shared lock, the owners' locks and the profiles'
-- capital rows, and has set how plans are made. What few entries need has statements of its own, for those that do.
create function private.decide_wave(p_requests private.entry_request[], p_owners uuid[], p_risk public.risk_configs,
                                    p_locked boolean, p_overridden boolean, p_permits int, p_lease public.engine_leases)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    m private.gate_limits := p_risk.limits;
    v_usd jsonb := private.owners_usd(p_owners, p_risk.config);
    v_ttl interval := make_interval(secs => coalesce((p_risk.config #>> '{order_limits,permit_ttl_s}')::numeric, 10)::float8);
    v_answers jsonb;
    v_asking boolean;
    v_repeated boolean;
    v_staged boolean;
begin
    with judged as materialized (
        select s.*, private.judge(s.snapshot, m) as v, (s.snapshot).notional_usd as notional_usd,
               case when s.signal is not null then gen_random_uuid() end as signal_id
        from private.snapshots_of(p_requests, m, p_risk.config, v_usd, false, p_locked, p_overridden, v_now) s
    ), noted_signals as (
        insert into public.signals (id, owner_id, profile_id, symbol, side, strategy, strength, bar_at, detail, market_at, created_at)
        select d.signal_id, d.owner_id, d.profile_id, d.symbol, d.side, coalesce(d.signal ->> 'strategy', d.strategy),
               (d.signal ->> 'strength')::numeric, (d.signal ->> 'bar_at')::timestamptz,
               coalesce(d.signal -> 'detail', '{}'), d.market_at, v_now
        from judged d where d.signal_id is not null
    ), noted_decisions as (
        insert into public.decisions (order_id, owner_id, profile_id, symbol, side, outcome, code, snapshot, passed, config_version,
                                      market_at, created_at)
        select d.id, d.owner_id, d.profile_id, d.symbol, d.side, (d.v).outcome, (d.v).code, d.snapshot, (d.v).passed, p_risk.version,
               d.market_at, v_now
        from judged d
    ), reserved as (
        update public.profile_capital c
           set reserved_usd = c.reserved_usd + d.notional_usd, updated_at = v_now
          from judged d
         where c.profile_id = d.profile_id and (d.v).outcome <> 'denied'
           and c.reserved_usd + c.used_usd + d.notional_usd <= c.capital_usd
    ), noted_orders as (
        insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
            order_class, time_in_force, limit_price, take_profit_price, stop_loss_price, reference_price, notional_usd,
            reserved_usd, state, code, reason, signal_id, trade_id, market_at, created_at, updated_at, ended_at, ready_at,
            claimed_by, permit_token, submitted_at, permit_deadline)
        select d.id, d.owner_id, d.profile_id, d.shard, d.symbol, d.side,
               case d.side when 'buy' then 'long' else 'short' end::public.position_side, 'entry',
               case when (d.snapshot).qty > 0 then (d.snapshot).qty else d.asked_qty end, 'limit',
               case num_nonnulls(d.take_profit_price, d.stop_loss_price) when 2 then 'bracket' when 1 then 'oto' else 'simple' end,
               coalesce(d.time_in_force, 'gtc'), d.limit_price, d.take_profit_price, d.stop_loss_price,
               d.reference_price, d.notional_usd, case (d.v).outcome when 'denied' then 0 else d.notional_usd end,
               case when p.is_out then 'submitting' else (d.v).outcome end,
               (d.v).code, (d.v).reason, d.signal_id, d.id, d.market_at, v_now, v_now,
               case (d.v).outcome when 'denied' then v_now end, case (d.v).outcome when 'ready' then v_now end,
               case when p.is_out then p_lease.holder end, case when p.is_out then p_lease.token end,
               case when p.is_out then v_now end, case when p.is_out then v_now + v_ttl end
        from judged d
        cross join lateral (select (d.v).outcome = 'ready' and d.place <= p_permits as is_out) p
    )
    select jsonb_agg(jsonb_build_object('id', d.id, 'state', (d.v).outcome, 'code', (d.v).code, 'reason', (d.v).reason) order by d.place),
           bool_or((d.v).outcome = 'awaiting_approval'), bool_or((d.v).code = 'REPEATED_EXECUTION'),
           bool_or((d.v).outcome <> 'denied' and ((d.snapshot).staged or (d.snapshot).stage_fraction is not null))
      into v_answers, v_asking, v_repeated, v_staged
    from judged d;

    if v_asking then
        perform private.ask_approvals(array(select r.id from unnest(p_requests) r), p_risk, v_now);
    end if;
    if v_repeated then
        update public.profiles f
           set active = false, updated_at = v_now, disabled_reason = format('%s Switched off until an admin re-enables it.', o.reason)
          from unnest(p_requests) r join public.orders o on o.id = r.id
         where f.id = o.profile_id and o.code = 'REPEATED_EXECUTION';
    end if;
    if v_staged then
        update public.trading_controls t
           set stage_entries = t.stage_entries - 1
          from unnest(p_requests) r join public.orders o on o.id = r.id
         where t.stage_entries > 0 and o.state <> 'denied' and private.in_scope(t.scope, t.scope_key, o.profile_id, o.symbol);
    end if;
    return v_answers;
end;
$$;

-- The answers to a call's entries, those of new ones that may be sent at once with their order.
create function private.with_permits(p_answers jsonb, p_new uuid[])
    returns jsonb
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select coalesce(jsonb_agg(case when o.id is null then a.value
        else a.value || jsonb_build_object('state', o.state, 'permit', to_jsonb(o)) end order by a.ordinality), '[]')
    from jsonb_array_elements(p_answers) with ordinality a
    left join public.orders o on o.id = (a.value ->> 'id')::uuid and o.state = 'submitting' and array_position(p_new, o.id) is not null;
$$;

drop function public.request_entries(text, bigint, jsonb);

-- The gate, for one or hundreds of entries. The same id sent again answers the same and does nothing. p_permits: of so many
-- from the first on those that pass may be sent at once, as claimed ones are; their answers carry the order.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any request is malformed, and then nothing changes.
create function public.request_entries(p_shard text, p_token bigint, p_requests jsonb, p_permits int default 0)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from the requests to their rows, one by one, however many rows there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_read private.entry_request[];
    v_new private.entry_request[];
    v_wave private.entry_request[];
    v_risk public.risk_configs;
    v_owners uuid[];
    v_locked boolean;
    v_overridden boolean;
    v_permits int := 0;
    v_lease public.engine_leases;
    v_waves int := 0;
    v_answers jsonb;
begin
    perform private.check_lease(p_shard, p_token);
    if p_permits > 0 and private.engine_is_current(p_shard) then
        v_permits := p_permits;
        select l.* into v_lease from public.engine_leases l where l.shard = p_shard;
    end if;
    v_read := private.read_entries(p_requests, p_shard);
    if v_read is null then
        perform private.fail(422, 'INVALID', private.entries_error(p_requests, p_shard));
    end if;

    perform private.lock_gate(array(select r.profile_id from unnest(v_read) r));
    perform private.apply_due();
    perform pg_advisory_xact_lock_shared(7201, 1);  -- private.lock_controls(false), without a call
    select coalesce(array_agg(x.r) filter (where x.known is null), '{}'), array_agg(x.owner_id),
           exists (select from public.symbol_lockouts l where l.removed_at is null and l.expires_at > now()),
           exists (select from public.gate_overrides o where o.revoked_at is null and o.expires_at > now())
      into v_new, v_owners, v_locked, v_overridden
    from (select r, o.id as known, c.owner_id
          from unnest(v_read) r
          join public.profile_capital c on c.profile_id = r.profile_id
          left join public.orders o on o.id = r.id
          order by c.profile_id for update of c) x;
    select c.* into v_risk from public.risk_configs c where c.active;
    v_risk.config := v_risk.config || '{}';  -- unpacked once: each look into a packed one unpacks it whole
    if cardinality(v_new) = 1 and cardinality(v_read) = 1 then
        v_answers := private.decide_wave(v_new, v_owners, v_risk, v_locked, v_overridden, v_permits, v_lease);
    else
        v_new := array(select distinct on (r.id) r from unnest(v_new) r order by r.id, r.position);
        for v_wave in select array_agg(r order by r.position) from unnest(v_new) r
                      join private.waves_of(v_new, v_owners, v_risk.config) w on w.n = r.position group by w.wave order by w.wave loop
            v_waves := v_waves + 1;
            v_answers := private.decide_wave(v_wave, v_owners, v_risk, v_locked, v_overridden, v_permits, v_lease);
        end loop;
        if v_waves <> 1 or cardinality(v_new) <> cardinality(v_read) then
            v_answers := (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'state', o.state, 'code', o.code, 'reason', o.reason)
                                                    order by r.position), '[]')
                          from unnest(v_read) r join public.orders o on o.id = r.id);
        end if;
    end if;
    return case when v_permits > 0 then private.with_permits(v_answers, array(select r.id from unnest(v_new) r)) else v_answers end;
end;
$$;
revoke execute on function public.request_entries(text, bigint, jsonb, int) from public, anon, authenticated;
grant execute on function public.request_entries(text, bigint, jsonb, int) to service_role;
comment on function public.request_entries(text, bigint, jsonb, int) is
    'The gate: judges entries, reserves capital, records every check. Engine only.';

-- Whether a word of the broker's says of an order no more than that it is there, under an id that nobody knows yet.
create function private.is_first_word(b jsonb)
    returns boolean
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (length(b ->> 'status') between 1 and 60 and private.state_of(b ->> 'status', 0) = 'working'
            and coalesce(b ->> 'filled_qty', '0') = '0' and b ->> 'replaces' is null and b ->> 'broker_order_id' is not null
            and not exists (select from public.orders x where x.broker_order_id = b ->> 'broker_order_id')) is true;
end;
$$;

-- Take the short way with what nearly all words about sent orders say: the broker has them as they were sent, their legs rest
-- beside them, and nothing has filled. False when one says anything else: then nothing was done, and apply_broker_orders
-- comes to the same for these too. Each order is told of once. The caller holds the profiles' capital rows.
create function private.accept_sent(p_ids uuid[], p_words jsonb[], p_shard text)
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_parents uuid[];
    v_legs jsonb[];
    v_are_plain boolean;
begin
    select bool_and((o.shard = p_shard and o.state = 'submitting' and o.broker_order_id is null and o.filled_qty = 0 and private.is_first_word(w.b)
                     and coalesce(private.positive(w.b ->> 'qty'), o.qty) = o.qty
                     and coalesce(private.price(w.b ->> 'limit_price'), o.limit_price) is not distinct from o.limit_price
                     and coalesce(private.price(w.b ->> 'stop_price'), o.stop_price) is not distinct from o.stop_price) is true)
      into v_are_plain
    from unnest(p_ids, p_words) w (id, b) left join public.orders o on o.id = w.id;
    if not v_are_plain then
        return false;
    end if;
    select array_agg(w.id), array_agg(l.value),
           bool_and((private.is_first_word(l.value) and private.positive(l.value ->> 'qty') > 0 and l.value ->> 'side' in ('buy', 'sell')
                     and l.value ->> 'type' = any (private.order_types())) is true)
           and count(*) = count(distinct l.value ->> 'broker_order_id')
           and bool_and(l.value ->> 'broker_order_id' <> w.b ->> 'broker_order_id')
      into v_parents, v_legs, v_are_plain
    from unnest(p_ids, p_words) w (id, b), jsonb_array_elements(case jsonb_typeof(w.b -> 'legs') when 'array' then w.b -> 'legs' end) l;
    if v_legs is not null and not v_are_plain then
        return false;
    end if;
    perform private.make_legs(v_parents, v_legs);
    update public.orders u
       set state = 'working', broker_order_id = w.b ->> 'broker_order_id', broker_status = w.b ->> 'status',
           broker_request_id = coalesce(w.b ->> 'request_id', u.broker_request_id),
           broker_updated_at = (w.b ->> 'updated_at')::timestamptz, accepted_at = clock_timestamp(),
           reason = coalesce(w.b ->> 'reason', u.reason)
      from unnest(p_ids, p_words) w (id, b)
     where u.id = w.id;
    return true;
end;
$$;

-- Record what came of sending orders; answers what each of them is now. The caller holds the profiles' capital rows.
-- Errors: NOT_FOUND, INVALID, CONFLICT.
create or replace function private.apply_submissions(p_results jsonb[], p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_bad jsonb;
    v_is_known boolean;
    v_ids uuid[];
    v_words jsonb[];
    v_changed uuid[];
    v_answers jsonb := '[]';
begin
    select array_agg(private.as_uuid(r.p ->> 'id')), array_agg((r.p -> 'order') || jsonb_build_object('request_id', r.p ->> 'request_id'))
      into v_ids, v_words
    from unnest(p_results) r (p) where r.p ->> 'outcome' = 'accepted';
    if cardinality(p_results) > 1
       and (not private.are_apart(v_words) or (select count(distinct r.p ->> 'id') < count(*) from unnest(p_results) r (p))) then
        for i in 1 .. cardinality(p_results) loop
            v_answers := v_answers || private.apply_submissions(p_results[i:i], p_shard);
        end loop;
        return v_answers;
    elsif cardinality(v_ids) = cardinality(p_results) and private.accept_sent(v_ids, v_words, p_shard) then
        return (select jsonb_agg(jsonb_build_object('id', i.id, 'state', 'working') order by i.place)
                from unnest(v_ids) with ordinality i (id, place));
    end if;
    select r.p, o.id is not null into v_bad, v_is_known
    from unnest(p_results) with ordinality r (p, place)
    left join public.orders o on o.id = private.as_uuid(r.p ->> 'id') and o.shard = p_shard
    where o.id is null or coalesce(r.p ->> 'outcome', '') not in ('accepted', 'rejected', 'unknown', 'not_sent')
    order by r.place limit 1;
    if v_is_known then
        perform private.fail(422, 'INVALID', format('Outcome %L of order %s is not known.', v_bad ->> 'outcome', v_bad ->> 'id'));
    elsif found then
        perform private.fail(404, 'NOT_FOUND', format('Order %s does not exist in shard %s.', left(v_bad ->> 'id', 60), p_shard));
    end if;
    if v_ids is not null then
        v_changed := private.apply_broker_orders(v_ids, v_words);
    end if;
    if cardinality(v_ids) < cardinality(p_results) is not false or not v_ids <@ v_changed then
        update public.orders u
           set state = case when r.p ->> 'outcome' = 'accepted' then u.state
                            else case r.p ->> 'outcome' when 'rejected' then 'rejected' when 'unknown' then 'unknown'
                                 else case u.purpose when 'entry' then 'canceled' else 'ready' end end::public.order_state end,
               code = case when r.p ->> 'outcome' = 'accepted' then u.code else coalesce(r.p ->> 'code', u.code) end,
               reason = case when r.p ->> 'outcome' = 'accepted' then u.reason else coalesce(left(r.p ->> 'reason', 500), u.reason) end,
               broker_request_id = coalesce(r.p ->> 'request_id', u.broker_request_id)
          from unnest(p_results) r (p)
         where u.id = private.as_uuid(r.p ->> 'id')
           and case r.p ->> 'outcome' when 'accepted' then u.broker_request_id is distinct from coalesce(r.p ->> 'request_id', u.broker_request_id)
                    else u.state in ('submitting', 'unknown') end;
    end if;
    return (select jsonb_agg(jsonb_build_object('id', u.id, 'state', u.state) order by r.place)
            from unnest(p_results) with ordinality r (p, place) join public.orders u on u.id = private.as_uuid(r.p ->> 'id'));
end;
$$;
