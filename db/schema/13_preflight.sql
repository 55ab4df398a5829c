-- The pre-flight list: what has to hold before trading resumes.

-- What a resume needs to be safe, item by item: [{item, ok, detail}]. Concerns the shards, orders and
-- positions of the scope.
create function private.preflight(p_scope public.control_scope, p_key text)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_shards text[] := array(select distinct f.shard from public.profiles f
                             where f.active and private.in_scope(p_scope, p_key, f.id, case when p_key = any (f.symbols) then p_key end));
    v_unknown int := (select count(*) from public.orders o
                      where o.state = 'unknown' and private.in_scope(p_scope, p_key, o.profile_id, o.symbol));
    v_naked int := (select count(*) from public.positions n
                    where n.protected_qty < n.qty and private.in_scope(p_scope, p_key, n.profile_id, n.symbol)
                      and not exists (select 1 from public.orders o
                                      where o.trade_id = n.trade_id and o.purpose in ('entry', 'exit')
                                        and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')));
    v_items jsonb := '[]';
begin
    v_items := (select coalesce(jsonb_agg(i.item order by i.n, s.shard), '[]')
        from unnest(v_shards) s (shard)
        left join public.engine_heartbeats h on h.shard = s.shard
        cross join lateral (values
            (1, private.preflight_item('ENGINE_ALIVE', clock_timestamp() - h.beat_at < interval '15 seconds',
                format('The engine of shard %s reported %s.', s.shard, coalesce('at ' || h.beat_at, 'never')))),
            (2, private.preflight_item('RECONCILED', (
                    select r.finished_at >= h.started_at and r.finished_at > clock_timestamp() - interval '10 minutes'
                    from public.reconciliation_runs r where r.shard = s.shard order by r.finished_at desc limit 1)
                and not exists (select 1 from public.reconciliation_findings d
                    where d.shard = s.shard and d.status = 'open' and (p_scope <> 'symbol' or coalesce(d.symbol, p_key) = p_key)),
                format('The books of shard %s were compared with the broker''s in the last 10 minutes and agree.', s.shard))),
            (5, private.preflight_item('DATA_FRESH', (h.detail ->> 'data_age_s')::numeric <= 30,
                format('The engine of shard %s read the market %s seconds ago.', s.shard, coalesce(h.detail ->> 'data_age_s', 'an unknown number of')))),
            (6, private.preflight_item('BROKER_NOT_BLOCKED', (h.detail ->> 'broker_blocked') = 'false',
                format('The broker account of shard %s may trade.', s.shard)))) i (n, item));
    return v_items
        || private.preflight_item('NO_UNKNOWN_ORDER', v_unknown = 0, format('%s orders whose fate at the broker is not known.', v_unknown))
        || private.preflight_item('POSITIONS_PROTECTED', v_naked = 0, format('%s positions that no stop at the broker covers in full.', v_naked));
end;
$$;

create function private.preflight_item(p_item text, p_ok boolean, p_detail text)
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('item', p_item, 'ok', p_ok is true, 'detail', p_detail);
$$;

create function private.preflight_failures(p_scope public.control_scope, p_key text)
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select jsonb_path_query_array(private.preflight(p_scope, p_key), '$[*] ? (@.ok == false)');
$$;

-- What would stand in the way of a resume right now. Called by: operators and admins, before they resume.
create function public.preflight_resume(p_scope text default 'global', p_scope_key text default null)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_key text := case when p_scope in ('global', 'profile', 'symbol')
                       then private.control_key(p_scope::public.control_scope, p_scope_key) end;
begin
    if not private.is_staff() then
        perform private.fail(403, 'FORBIDDEN', 'Only operators and admins see the pre-flight list.');
    elsif v_key is null then
        perform private.fail(422, 'INVALID', format('Scope %L %L is not known here.', left(p_scope, 40), left(p_scope_key, 60)),
                             'Use global, profile with its id, or symbol.');
    end if;
    return (select jsonb_build_object('ok', not exists (select 1 from jsonb_array_elements(i.items) e where e.value ->> 'ok' = 'false'),
                                      'items', i.items)
            from (select private.preflight(p_scope::public.control_scope, v_key) as items) i);
end;
$$;

create function private.failing_items(p_items jsonb)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select 'Not met: ' || string_agg(distinct e.value ->> 'item', ', ') || '.' from jsonb_array_elements(p_items) e;
$$;

revoke execute on function public.preflight_resume(text, text) from public, anon;
grant execute on function public.preflight_resume(text, text) to authenticated;
comment on function public.preflight_resume(text, text) is 'The pre-flight list of a resume, item by item. Operators and admins.';
