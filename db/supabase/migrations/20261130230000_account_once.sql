-- A shard's broker account is looked up once per reconciliation. Made from db/schema; the two build the same database.

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
