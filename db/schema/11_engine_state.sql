-- The engine's own state: what it needs to start again, and what reconciliation found.

create table public.bot_state_snapshots (
    id       bigint generated always as identity primary key,
    shard    text not null,
    token    bigint not null,
    state    jsonb not null,
    saved_at timestamptz not null default now()
);
create index bot_state_snapshots_shard on public.bot_state_snapshots (shard, id desc);
comment on table public.bot_state_snapshots is 'Snapshots of an engine''s state; the newest of a shard is loaded at its start.';

create table public.reconciliation_runs (
    id                uuid primary key default gen_random_uuid(),
    shard             text not null,
    kind              text not null check (kind in ('full', 'incremental')),
    started_at        timestamptz not null,
    finished_at       timestamptz not null,
    orders_checked    int not null,
    positions_checked int not null,
    findings          int not null,
    broker_cursor     timestamptz,               -- market time: orders submitted until then were compared
    orders_changed    int not null default 0
);
create index reconciliation_runs_shard on public.reconciliation_runs (shard, finished_at desc);
create index reconciliation_runs_finished on public.reconciliation_runs (finished_at desc);
comment on table public.reconciliation_runs is 'Each comparison of our books with the broker''s.';

create table public.reconciliation_findings (
    id            bigint generated always as identity primary key,
    run_id        uuid not null references public.reconciliation_runs (id),
    shard         text not null,
    key           text not null,                 -- the same difference, found again, is the same finding
    kind          text not null,
    symbol        text,
    detail        jsonb not null default '{}',
    status        text not null check (status in ('open', 'repaired')),
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,          -- when it last changed; an open one was still there in the newest run
    severity      text not null default 'warning' check (severity in ('info', 'warning', 'critical')),
    action        text not null default '',      -- what was done about it
    advice        text not null default '',      -- what a person should do
    ignored       boolean not null default false -- there, and not minded by the account's policy
);
create unique index reconciliation_findings_open on public.reconciliation_findings (shard, key) where status = 'open';
create unique index reconciliation_findings_ignored on public.reconciliation_findings (shard, key) where ignored;
create index reconciliation_findings_run on public.reconciliation_findings (run_id);
create index reconciliation_findings_last_seen on public.reconciliation_findings (last_seen_at desc);
comment on table public.reconciliation_findings is 'Differences between our books and the broker''s, open or repaired.';

alter table public.bot_state_snapshots enable row level security;
alter table public.reconciliation_runs enable row level security;
alter table public.reconciliation_findings enable row level security;
revoke all on public.bot_state_snapshots, public.reconciliation_runs, public.reconciliation_findings from anon, authenticated, service_role;
grant select on public.bot_state_snapshots, public.reconciliation_runs, public.reconciliation_findings to authenticated, service_role;
create policy "staff read engine snapshots"
    on public.bot_state_snapshots for select to authenticated using ((select private.is_staff()));
-- These two grow without end. Said as a bound on the time, which an index has, what others may not see is not walked
-- through to find that out.
create policy "staff read reconciliation runs"
    on public.reconciliation_runs for select to authenticated
    using (finished_at > (select case when (select private.is_staff()) then '-infinity'::timestamptz else 'infinity' end));
create policy "staff read findings"
    on public.reconciliation_findings for select to authenticated
    using (last_seen_at > (select case when (select private.is_staff()) then '-infinity'::timestamptz else 'infinity' end));

-- Keep a snapshot; the last hundred of a shard stay. Called by: the engine. Errors: LEASE_LOST.
create function public.save_bot_state(p_shard text, p_token bigint, p_state jsonb)
    returns timestamptz
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_saved timestamptz;
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_state) is distinct from 'object' then
        perform private.fail(422, 'INVALID', 'p_state must be an object.');
    end if;
    insert into public.bot_state_snapshots (shard, token, state, saved_at)
    values (p_shard, p_token, p_state, clock_timestamp()) returning saved_at into v_saved;
    delete from public.bot_state_snapshots s
     where s.shard = p_shard
       and s.id <= (select n.id from public.bot_state_snapshots n where n.shard = p_shard order by n.id desc offset 100 limit 1);
    return v_saved;
end;
$$;

-- The newest snapshot of a shard; NULL when there is none. Called by: the engine. Errors: LEASE_LOST.
create function public.load_bot_state(p_shard text, p_token bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return (select jsonb_build_object('state', s.state, 'saved_at', s.saved_at)
            from public.bot_state_snapshots s where s.shard = p_shard order by s.id desc limit 1);
end;
$$;

-- What an engine reads of its shard, and no more. As json, which is text from the start: to build whole rows as jsonb
-- takes several times as long. What is open is gone through once: while statistics are old, hardly anything seems to be,
-- and the planner would go through all of it again for each trade.
create function private.brief_snapshot(p_shard text)
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
revoke execute on function private.brief_snapshot(text) from public, anon, authenticated;

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

revoke execute on function public.save_bot_state(text, bigint, jsonb) from public, anon, authenticated;
revoke execute on function public.load_bot_state(text, bigint) from public, anon, authenticated;
revoke execute on function public.engine_snapshot(text, bigint, boolean, boolean) from public, anon, authenticated;
grant execute on function public.save_bot_state(text, bigint, jsonb) to service_role;
grant execute on function public.load_bot_state(text, bigint) to service_role;
grant execute on function public.engine_snapshot(text, bigint, boolean, boolean) to service_role;
comment on function public.engine_snapshot(text, bigint, boolean, boolean) is 'Everything an engine needs to act for its shard. Engine only.';
