-- Leases: one engine writes per shard. Every write of an engine carries the fencing token of its
-- lease; a token that is not the newest one, or whose lease has run out, is refused.

create table public.engine_leases (
    shard       text primary key,
    holder      text not null,
    token       bigint not null,
    acquired_at timestamptz not null,
    expires_at  timestamptz not null
);
comment on table public.engine_leases is 'Who may write for a shard, until when, with which fencing token.';

create table public.engine_heartbeats (
    shard      text primary key,
    holder     text not null,
    token      bigint not null,
    version    text not null default '',
    started_at timestamptz not null,
    beat_at    timestamptz not null,
    market_at  timestamptz,                      -- the broker's clock
    jobs       jsonb not null default '{}',
    detail     jsonb not null default '{}'
);
comment on table public.engine_heartbeats is 'The last sign of life of each shard''s engine and its jobs.';

alter table public.engine_leases enable row level security;
alter table public.engine_heartbeats enable row level security;
revoke all on public.engine_leases, public.engine_heartbeats from anon, authenticated, service_role;
grant select on public.engine_leases, public.engine_heartbeats to authenticated, service_role;
create policy "staff read the leases"
    on public.engine_leases for select to authenticated using ((select private.is_staff()));
create policy "members read the heartbeats"
    on public.engine_heartbeats for select to authenticated using ((select private.caller_role()) is not null);

-- What this schema is called and the oldest engine that may open positions on it. `schema` is the version of
-- the newest migration; raise `oldest_engine` where an older one would decide or record something wrongly.
-- Called by: an engine at its start.
create function public.schema_version()
    returns jsonb
    language sql
    immutable
    set search_path = ''
as $$
    select jsonb_build_object('schema', '20261201050000', 'oldest_engine', '0.2.0');
$$;
revoke execute on function public.schema_version() from public, anon, authenticated;
grant execute on function public.schema_version() to service_role;
comment on function public.schema_version() is 'The schema''s version and the oldest engine that it serves. Engine only.';

-- Whether the shard's engine is at least as new as the schema asks for. Every engine tells its version before
-- it asks for permits; what is no version, such as a tool's name, is not held to one.
create function private.engine_is_current(p_shard text)
    returns boolean
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select not exists (
        select 1 from public.engine_heartbeats h
         where h.shard = p_shard and h.version ~ '^\d{1,6}(\.\d{1,6}){1,3}'
           and string_to_array(substring(h.version from '^\d{1,6}(?:\.\d{1,6}){1,3}'), '.')::int[]
               < string_to_array(public.schema_version() ->> 'oldest_engine', '.')::int[]);
$$;

-- Raise ENGINE_OUTDATED when entries wait for an engine that is older than the schema. Exits are never held back.
create function private.refuse_outdated_engine(p_shard text)
    returns void
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    if exists (select 1 from public.orders o where o.shard = p_shard and o.state = 'ready' and o.purpose = 'entry')
       and not private.engine_is_current(p_shard) then
        perform private.fail(409, 'ENGINE_OUTDATED',
            format('The engine of shard %s has version %s; this database gives permits for entries to %s and newer.', p_shard,
                   (select h.version from public.engine_heartbeats h where h.shard = p_shard),
                   public.schema_version() ->> 'oldest_engine'),
            'Stop the engine, install the current version, and start it again. Exits go on meanwhile.');
    end if;
end;
$$;

-- Raise LEASE_LOST unless the token is the shard's current one. Called first by every engine function
-- that only reads.
create function private.require_lease(p_shard text, p_token bigint)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    if not exists (select 1 from public.engine_leases l
                   where l.shard = p_shard and l.token = p_token and l.expires_at > clock_timestamp()) then
        perform private.fail(409, 'LEASE_LOST',
            format('The lease of shard %s is no longer held with token %s.', p_shard, p_token),
            'Stop writing; acquire the lease again and recover before trading.');
    end if;
end;
$$;

-- The same for every engine function that writes: the key-share lock keeps a takeover out until the
-- caller commits, and lets heartbeats through.
create function private.check_lease(p_shard text, p_token bigint)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform from public.engine_leases l where l.shard = p_shard and l.token = p_token and l.expires_at > clock_timestamp() for key share;
    if not found then
        perform private.require_lease(p_shard, p_token);
    end if;
end;
$$;

-- Take the shard's lease when it is free, run out, or already this holder's.
-- Called by: an engine at its start. A holder's name is unique to the process.
create function public.acquire_lease(p_shard text, p_holder text, p_ttl_s int default 10)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_lease public.engine_leases;
    v_now timestamptz;
    v_ttl interval := make_interval(secs => least(greatest(coalesce(p_ttl_s, 10), 1), 300));
begin
    if coalesce(length(p_shard), 0) not between 1 and 60 or coalesce(length(p_holder), 0) not between 1 and 200 then
        perform private.fail(422, 'INVALID', 'A lease needs the name of a shard (up to 60 characters) and of its holder (up to 200).');
    end if;
    insert into public.engine_leases (shard, holder, token, acquired_at, expires_at)
    values (p_shard, '', 0, now(), '-infinity') on conflict do nothing;
    select l.* into v_lease from public.engine_leases l where l.shard = p_shard for update;
    v_now := clock_timestamp();
    if v_lease.expires_at > v_now and v_lease.holder <> p_holder then
        return jsonb_build_object('acquired', false, 'token', null, 'holder', v_lease.holder,
                                  'expires_at', v_lease.expires_at);
    end if;
    update public.engine_leases l
       set holder = p_holder, token = l.token + 1, acquired_at = v_now, expires_at = v_now + v_ttl
     where l.shard = p_shard returning l.* into v_lease;
    insert into public.engine_heartbeats as h (shard, holder, token, started_at, beat_at)
    values (p_shard, p_holder, v_lease.token, v_now, v_now)
    on conflict (shard) do update
        set holder = excluded.holder, token = excluded.token, started_at = excluded.started_at,
            beat_at = excluded.beat_at, version = excluded.version;
    return jsonb_build_object('acquired', true, 'token', v_lease.token, 'holder', p_holder,
                              'expires_at', v_lease.expires_at);
end;
$$;

create function public.release_lease(p_shard text, p_token bigint)
    returns boolean
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    with released as (
        update public.engine_leases l set expires_at = clock_timestamp()
        where l.shard = p_shard and l.token = p_token returning 1)
    select exists (select 1 from released);
$$;

-- Renew the lease, note the sign of life, apply the changes of mode that are due. Answers trading_status.
create function public.heartbeat(p_shard text, p_token bigint, p_version text default '', p_market_at timestamptz default null,
                                 p_jobs jsonb default '{}', p_detail jsonb default '{}', p_ttl_s int default 10)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    update public.engine_leases l
       set expires_at = clock_timestamp() + make_interval(secs => least(greatest(coalesce(p_ttl_s, 10), 1), 300))
     where l.shard = p_shard and l.token = p_token and l.expires_at > clock_timestamp();
    if not found then
        perform private.check_lease(p_shard, p_token);
    end if;
    update public.engine_heartbeats h
       set beat_at = clock_timestamp(), version = coalesce(p_version, ''), market_at = coalesce(p_market_at, h.market_at),
           jobs = coalesce(p_jobs, '{}'), detail = coalesce(p_detail, '{}')
     where h.shard = p_shard;
    perform private.apply_due(p_conditions => true);
    return public.trading_status();
end;
$$;

revoke execute on function public.acquire_lease(text, text, int) from public, anon, authenticated;
revoke execute on function public.release_lease(text, bigint) from public, anon, authenticated;
revoke execute on function public.heartbeat(text, bigint, text, timestamptz, jsonb, jsonb, int) from public, anon, authenticated;
grant execute on function public.acquire_lease(text, text, int) to service_role;
grant execute on function public.release_lease(text, bigint) to service_role;
grant execute on function public.heartbeat(text, bigint, text, timestamptz, jsonb, jsonb, int) to service_role;
comment on function public.acquire_lease(text, text, int) is 'Take a shard''s lease with a new fencing token. Engine only.';
comment on function public.heartbeat(text, bigint, text, timestamptz, jsonb, jsonb, int) is
    'Renew the lease and note the sign of life; answers trading_status. Engine only; LEASE_LOST when stale.';
