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

-- Issue the permits for orders that may be sent now: the caller has judged that under the controls' shared lock, and
-- holds the orders or the capital they reserve. Answers the orders in no order of their own.
create function private.issue_permits(p_ids uuid[], p_shard text, p_token bigint, p_config jsonb)
    returns setof public.orders
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_ttl interval := make_interval(secs => coalesce((p_config #>> '{order_limits,permit_ttl_s}')::numeric, 10)::float8);
    v_holder text := (select l.holder from public.engine_leases l where l.shard = p_shard);
    v_now timestamptz := clock_timestamp();
begin
    return query
        update public.orders o
           set state = 'submitting', claimed_by = v_holder, permit_token = p_token, submitted_at = v_now, permit_deadline = v_now + v_ttl
         where o.id = any (p_ids) and o.state = 'ready'
        returning o.*;
end;
$$;

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
    v_config jsonb;
    v_is_current boolean;
    v_ids uuid[];
begin
    perform private.check_lease(p_shard, p_token);
    if not exists (select 1 from public.orders o where o.shard = p_shard and o.state in ('ready', 'awaiting_approval')) then
        return;
    end if;
    select c.config, private.engine_is_current(p_shard) into v_config, v_is_current from private.active_risk_config() c;
    perform private.apply_due();
    perform private.lock_controls(p_exclusive => false);
    perform private.expire_waiting(
        p_shard, clock_timestamp() - make_interval(secs => coalesce((v_config #>> '{order_limits,entry_ttl_s}')::numeric, 60)::float8));
    v_ids := array(
        select r.id from public.orders r
         where r.shard = p_shard and r.state = 'ready'
           and (p_purpose is null or r.purpose::text = p_purpose)
           and private.effective_mode(r.profile_id, r.symbol)
               < case r.purpose when 'entry' then 'PAUSED' else 'HALTED' end::public.control_mode
           and (r.purpose <> 'entry' or v_is_current)
         order by (r.purpose = 'entry'), r.created_at, r.id
         limit least(greatest(coalesce(p_limit, 50), 1), 500)
         for update skip locked);
    if cardinality(v_ids) > 0 then
        return query select p.* from private.issue_permits(v_ids, p_shard, p_token, v_config) p;
    elsif not v_is_current then
        perform private.refuse_outdated_engine(p_shard);
    end if;
end;
$$;

-- Give new entries of a call that passed their permits at once: the caller has held the controls' shared lock since before
-- they were judged. Answers what became of each, with the order where its permit was issued; p_max: how many at most.
create function private.with_permits(p_answers jsonb, p_new uuid[], p_shard text, p_token bigint, p_config jsonb, p_max int)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_passed uuid[] := array(
        select (a.value ->> 'id')::uuid from jsonb_array_elements(p_answers) with ordinality a
        where a.value ->> 'state' = 'ready' and (a.value ->> 'id')::uuid = any (p_new) order by a.ordinality limit least(p_max, 500));
begin
    if cardinality(v_passed) = 0 or not private.engine_is_current(p_shard) then
        return p_answers;  -- an outdated engine is told so when it claims
    end if;
    return (select jsonb_agg(case when o.id is null then a.value
                                  else a.value || jsonb_build_object('state', o.state, 'permit', to_jsonb(o)) end order by a.ordinality)
            from jsonb_array_elements(p_answers) with ordinality a
            left join private.issue_permits(v_passed, p_shard, p_token, p_config) o on o.id = (a.value ->> 'id')::uuid);
end;
$$;

drop function public.request_entries(text, bigint, jsonb);

-- The gate, for one or hundreds of entries. The same id sent again answers the same and does nothing. p_permits: how many
-- of those that pass may be sent at once, as claimed ones are; their answers carry the order. A repeated id gets none.
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
    v_waves int := 0;
    v_answers jsonb;
begin
    perform private.check_lease(p_shard, p_token);
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
        v_answers := private.decide_wave(v_new, v_owners, v_risk, v_locked, v_overridden);
    else
        v_new := array(select distinct on (r.id) r from unnest(v_new) r order by r.id, r.position);
        for v_wave in select array_agg(r order by r.position) from unnest(v_new) r
                      join private.waves_of(v_new, v_owners, v_risk.config) w on w.n = r.position group by w.wave order by w.wave loop
            v_waves := v_waves + 1;
            v_answers := private.decide_wave(v_wave, v_owners, v_risk, v_locked, v_overridden);
        end loop;
        if v_waves <> 1 or cardinality(v_new) <> cardinality(v_read) then
            v_answers := (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'state', o.state, 'code', o.code, 'reason', o.reason)
                                                    order by r.position), '[]')
                          from unnest(v_read) r join public.orders o on o.id = r.id);
        end if;
    end if;
    if p_permits > 0 then
        return private.with_permits(v_answers, array(select r.id from unnest(v_new) r), p_shard, p_token, v_risk.config, p_permits);
    end if;
    return v_answers;
end;
$$;
revoke execute on function public.request_entries(text, bigint, jsonb, int) from public, anon, authenticated;
grant execute on function public.request_entries(text, bigint, jsonb, int) to service_role;
comment on function public.request_entries(text, bigint, jsonb, int) is
    'The gate: judges entries, reserves capital, records every check. Engine only.';
