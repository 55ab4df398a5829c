-- Signals: what a strategy wanted, and on which bar. Written by the gate with its decision; what a layer kept from
-- the gate is written by the engine.

create table public.signals (
    id         uuid primary key default gen_random_uuid(),
    owner_id   uuid not null,
    profile_id uuid not null,                    -- written with the order, which refers to the profile
    symbol     text not null,
    side       public.order_side not null,
    strategy   text not null,
    strength   numeric,
    bar_at     timestamptz,                      -- the bar it was seen on, market time
    detail     jsonb not null default '{}',
    market_at  timestamptz,
    created_at timestamptz not null default now(),
    blocked_by text                              -- the layer that kept it from the gate; NULL: the gate judged it
);
create index signals_owner on public.signals (owner_id, created_at desc);
create index signals_profile on public.signals (profile_id, created_at desc);
comment on table public.signals is 'What a strategy wanted, and on which bar.';

alter table public.signals enable row level security;
revoke all on public.signals from anon, authenticated, service_role;
grant select on public.signals to authenticated, service_role;
create policy "owners and staff read signals"
    on public.signals for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- What is wrong with one blocked signal; NULL when it is well formed.
create function private.blocked_signal_error(p jsonb, p_shard text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when jsonb_typeof(p) <> 'object' then 'a signal must be an object'
        when private.as_uuid(p ->> 'id') is null then 'id must be a uuid'
        when not exists (select 1 from public.profiles f where f.id = private.as_uuid(p ->> 'profile_id') and f.shard = p_shard
                            and p ->> 'symbol' = any (f.symbols))
            then 'profile_id must name a profile of the shard, and symbol one of its symbols'
        when coalesce(p ->> 'side', '') not in ('buy', 'sell') then 'side must be buy or sell'
        when coalesce(length(p ->> 'strategy') between 1 and 100, false) is false then 'strategy must have 1 to 100 characters'
        when coalesce(p ->> 'strength', '0') !~ '^-?[0-9]{1,15}(\.[0-9]{1,30})?$' then 'strength must be a number'
        when private.is_time(p ->> 'bar_at') is not true or private.is_time(p ->> 'market_at') is not true
            then 'bar_at and market_at must be times such as 2026-01-05T15:00:00Z'
        when jsonb_typeof(p -> 'detail') is distinct from 'object' or pg_column_size(p -> 'detail') > 65536
            then 'detail must be an object of at most 64 KB'
        when coalesce(p ->> 'blocked_by', '') !~ '^[a-z][a-z0-9_]{0,39}$' then 'blocked_by must be the name of a layer'
    end;
$$;

-- Keep signals that a layer kept from the gate. The same id sent again is kept once.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any signal is malformed, and then nothing changes.
create function public.record_signals(p_shard text, p_token bigint, p_signals jsonb)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_error text;
    v_count int;
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_signals) is distinct from 'array' then
        perform private.fail(422, 'INVALID', 'p_signals must be an array of signals.');
    end if;
    select format('Signal %s: %s.', coalesce(left(e.value ->> 'id', 60), '(no id)'), private.blocked_signal_error(e.value, p_shard))
      into v_error
    from jsonb_array_elements(p_signals) e where private.blocked_signal_error(e.value, p_shard) is not null limit 1;
    if v_error is not null then
        perform private.fail(422, 'INVALID', v_error);
    end if;
    insert into public.signals (id, owner_id, profile_id, symbol, side, strategy, strength, bar_at, detail, market_at, created_at,
                                blocked_by)
    select (e.value ->> 'id')::uuid, f.owner_id, f.id, e.value ->> 'symbol', (e.value ->> 'side')::public.order_side,
           e.value ->> 'strategy', (e.value ->> 'strength')::numeric, (e.value ->> 'bar_at')::timestamptz, e.value -> 'detail',
           (e.value ->> 'market_at')::timestamptz, clock_timestamp(), e.value ->> 'blocked_by'
    from jsonb_array_elements(p_signals) e join public.profiles f on f.id = (e.value ->> 'profile_id')::uuid
    on conflict (id) do nothing;
    get diagnostics v_count = row_count;
    return v_count;
exception
    when data_exception then
        perform private.fail(422, 'INVALID', 'A signal holds a value that cannot be read.');
end;
$$;
revoke execute on function public.record_signals(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.record_signals(text, bigint, jsonb) to service_role;
comment on function public.record_signals(text, bigint, jsonb) is 'Keep signals that a layer has blocked. Engine only.';
