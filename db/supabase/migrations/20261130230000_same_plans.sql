-- What an engine reads and reconciles takes the same time whatever the planner knows. Made from db/schema; the two build
-- the same database.

drop index public.orders_open_entries_of_owner;
-- What an owner's entries keep reserved, for the limits on exposure: what has ended keeps nothing.
create index orders_reserved on public.orders (owner_id, symbol) where reserved_usd > 0;

-- What some owners hold or are entering, in USD at cost. Keys: the owner's id for all of it,
-- the id and a sector for that sector.
create or replace function private.owners_usd(p_owners uuid[], p_config jsonb)
    returns jsonb
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (
        select jsonb_object_agg(x.key, x.usd)
        from (select e.owner_id || coalesce(e.sector, '') as key, sum(e.usd) as usd
              from (select n.owner_id, private.sector_of(p_config, n.symbol) as sector, n.cost_usd as usd
                    from public.positions n where n.owner_id = any (p_owners)
                    union all
                    select o.owner_id, private.sector_of(p_config, o.symbol), o.reserved_usd
                    from public.orders o
                    where o.owner_id = any (p_owners) and o.reserved_usd > 0) e
              group by grouping sets ((e.owner_id), (e.owner_id, e.sector))) x);
end;
$$;

-- What this schema is called and the oldest engine that may open positions on it. `schema` is the version of
-- the newest migration; raise `oldest_engine` where an older one would decide or record something wrongly.
-- Called by: an engine at its start.
create or replace function public.schema_version()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('schema', '20261130230000', 'oldest_engine', '0.2.0');
$$;

-- What an engine reads of its shard, and no more. As json, which is text from the start: to build whole rows as jsonb
-- takes several times as long. What is open is gone through once: while statistics are old, hardly anything seems to be,
-- and the planner would go through all of it again for each trade.
create or replace function private.brief_snapshot(p_shard text)
    returns json
    language plpgsql
    stable
    security definer
    set search_path = ''
    set enable_nestloop = off
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
                       n.trade_id in (select o.trade_id from public.orders o where o.purpose = 'exit' and o.trade_id is not null
                                       and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) as exit_working
                  from held n) b),
            'orders', coalesce(t.orders, '[]'),
            'legs', coalesce(t.legs, '[]'),
            'risk_config', (select json_build_object('version', r.version, 'config', r.config)
                              from public.risk_configs r where r.active))
          from told t);
end;
$$;

-- What our books of all shards say the shard's broker account holds. Called by: the engine. Errors: LEASE_LOST.
create or replace function public.reconcile_books(p_shard text, p_token bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_account text := private.account_of(p_shard);  -- once: as a condition it would be asked for each profile
begin
    perform private.require_lease(p_shard, p_token);
    return (select coalesce(jsonb_object_agg(h.symbol, h.qty::text), '{}')
            from (select n.symbol, sum(case n.side when 'long' then n.qty else -n.qty end) as qty
                  from public.positions n join public.profiles f on f.id = n.profile_id
                  where f.broker_account = v_account group by n.symbol) h);
end;
$$;

create or replace function private.note_findings(p_shard text, p_run uuid, p_findings jsonb, p_now timestamptz)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_account text := private.account_of(p_shard);
    v_found public.reconciliation_findings[] := array(
        select distinct on (n.key) row(0, p_run, p_shard, n.key, n.kind, n.symbol, coalesce(n.detail, '{}'),
                   case when g.ignored then 'repaired' else coalesce(n.status, 'open') end, p_now, p_now, coalesce(n.severity, 'warning'),
                   case when g.ignored then 'Ignored, as the account''s policy says.' else coalesce(n.action, '') end,
                   coalesce(n.advice, ''), g.ignored)::public.reconciliation_findings
        from jsonb_to_recordset(p_findings) as n (key text, kind text, symbol text, detail jsonb, status text, severity text, action text, advice text)
        cross join lateral (select n.kind in ('ORDER_NOT_OURS', 'POSITION_MISMATCH')
            and (private.external_policy_of(v_account, n.symbol)).policy = 'ignore' as ignored) g);
begin
    update public.reconciliation_findings f
       set status = 'repaired', ignored = false, last_seen_at = p_now
     where f.shard = p_shard and (f.status = 'open' or f.ignored)
       and not exists (select 1 from unnest(v_found) n where n.key = f.key and (n.status = 'open' and f.status = 'open' or n.ignored and f.ignored));
    insert into public.reconciliation_findings as f (run_id, shard, key, kind, symbol, detail, status, first_seen_at, last_seen_at,
                                                     severity, action, advice, ignored)
    select n.run_id, n.shard, n.key, n.kind, n.symbol, n.detail, n.status, p_now, p_now, n.severity, n.action, n.advice, n.ignored
    from unnest(v_found) n
    where n.status = 'open' or n.ignored and not exists (select 1 from public.reconciliation_findings f where f.shard = p_shard and f.key = n.key and f.ignored)
          or n.status = 'repaired' and not n.ignored
    on conflict (shard, key) where status = 'open' do update
        set last_seen_at = p_now, detail = excluded.detail, run_id = excluded.run_id, severity = excluded.severity,
            action = excluded.action, advice = excluded.advice
        where (f.detail, f.severity, f.action, f.advice) is distinct from (excluded.detail, excluded.severity, excluded.action, excluded.advice);
end;
$$;
