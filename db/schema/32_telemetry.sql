-- Telemetry: what an engine's metrics need to know of what happened in the database, read by cursor.

-- What happened since the cursors: changes of mode, stages of the shard's orders, and how things stand. Without cursors
-- it begins where the shard's engine took its lease. The last two seconds are left for the next call, so that a
-- transaction which commits a little later is not passed over. Called by: engines.
create function public.engine_telemetry(p_shard text, p_control_after bigint default null, p_order_after bigint default null,
                                        p_limit int default 1000)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_until timestamptz := clock_timestamp() - interval '2 seconds';
    v_limit int := least(greatest(coalesce(p_limit, 1000), 1), 10000);
    v_since timestamptz := coalesce((select h.started_at from public.engine_heartbeats h where h.shard = p_shard), v_until);
    v_control bigint := coalesce(p_control_after, (
        select e.id from public.trading_control_events e where e.changed_at < v_since order by e.id desc limit 1), 0);
    v_order bigint := coalesce(p_order_after, (select e.id from public.order_events e where e.at < v_since order by e.id desc limit 1), 0);
begin
    return (
        with changes as (
            select e.*, case when e.to_mode = 'RUNNING' then e.changed_at - (
                       select s.changed_at from public.trading_control_events s
                       where s.scope = e.scope and s.scope_key = e.scope_key and s.id < e.id
                         and s.from_mode = 'RUNNING' and s.to_mode <> 'RUNNING' order by s.id desc limit 1) end as stopped_for
            from public.trading_control_events e
            where e.id > v_control and e.changed_at < v_until order by e.id limit v_limit
        ), events as (
            select n.* from public.order_events n where n.id > v_order and n.at < v_until order by n.id limit v_limit
        ), stages as (
            select o.purpose, o.code, e.to_state, case
                       when e.to_state = 'submitting' then e.at - coalesce(o.ready_at, o.created_at)
                       when e.from_state in ('submitting', 'unknown') and e.to_state in ('working', 'partially_filled', 'filled')
                           then coalesce(o.accepted_at, e.at) - o.submitted_at end as before,
                   case when e.to_state = 'filled' then e.at - coalesce(o.accepted_at, o.submitted_at, o.created_at) end as filling
            from events e join public.orders o on o.id = e.order_id
            where o.shard = p_shard
        )
        select jsonb_build_object(
            'control_id', coalesce((select max(c.id) from changes c), v_control),
            'order_id', coalesce((select max(e.id) from events e), v_order),
            'changes', (select coalesce(jsonb_agg(jsonb_build_object(
                    'scope', c.scope, 'to_mode', c.to_mode,
                    'by', case when c.schedule_id is not null then 'schedule' when c.changed_by is null then 'system' else 'person' end,
                    'stopped_s', extract(epoch from c.stopped_for)) order by c.id), '[]')
                from changes c),
            'stages', (select coalesce(jsonb_agg(jsonb_build_object('purpose', s.purpose, 'stage', t.stage, 'seconds', extract(epoch from t.took))), '[]')
                from stages s
                cross join lateral (values (case when s.to_state = 'submitting' then 'gate_to_submit' else 'submit_to_accepted' end, s.before),
                                           ('accepted_to_filled', s.filling)) t (stage, took)
                where t.took is not null),
            'denied', (select coalesce(jsonb_object_agg(d.code, d.n), '{}')
                from (select coalesce(s.code, 'UNKNOWN') as code, count(*) as n from stages s
                      where s.to_state = 'denied' and s.purpose = 'entry' group by 1) d),
            'findings', (select coalesce(jsonb_object_agg(f.kind, f.n), '{}')
                from (select d.kind, count(*) as n from public.reconciliation_findings d
                      where d.shard = p_shard and d.status = 'open' group by 1) f),
            'alerts', (select coalesce(jsonb_object_agg(a.rule, a.n), '{}')
                from (select r.rule, count(*) as n from public.alerts r where r.resolved_at is null group by 1) a),
            'notices_waiting', (select count(*) from public.notifications w where w.status in ('queued', 'sending'))));
end;
$$;
revoke execute on function public.engine_telemetry(text, bigint, bigint, int) from public, anon, authenticated;
grant execute on function public.engine_telemetry(text, bigint, bigint, int) to service_role;
comment on function public.engine_telemetry(text, bigint, bigint, int) is
    'What an engine''s metrics need to know of what happened in the database, by cursor. Engine only.';
