-- Foundation: the private schema, shared types and the helpers that every function uses.
-- Nothing in `private` is exposed through PostgREST.

create schema if not exists private;
revoke all on schema private from public;
grant usage on schema private to authenticated, service_role;

-- Supabase grants everything on new objects in public to the client roles. Here the opposite
-- holds: a table or function is closed until its own file opens it.
alter default privileges in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges in schema public revoke execute on functions from public, anon, authenticated, service_role;
alter default privileges revoke execute on functions from public;

create type public.member_role as enum ('admin', 'operator', 'analyst');
create type public.trading_mode as enum ('paper', 'live', 'disabled');
create type public.control_scope as enum ('global', 'profile', 'symbol');
-- Ordered from the least to the most restrictive: max() of several is the effective mode.
create type public.control_mode as enum ('RUNNING', 'PAUSED', 'HALTED');
create type public.order_side as enum ('buy', 'sell');
create type public.position_side as enum ('long', 'short');
create type public.order_purpose as enum ('entry', 'exit', 'stop_loss', 'take_profit');
create type public.order_state as enum (
    'denied',             -- the gate said no
    'awaiting_approval',  -- a person has to decide
    'approval_rejected',
    'approval_expired',
    'ready',              -- may be claimed
    'submitting',         -- a permit is out: one engine may send it until the deadline
    'unknown',            -- the broker's answer is ambiguous: look it up before anything else
    'working',            -- the broker has it
    'partially_filled',
    'filled',
    'canceled',
    'expired',
    'rejected',           -- the broker said no
    'replaced'
);

-- Raise an error that PostgREST turns into the given HTTP status with our own code.
create function private.fail(p_status int, p_code text, p_message text, p_hint text default null)
    returns void
    language plpgsql
    volatile
    set search_path = ''
as $$
begin
    raise sqlstate 'PGRST' using
        message = json_build_object('code', p_code, 'message', p_message, 'hint', p_hint)::text,
        detail = json_build_object('status', p_status, 'headers', json_build_object())::text;
end;
$$;

-- True for the engine (the secret key), whose token carries no user.
create function private.is_engine()
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role', '') = 'service_role';
$$;

-- The pure helpers below carry no search_path of their own, so that the planner can inline them; they
-- use nothing but built-in operators, and every function that calls them has set its own.

create function private.is_terminal(p_state public.order_state)
    returns boolean
    language sql
    immutable
as $$
    select p_state in ('denied', 'approval_rejected', 'approval_expired',
                       'filled', 'canceled', 'expired', 'rejected', 'replaced');
$$;

-- A positive, finite number from JSON text, or NULL: 'NaN', 'Infinity', '', signs and words are NULL.
create function private.positive(p_text text)
    returns numeric
    language sql
    immutable
as $$
    select case when p_text ~ '^[0-9]{1,15}(\.[0-9]{1,15})?$' then nullif(p_text::numeric, 0) end;
$$;

-- A uuid from text, or NULL when it is none.
create function private.as_uuid(p_text text)
    returns uuid
    language sql
    immutable
as $$
    select case when p_text ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then p_text::uuid end;
$$;

-- Policies run with the caller's rights, so their helpers must be callable by the client roles.
grant execute on function private.is_engine() to authenticated, service_role;
grant execute on function private.is_terminal(public.order_state) to authenticated, service_role;
-- Members: who may use this installation, and in which role. Roles are read here at the time of
-- each call, never from a token, so a demotion holds from the next call on.

create table public.members (
    user_id      uuid primary key references auth.users (id) on delete cascade,
    email        text not null,
    display_name text not null default '',
    role         public.member_role not null default 'analyst',
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now()
);
create unique index members_email_key on public.members (lower(email));
comment on table public.members is 'Who may use this installation, and in which role.';

-- The role of the signed-in caller; NULL when the caller is no member.
-- Security definer: policies on members itself would otherwise recurse.
create function private.caller_role()
    returns public.member_role
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select m.role from public.members m where m.user_id = auth.uid();
$$;
grant execute on function private.caller_role() to authenticated;

-- True for members who see every tenant's rows.
create function private.is_staff()
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(private.caller_role() in ('admin', 'operator'), false);
$$;
grant execute on function private.is_staff() to authenticated;

alter table public.members enable row level security;
revoke all on public.members from anon, authenticated, service_role;
grant select on public.members to authenticated, service_role;

create policy "a member reads itself, an admin reads all members"
    on public.members for select to authenticated
    using (user_id = (select auth.uid()) or (select private.caller_role()) = 'admin');
-- Audit: every control action writes its row here in its own transaction; the rows of one tenant
-- form a hash chain, so an edit, a removal or an insertion in the middle shows.

create table public.audit_log (
    id         bigint generated always as identity primary key,
    tenant     uuid not null,                -- the owner; all zeros for what concerns everyone
    at         timestamptz not null,
    actor      uuid,                         -- NULL: the engine
    actor_email text not null,
    actor_role text not null,
    action     text not null,
    target     text not null,
    outcome    text not null check (outcome in ('done', 'refused')),
    reason     text,
    detail     jsonb not null default '{}',
    prev_hash  bytea not null,
    hash       bytea not null
);
create index audit_log_tenant_id on public.audit_log (tenant, id);
create index audit_log_at on public.audit_log (at desc);
comment on table public.audit_log is 'Append-only record of who did what, when and why; hash-chained per tenant.';

-- One row per chain, locked while a row is appended.
create table private.audit_chain_heads (
    tenant uuid primary key,
    hash   bytea not null,
    length bigint not null default 0
);

create function private.audit_hash(p_prev bytea, p_row public.audit_log)
    returns bytea
    language sql
    stable
    set search_path = ''
as $$
    select sha256(p_prev || convert_to(jsonb_build_array(
        p_row.tenant, extract(epoch from p_row.at), p_row.actor, p_row.actor_email, p_row.actor_role,
        p_row.action, p_row.target, p_row.outcome, p_row.reason, p_row.detail)::text, 'UTF8'));
$$;

-- Append one row to a tenant's chain. Called by: every control function, in its transaction.
create function private.audit(
    p_action text, p_target text, p_outcome text, p_reason text, p_detail jsonb,
    p_tenant uuid default '00000000-0000-0000-0000-000000000000')
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_row public.audit_log;
    v_head bytea;
begin
    insert into private.audit_chain_heads (tenant, hash) values (p_tenant, sha256(''))
        on conflict do nothing;
    select h.hash into v_head from private.audit_chain_heads h where h.tenant = p_tenant for update;

    v_row.tenant := p_tenant;
    v_row.at := clock_timestamp();
    v_row.actor := auth.uid();
    v_row.actor_role := case when private.is_engine() then 'engine'
                             else coalesce(private.caller_role()::text, 'none') end;
    v_row.actor_email := coalesce(
        (select m.email from public.members m where m.user_id = v_row.actor),
        case when v_row.actor_role = 'engine' then 'engine' else 'unknown' end);
    v_row.action := p_action;
    v_row.target := p_target;
    v_row.outcome := p_outcome;
    v_row.reason := p_reason;
    v_row.detail := coalesce(p_detail, '{}');
    v_row.prev_hash := v_head;
    v_row.hash := private.audit_hash(v_head, v_row);

    insert into public.audit_log (tenant, at, actor, actor_email, actor_role, action, target, outcome,
                                  reason, detail, prev_hash, hash)
    values (v_row.tenant, v_row.at, v_row.actor, v_row.actor_email, v_row.actor_role, v_row.action,
            v_row.target, v_row.outcome, v_row.reason, v_row.detail, v_row.prev_hash, v_row.hash);
    update private.audit_chain_heads h set hash = v_row.hash, length = h.length + 1 where h.tenant = p_tenant;
end;
$$;

-- Answer a refused attempt: the status goes out through PostgREST's response.status instead of an
-- exception, so that the audit row of the attempt commits while nothing else changes.
create function private.refuse(p_status int, p_code text, p_message text, p_action text, p_target text,
                               p_hint text default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.audit(p_action, p_target, 'refused', left(p_message, 500), jsonb_build_object('code', p_code));
    perform set_config('response.status', p_status::text, true);
    return jsonb_build_object('code', p_code, 'message', p_message, 'hint', p_hint, 'details', null);
end;
$$;

create function private.refuse_change()
    returns trigger
    language plpgsql
    set search_path = ''
as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = '42501';
end;
$$;
create trigger audit_log_is_append_only
    before update or delete or truncate on public.audit_log
    for each statement execute function private.refuse_change();

alter table public.audit_log enable row level security;
revoke all on public.audit_log from anon, authenticated, service_role;
grant select on public.audit_log to authenticated, service_role;
create policy "staff read the audit log, a member reads its own acts"
    on public.audit_log for select to authenticated
    using ((select private.is_staff()) or actor = (select auth.uid()));

-- Recompute every chain. Called by: admins. Answers the first broken row of each chain, if any.
create function public.verify_audit_chain()
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_broken bigint;
    v_chains int;
    v_rows bigint;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin can verify the audit log.', 'verify_audit_chain', 'audit_log');
    end if;
    select min(c.id), count(distinct c.tenant), count(*) into v_broken, v_chains, v_rows
    from (
        select a.id, a.tenant,
               a.prev_hash is distinct from lag(a.hash, 1, sha256('')) over w
               or a.hash is distinct from private.audit_hash(a.prev_hash, a) as broken
        from public.audit_log a
        window w as (partition by a.tenant order by a.id)
    ) c where c.broken;
    if v_broken is null then
        -- A chain cut off at its end is shorter than its head says.
        select min(h.length) into v_broken from private.audit_chain_heads h
        where h.length <> (select count(*) from public.audit_log a where a.tenant = h.tenant);
    end if;
    select count(distinct a.tenant), count(*) into v_chains, v_rows from public.audit_log a;
    return jsonb_build_object('ok', v_broken is null, 'first_broken_id', v_broken,
                              'chains', v_chains, 'rows', v_rows);
end;
$$;
revoke execute on function public.verify_audit_chain() from public, anon;
grant execute on function public.verify_audit_chain() to authenticated;
comment on function public.verify_audit_chain() is
    'Recomputes the audit log''s hash chains; admins only. Answers ok and the first broken row.';
-- Profiles: a strategy run by an owner with its own capital. Which broker account it uses is a
-- name here; the keys live in the engine's environment, never in a table.

create table public.profiles (
    id             uuid primary key default gen_random_uuid(),
    owner_id       uuid not null references public.members (user_id),
    name           text not null check (length(name) between 1 and 80),
    strategy       text not null,
    symbols        text[] not null check (cardinality(symbols) > 0),
    params         jsonb not null default '{}',
    timeframe      text not null default '1Day' check (timeframe in ('5Min', '15Min', '30Min', '1Hour', '1Day')),
    trading_mode   public.trading_mode not null default 'paper',
    active         boolean not null default true,
    broker_account text not null default 'main',
    shard          text not null default 'main',
    capital_usd    numeric(18, 2) not null check (capital_usd >= 0),
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    unique (owner_id, name)
);
create index profiles_shard on public.profiles (shard);
comment on table public.profiles is 'A strategy run by an owner: symbols, parameters, capital, trading mode.';

-- What a profile has committed. One row per profile, locked first by the gate and by every fill, so
-- that all decisions about one profile happen one after another.
create table public.profile_capital (
    profile_id   uuid primary key references public.profiles (id) on delete cascade,
    owner_id     uuid not null references public.members (user_id),
    capital_usd  numeric(18, 2) not null,
    reserved_usd numeric(24, 9) not null default 0 check (reserved_usd >= 0),
    used_usd     numeric(24, 9) not null default 0 check (used_usd >= 0),
    realized_usd numeric(24, 9) not null default 0,
    -- I5 for the capital as it stands; lowering it below what is committed is allowed and blocks entries.
    updated_at   timestamptz not null default now()
);
create index profile_capital_owner on public.profile_capital (owner_id);
comment on table public.profile_capital is 'Capital of a profile: the limit, what working entries reserve, what open positions use.';

create function private.sync_profile_capital()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    insert into public.profile_capital as c (profile_id, owner_id, capital_usd)
    values (new.id, new.owner_id, new.capital_usd)
    on conflict (profile_id) do update
        set capital_usd = excluded.capital_usd, owner_id = excluded.owner_id, updated_at = now();
    return new;
end;
$$;
create trigger profiles_carry_their_capital
    after insert or update of capital_usd, owner_id on public.profiles
    for each row execute function private.sync_profile_capital();

alter table public.profiles enable row level security;
alter table public.profile_capital enable row level security;
revoke all on public.profiles, public.profile_capital from anon, authenticated, service_role;
grant select on public.profiles, public.profile_capital to authenticated, service_role;

create policy "owners and staff read profiles"
    on public.profiles for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));
create policy "owners and staff read capital"
    on public.profile_capital for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));
-- Risk configuration: one active version of a JSON document. A limit that is not set blocks.

create table public.risk_configs (
    version          int primary key generated always as identity,
    config           jsonb not null check (jsonb_typeof(config) = 'object'),
    active           boolean not null default true,
    created_by       uuid references public.members (user_id),
    created_by_email text not null default 'installation',
    reason           text not null default '',
    created_at       timestamptz not null default now()
);
create unique index risk_configs_one_active on public.risk_configs (active) where active;
create index risk_configs_created_by on public.risk_configs (created_by);
comment on table public.risk_configs is 'Versions of the portfolio''s risk configuration; exactly one is active.';

alter table public.risk_configs enable row level security;
revoke all on public.risk_configs from anon, authenticated, service_role;
grant select on public.risk_configs to authenticated, service_role;
create policy "members read the risk configuration"
    on public.risk_configs for select to authenticated
    using ((select private.caller_role()) is not null);

-- The shipped default sets every limit that the gate checks.
insert into public.risk_configs (config, reason) values ('{
    "order_limits": {
        "qty_max": "10000",
        "notional_max_usd": "25000",
        "price_collar_pct": "0.05",
        "entry_ttl_s": 60,
        "permit_ttl_s": 10
    },
    "position_limits": {
        "positions_max": 10,
        "open_orders_max": 20,
        "position_notional_max_usd": "25000"
    },
    "operator_approval": {
        "auto_approve_paper": true,
        "require_approval_for_live": true,
        "approval_timeout_minutes": 15
    }
}', 'Shipped default');

create function private.risk_config()
    returns public.risk_configs
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select r from public.risk_configs r where r.active;
$$;

-- live -> require_approval_for_live; paper -> not auto_approve_paper; disabled -> never, the gate
-- blocks it upstream. A missing key takes the shipped default.
create function private.requires_approval(p_config jsonb, p_mode public.trading_mode)
    returns boolean
    language sql
    immutable
as $$
    select case p_mode
        when 'live' then coalesce((p_config #>> '{operator_approval,require_approval_for_live}')::boolean, true)
        when 'paper' then not coalesce((p_config #>> '{operator_approval,auto_approve_paper}')::boolean, true)
        else false
    end;
$$;
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
    perform 1 from public.engine_leases l where l.shard = p_shard for key share;
    perform private.require_lease(p_shard, p_token);
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
            beat_at = excluded.beat_at;
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

-- Renew the lease, note the sign of life, end pauses whose time has come. Answers trading_status.
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
    perform private.resume_due();
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
-- Signals: what a strategy wanted, and on which bar. Written by the gate with its decision.

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
    created_at timestamptz not null default now()
);
create index signals_owner on public.signals (owner_id, created_at desc);
create index signals_profile on public.signals (profile_id, created_at desc);
comment on table public.signals is 'What a strategy wanted, and on which bar.';

alter table public.signals enable row level security;
revoke all on public.signals from anon, authenticated, service_role;
grant select on public.signals to authenticated, service_role;
create policy "owners and staff read signals"
    on public.signals for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));
-- Orders: one row per intent, from the gate's answer to its end. The row's id is the client order
-- id at the broker, so one intent is at most one broker order. Legs that the broker makes itself
-- carry the broker's id.

create table public.orders (
    id                  uuid primary key,
    owner_id            uuid not null,           -- the profile's owner, copied for row-level security
    profile_id          uuid not null references public.profiles (id),
    shard               text not null,
    symbol              text not null,
    side                public.order_side not null,
    position_side       public.position_side not null,
    purpose             public.order_purpose not null,
    qty                 numeric(24, 9) not null check (qty > 0 and qty <> 'NaN'),
    order_type          text not null check (order_type in ('market', 'limit', 'stop', 'stop_limit', 'trailing_stop')),
    order_class         text not null default 'simple' check (order_class in ('simple', 'bracket', 'oco', 'oto')),
    time_in_force       text not null default 'gtc',
    limit_price         numeric(18, 6) check (limit_price > 0),
    stop_price          numeric(18, 6) check (stop_price > 0),
    take_profit_price   numeric(18, 6) check (take_profit_price > 0),
    stop_loss_price     numeric(18, 6) check (stop_loss_price > 0),
    reference_price     numeric(18, 6),
    notional_usd        numeric(24, 6),
    reserved_usd        numeric(24, 9) not null default 0 check (reserved_usd >= 0),
    state               public.order_state not null,
    code                text,                    -- the gate's denial code or the broker's reject code
    reason              text,
    exit_reason         text,
    signal_id           uuid,                    -- written by the same statement as the order
    trade_id            uuid,
    parent_id           uuid references public.orders (id),
    permit_deadline     timestamptz,
    permit_token        bigint,
    claimed_by          text,
    broker_order_id     text,
    broker_status       text,                    -- raw, never normalised away
    broker_request_id   text,
    filled_qty          numeric(24, 9) not null default 0,
    filled_avg_price    numeric(24, 9),
    cancel_requested_at timestamptz,
    market_at           timestamptz,             -- when it was decided, market time
    broker_updated_at   timestamptz,             -- market time
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    submitted_at        timestamptz,
    accepted_at         timestamptz,
    ended_at            timestamptz
);
comment on table public.orders is 'One row per order intent, from the gate''s answer to its end.';

create unique index orders_broker_order_id on public.orders (broker_order_id) where broker_order_id is not null;
-- One open entry per strategy and symbol.
create unique index orders_one_open_entry on public.orders (profile_id, symbol, position_side)
    where purpose = 'entry' and state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled');
-- Exit locks are per trade, not per symbol.
create unique index orders_one_open_exit on public.orders (trade_id)
    where purpose = 'exit' and state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled');
create index orders_waiting on public.orders (shard, created_at) where state in ('ready', 'awaiting_approval');
create index orders_in_flight on public.orders (profile_id, symbol)
    where purpose = 'entry' and state in ('submitting', 'unknown');
create index orders_open_by_profile on public.orders (profile_id, symbol)
    where state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled');
create index orders_unknown on public.orders (symbol) where state = 'unknown';
create index orders_owner_created on public.orders (owner_id, created_at desc, id);
create index orders_created on public.orders (created_at desc, id);
create index orders_profile_created on public.orders (profile_id, created_at desc, id);
create index orders_trade on public.orders (trade_id) where purpose <> 'entry';
create index orders_parent on public.orders (parent_id) where parent_id is not null;

-- The legal moves; anything else raises.
create table private.order_transitions (
    from_state public.order_state not null,
    to_state   public.order_state not null,
    primary key (from_state, to_state)
);
insert into private.order_transitions (from_state, to_state)
select t.from_state::public.order_state, unnest(t.to_states)::public.order_state
from (values
    ('awaiting_approval', array['ready', 'approval_rejected', 'approval_expired', 'canceled', 'denied']),
    ('ready',             array['submitting', 'canceled', 'expired', 'denied']),
    ('submitting',        array['unknown', 'working', 'partially_filled', 'filled', 'rejected', 'canceled', 'expired', 'ready']),
    ('unknown',           array['working', 'partially_filled', 'filled', 'rejected', 'canceled', 'expired', 'replaced', 'ready']),
    ('working',           array['partially_filled', 'filled', 'canceled', 'expired', 'rejected', 'replaced']),
    ('partially_filled',  array['filled', 'canceled', 'expired', 'replaced'])
) as t (from_state, to_states);

create table public.order_events (
    id            bigint generated always as identity primary key,
    order_id      uuid not null,                 -- written by the order's own trigger
    owner_id      uuid not null,
    from_state    public.order_state,
    to_state      public.order_state not null,
    broker_status text,
    reason        text,
    at            timestamptz not null
);
create index order_events_order on public.order_events (order_id, id);
create index order_events_at on public.order_events using brin (at);
comment on table public.order_events is 'Every change of an order''s state, written by trigger, append-only.';
create trigger order_events_is_append_only
    before update or delete on public.order_events
    for each statement execute function private.refuse_change();

-- Hold an order to the state machine and give its reserved capital back exactly once: when it ends.
create function private.guard_order_change()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    new.updated_at := clock_timestamp();
    if new.state <> old.state then
        if not exists (select 1 from private.order_transitions t
                       where t.from_state = old.state and t.to_state = new.state) then
            perform private.fail(409, 'ILLEGAL_TRANSITION',
                format('Order %s cannot go from %s to %s.', old.id, old.state, new.state));
        end if;
        if private.is_terminal(new.state) then
            new.ended_at := clock_timestamp();
            if new.reserved_usd > 0 then
                update public.profile_capital c
                   set reserved_usd = c.reserved_usd - new.reserved_usd, updated_at = clock_timestamp()
                 where c.profile_id = new.profile_id;
                new.reserved_usd := 0;
            end if;
        end if;
    end if;
    if new.filled_qty < old.filled_qty then
        perform private.fail(409, 'ILLEGAL_TRANSITION', format('The filled quantity of order %s cannot fall.', old.id));
    end if;
    return new;
end;
$$;
create trigger orders_keep_to_the_state_machine
    before update on public.orders
    for each row execute function private.guard_order_change();

create function private.note_new_orders()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    insert into public.order_events (order_id, owner_id, to_state, broker_status, reason, at)
    select n.id, n.owner_id, n.state, n.broker_status, coalesce(n.code || ': ', '') || n.reason, clock_timestamp()
    from new_orders n;
    return null;
end;
$$;
create trigger orders_note_their_start
    after insert on public.orders referencing new table as new_orders
    for each statement execute function private.note_new_orders();

create function private.note_order_change()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    insert into public.order_events (order_id, owner_id, from_state, to_state, broker_status, reason, at)
    values (new.id, new.owner_id, old.state, new.state, new.broker_status, new.reason, clock_timestamp());
    return null;
end;
$$;
create trigger orders_note_their_changes
    after update on public.orders
    for each row
    when (old.state <> new.state or old.broker_status is distinct from new.broker_status
          or old.filled_qty <> new.filled_qty)
    execute function private.note_order_change();

alter table public.orders enable row level security;
alter table public.order_events enable row level security;
revoke all on public.orders, public.order_events from anon, authenticated, service_role;
grant select on public.orders, public.order_events to authenticated, service_role;
create policy "owners and staff read orders"
    on public.orders for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));
create policy "owners and staff read order events"
    on public.order_events for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));
-- Fills, trades, positions: what the broker did with the orders. Fills are facts; trades and
-- positions are sums over them and can be recomputed from fills alone.

create table public.fills (
    id             bigint generated always as identity primary key,
    order_id       uuid not null references public.orders (id),
    trade_id       uuid not null,
    owner_id       uuid not null,
    profile_id     uuid not null references public.profiles (id),
    symbol         text not null,
    side           public.order_side not null,
    purpose        public.order_purpose not null,
    qty            numeric(24, 9) not null check (qty > 0),
    -- Implied by the broker's running averages; kept fine enough that notionals come out exact.
    price          numeric(38, 18) not null check (price > 0),
    notional_usd   numeric(28, 9) generated always as (round(qty * price, 9)) stored,
    -- The order's filled quantity after this fill: the same fill, told twice, lands on the same key.
    cumulative_qty numeric(24, 9) not null,
    executed_at    timestamptz not null,         -- market time
    recorded_at    timestamptz not null default now(),
    unique (order_id, cumulative_qty)
);
create index fills_trade on public.fills (trade_id);
create index fills_owner on public.fills (owner_id, executed_at desc);
create index fills_profile on public.fills (profile_id, executed_at desc);
create index fills_recorded on public.fills using brin (recorded_at);
comment on table public.fills is 'What the broker executed; append-only.';
create trigger fills_is_append_only
    before update or delete on public.fills
    for each statement execute function private.refuse_change();

create table public.trades (
    id                 uuid primary key,         -- the entry order's id
    owner_id           uuid not null references public.members (user_id),
    profile_id         uuid not null references public.profiles (id),
    symbol             text not null,
    position_side      public.position_side not null,
    qty_entered        numeric(24, 9) not null default 0,
    entry_notional_usd numeric(28, 9) not null default 0,
    qty_exited         numeric(24, 9) not null default 0,
    exit_notional_usd  numeric(28, 9) not null default 0,
    realized_pnl_usd   numeric(28, 9) not null default 0,
    exit_reason        text,
    opened_at          timestamptz not null,     -- market time
    closed_at          timestamptz,              -- market time; NULL: open
    recorded_at        timestamptz not null default now()
);
create index trades_owner on public.trades (owner_id, closed_at desc);
create index trades_profile on public.trades (profile_id, closed_at desc);
create index trades_closed on public.trades (closed_at desc);
comment on table public.trades is 'A round trip: what one entry order bought or sold, and how it was closed.';

create table public.positions (
    trade_id           uuid primary key references public.trades (id),
    owner_id           uuid not null references public.members (user_id),
    profile_id         uuid not null references public.profiles (id),
    symbol             text not null,
    side               public.position_side not null,
    qty                numeric(24, 9) not null check (qty > 0),
    avg_entry_price    numeric(24, 9) not null,
    cost_usd           numeric(28, 9) not null,
    mark_price         numeric(18, 6),
    unrealized_pnl_usd numeric(28, 9),
    stop_price         numeric(18, 6),
    take_profit_price  numeric(18, 6),
    protected_qty      numeric(24, 9) not null default 0,
    opened_at          timestamptz not null,     -- market time
    marked_at          timestamptz,              -- market time
    updated_at         timestamptz not null default now()
);
create index positions_owner on public.positions (owner_id);
create index positions_profile on public.positions (profile_id, symbol);
comment on table public.positions is 'Open quantity per trade, with its protection and last mark.';

create view public.trade_history with (security_invoker = true) as
select t.*, p.name as profile_name, p.strategy,
       t.entry_notional_usd / nullif(t.qty_entered, 0) as entry_price,
       t.exit_notional_usd / nullif(t.qty_exited, 0) as exit_price,
       t.realized_pnl_usd / nullif(t.entry_notional_usd, 0) as return_pct,
       t.closed_at - t.opened_at as holding
from public.trades t join public.profiles p on p.id = t.profile_id
where t.closed_at is not null;
comment on view public.trade_history is 'Closed trades; return_pct is a fraction of the entry notional.';

alter table public.fills enable row level security;
alter table public.trades enable row level security;
alter table public.positions enable row level security;
revoke all on public.fills, public.trades, public.positions, public.trade_history from anon, authenticated, service_role;
grant select on public.fills, public.trades, public.positions, public.trade_history to authenticated, service_role;
create policy "owners and staff read fills"
    on public.fills for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));
create policy "owners and staff read trades"
    on public.trades for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));
create policy "owners and staff read positions"
    on public.positions for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));

-- Book what an order was filled with beyond what is known, at the price that the averages imply.
-- The caller holds the profile's capital row and passes the order as it was before the update.
create function private.book_fill(p_order public.orders, p_filled_qty numeric, p_avg_price numeric, p_at timestamptz)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_qty numeric := p_filled_qty - p_order.filled_qty;
    v_price numeric := round((p_filled_qty * p_avg_price - p_order.filled_qty * coalesce(p_order.filled_avg_price, 0))
                             / nullif(p_filled_qty - p_order.filled_qty, 0), 18);
    v_notional numeric;
begin
    insert into public.fills (order_id, trade_id, owner_id, profile_id, symbol, side, purpose, qty, price,
                              cumulative_qty, executed_at)
    values (p_order.id, p_order.trade_id, p_order.owner_id, p_order.profile_id, p_order.symbol, p_order.side,
            p_order.purpose, v_qty, v_price, p_filled_qty, p_at)
    returning notional_usd into v_notional;
    if p_order.purpose = 'entry' then
        insert into public.trades as t (id, owner_id, profile_id, symbol, position_side, qty_entered,
                                        entry_notional_usd, opened_at)
        values (p_order.trade_id, p_order.owner_id, p_order.profile_id, p_order.symbol, p_order.position_side,
                v_qty, v_notional, p_at)
        on conflict (id) do update
            set qty_entered = t.qty_entered + v_qty, entry_notional_usd = t.entry_notional_usd + v_notional,
                closed_at = null;
    else
        update public.trades t
           set qty_exited = t.qty_exited + v_qty, exit_notional_usd = t.exit_notional_usd + v_notional,
               exit_reason = coalesce(p_order.exit_reason, p_order.purpose::text)
         where t.id = p_order.trade_id;
    end if;
    perform private.restate_trade(p_order.trade_id, p_at);
end;
$$;

-- Bring a trade's profit, its position and its profile's capital in line with the trade's sums.
create function private.restate_trade(p_trade_id uuid, p_at timestamptz)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    t public.trades;
    v_open_qty numeric;
    v_cost numeric;
    v_cost_before numeric;
    v_pnl numeric;
begin
    select * into t from public.trades where id = p_trade_id;
    v_open_qty := t.qty_entered - t.qty_exited;
    v_cost := round(t.entry_notional_usd * v_open_qty / t.qty_entered, 9);
    v_pnl := round((t.exit_notional_usd - t.entry_notional_usd * t.qty_exited / t.qty_entered)
                   * case t.position_side when 'long' then 1 else -1 end, 9);
    select coalesce(sum(p.cost_usd), 0) into v_cost_before from public.positions p where p.trade_id = t.id;
    update public.profile_capital c
       set used_usd = c.used_usd + greatest(v_cost, 0) - v_cost_before,
           realized_usd = c.realized_usd + v_pnl - t.realized_pnl_usd, updated_at = clock_timestamp()
     where c.profile_id = t.profile_id;
    update public.trades set realized_pnl_usd = v_pnl, closed_at = case when v_open_qty <= 0 then p_at end
     where id = t.id;
    if v_open_qty <= 0 then
        delete from public.positions p where p.trade_id = t.id;
    else
        insert into public.positions as p (trade_id, owner_id, profile_id, symbol, side, qty, avg_entry_price,
            cost_usd, stop_price, take_profit_price, opened_at)
        select t.id, t.owner_id, t.profile_id, t.symbol, t.position_side, v_open_qty,
               t.entry_notional_usd / t.qty_entered, v_cost, o.stop_loss_price, o.take_profit_price, t.opened_at
        from public.orders o where o.id = t.id
        on conflict (trade_id) do update
            set qty = excluded.qty, avg_entry_price = excluded.avg_entry_price, cost_usd = excluded.cost_usd,
                updated_at = clock_timestamp();
    end if;
end;
$$;
-- Trading controls: whether entries may be opened, per scope, with the history of every change.
-- The effective mode of an order is the most restrictive over global, its profile and its symbol.

create table public.trading_controls (
    scope            public.control_scope not null,
    scope_key        text not null,              -- '*' for global, else the profile's id or the symbol
    mode             public.control_mode not null default 'RUNNING',
    version          int not null default 1,
    reason_code      text not null default 'initial',
    reason           text not null default '',
    changed_by       uuid,                       -- NULL: the installation or the engine
    changed_by_email text not null default 'installation',
    changed_at       timestamptz not null default now(),
    resume_at        timestamptz,
    cancel_entries   boolean not null default true,
    quiesced_at      timestamptz,                -- when the last open permit of the scope was settled
    primary key (scope, scope_key),
    check ((scope = 'global') = (scope_key = '*'))
);
comment on table public.trading_controls is 'The mode of each scope as it stands: who set it, when, why.';
insert into public.trading_controls (scope, scope_key) values ('global', '*');

create table public.trading_control_events (
    id                bigint generated always as identity primary key,
    scope             public.control_scope not null,
    scope_key         text not null,
    from_mode         public.control_mode not null,
    to_mode           public.control_mode not null,
    version           int not null,
    reason_code       text not null,
    reason            text not null,
    changed_by        uuid,
    changed_by_email  text not null,
    changed_at        timestamptz not null,
    entries_canceled  int not null,
    entries_in_flight int not null
);
create index trading_control_events_changed_at on public.trading_control_events (changed_at desc);
comment on table public.trading_control_events is 'Every change of a trading control, append-only.';
create trigger trading_control_events_is_append_only
    before update or delete or truncate on public.trading_control_events
    for each statement execute function private.refuse_change();

-- Answers already given, so that a request sent twice acts once.
create table private.control_requests (
    request_id uuid primary key,
    action     text not null,
    actor      uuid,
    response   jsonb not null,
    created_at timestamptz not null default now()
);

alter table public.trading_controls enable row level security;
alter table public.trading_control_events enable row level security;
revoke all on public.trading_controls, public.trading_control_events from anon, authenticated, service_role;
grant select on public.trading_controls, public.trading_control_events to authenticated, service_role;
create policy "members read the controls"
    on public.trading_controls for select to authenticated
    using ((select private.caller_role()) is not null);
create policy "members read the history of the controls"
    on public.trading_control_events for select to authenticated
    using ((select private.caller_role()) is not null);

-- Everything that lets an entry through holds this lock shared until it commits; a change of mode
-- takes it alone. Advisory locks queue fairly, so a pause waits for at most the calls under way.
create function private.lock_controls(p_exclusive boolean)
    returns void
    language plpgsql
    volatile
    set search_path = ''
as $$
begin
    if p_exclusive then
        perform pg_advisory_xact_lock(7201, 1);
    else
        perform pg_advisory_xact_lock_shared(7201, 1);
    end if;
end;
$$;

-- Without a search_path of its own, so that it can be inlined into the gate's query.
create function private.effective_mode(p_profile_id uuid, p_symbol text)
    returns public.control_mode
    language sql
    stable
as $$
    select max(c.mode) from public.trading_controls c
    where (c.scope = 'global' and c.scope_key = '*')
       or (c.scope = 'profile' and c.scope_key = p_profile_id::text)
       or (c.scope = 'symbol' and c.scope_key = p_symbol);
$$;

create function private.in_scope(p_scope public.control_scope, p_scope_key text, p_profile_id uuid, p_symbol text)
    returns boolean
    language sql
    immutable
as $$
    select case p_scope when 'global' then true
                        when 'profile' then p_scope_key = p_profile_id::text
                        else p_scope_key = p_symbol end;
$$;

-- Entries for which a permit is out or whose fate at the broker is not known.
create function private.entries_in_flight(p_scope public.control_scope, p_scope_key text)
    returns setof public.orders
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return query
        select o.* from public.orders o
        where o.purpose = 'entry' and o.state in ('submitting', 'unknown')
          and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol);
end;
$$;

-- Note the moment at which a paused scope has no open permit left. Called by: every function that
-- settles a permit, at its end.
create function private.settle_quiescence()
    returns void
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    update public.trading_controls c
       set quiesced_at = clock_timestamp()
     where c.mode <> 'RUNNING' and c.quiesced_at is null
       and not exists (select 1 from private.entries_in_flight(c.scope, c.scope_key));
$$;
-- The control functions: pause, resume, halt, and what everyone sees of them.

-- What the caller may see of the controls. Called by: any member, the engine.
-- Errors: FORBIDDEN (403) for a signed-in user who is no member.
create function public.trading_status()
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_global public.trading_controls;
    v_role text := case when private.is_engine() then 'engine' else private.caller_role()::text end;
begin
    if v_role is null then
        perform private.fail(403, 'FORBIDDEN', 'You are signed in, but not a member of this installation.',
                             'Ask an admin to add you.');
    end if;
    select c.* into v_global from public.trading_controls c where c.scope = 'global';
    return jsonb_build_object(
        'mode', v_global.mode,
        'lastChangedBy', v_global.changed_by_email,
        'lastChangedAt', floor(extract(epoch from v_global.changed_at) * 1000)::bigint,
        'reason', v_global.reason,
        'reason_code', v_global.reason_code,
        'scope', 'global',
        'version', v_global.version,
        'changed_at', v_global.changed_at,
        'resume_at', v_global.resume_at,
        'phase', case when v_global.mode = 'RUNNING' then 'running'
                      when v_global.quiesced_at is null then 'draining' else 'quiesced' end,
        'quiesced_at', v_global.quiesced_at,
        'entries_in_flight', private.in_flight_list(),
        'scopes', private.restricted_scopes(),
        'next_change', private.next_change(),
        'engine', private.engine_status(),
        'role', v_role,
        'email', (select m.email from public.members m where m.user_id = auth.uid()),
        'checked_at', clock_timestamp());
end;
$$;
revoke execute on function public.trading_status() from public, anon;
grant execute on function public.trading_status() to authenticated, service_role;
comment on function public.trading_status() is
    'Effective mode per scope, who, when, why, entries in flight, quiescence, engine heartbeat. Any member.';

-- Open permits as a member may know them: ids and deadlines, but no other tenant's symbols.
create function private.in_flight_list()
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'order_id', o.id, 'state', o.state, 'permit_deadline', o.permit_deadline,
        'symbol', case when private.is_engine() or private.is_staff() or o.owner_id = auth.uid() then o.symbol end)
        order by o.submitted_at), '[]')
    from private.entries_in_flight('global', '*') o;
$$;

create function private.restricted_scopes()
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'scope', c.scope, 'scope_key', c.scope_key, 'mode', c.mode, 'version', c.version,
        'reason', c.reason, 'reason_code', c.reason_code, 'resume_at', c.resume_at,
        'changed_by_email', c.changed_by_email, 'changed_at', c.changed_at, 'quiesced_at', c.quiesced_at)
        order by c.scope, c.scope_key), '[]')
    from public.trading_controls c
    where c.scope <> 'global' and c.mode <> 'RUNNING';
$$;

create function private.next_change()
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select jsonb_build_object('scope', c.scope, 'scope_key', c.scope_key, 'at', c.resume_at, 'to_mode', 'RUNNING')
    from public.trading_controls c
    where c.mode <> 'RUNNING' and c.resume_at is not null
    order by c.resume_at limit 1;
$$;

-- The oldest heartbeat speaks for all: one dead shard is a dead engine to whoever reads the badge.
create function private.engine_status()
    returns jsonb
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(
        (select jsonb_build_object(
            'alive', clock_timestamp() - h.beat_at < interval '15 seconds',
            'age_s', round(extract(epoch from clock_timestamp() - h.beat_at), 3),
            'beat_at', h.beat_at, 'market_at', h.market_at, 'holder', h.holder, 'version', h.version)
         from public.engine_heartbeats h order by h.beat_at limit 1),
        jsonb_build_object('alive', false, 'age_s', null, 'beat_at', null, 'market_at', null,
                           'holder', null, 'version', null));
$$;

-- Cancel the entries of a scope that were not sent yet and ask for the cancellation, by id, of those
-- that rest at the broker. Protective orders are not entries and are never touched.
create function private.cancel_entries(p_scope public.control_scope, p_scope_key text, p_why text)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_canceled int;
begin
    perform 1 from public.profile_capital c
      where c.profile_id in (select o.profile_id from public.orders o
                              where o.purpose = 'entry' and o.state in ('ready', 'awaiting_approval')
                                and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol))
      order by c.profile_id for update;
    update public.orders o
       set state = 'canceled', reason = p_why
     where o.purpose = 'entry' and o.state in ('ready', 'awaiting_approval')
       and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol);
    get diagnostics v_canceled = row_count;
    update public.orders o
       set cancel_requested_at = clock_timestamp(), reason = p_why
     where o.purpose = 'entry' and o.state in ('submitting', 'unknown', 'working', 'partially_filled')
       and o.cancel_requested_at is null
       and private.in_scope(p_scope, p_scope_key, o.profile_id, o.symbol);
    return v_canceled;
end;
$$;

-- Set a scope's mode, record the event and the audit row. The caller holds the exclusive lock and
-- has checked rights and arguments.
create function private.change_mode(p_to public.control_mode, p_scope public.control_scope, p_key text,
                                    p_reason text, p_reason_code text, p_resume_at timestamptz,
                                    p_cancel_entries boolean)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_old public.trading_controls;
    v_new public.trading_controls;
    v_actor_email text := coalesce((select m.email from public.members m where m.user_id = auth.uid()), 'engine');
    v_canceled int := 0;
    v_in_flight int;
begin
    select c.* into v_old from public.trading_controls c where c.scope = p_scope and c.scope_key = p_key;
    if p_to <> 'RUNNING' and p_cancel_entries then
        v_canceled := private.cancel_entries(p_scope, p_key, format('%s: %s', initcap(p_to::text), left(p_reason, 200)));
    end if;
    select count(*) into v_in_flight from private.entries_in_flight(p_scope, p_key);
    insert into public.trading_controls as c (scope, scope_key, mode, reason_code, reason, changed_by,
        changed_by_email, changed_at, resume_at, cancel_entries, quiesced_at)
    values (p_scope, p_key, p_to, p_reason_code, p_reason, auth.uid(), v_actor_email, clock_timestamp(),
            p_resume_at, p_cancel_entries,
            case when p_to <> 'RUNNING' and v_in_flight = 0 then clock_timestamp() end)
    on conflict (scope, scope_key) do update
        set mode = excluded.mode, version = c.version + 1, reason_code = excluded.reason_code,
            reason = excluded.reason, changed_by = excluded.changed_by, changed_by_email = excluded.changed_by_email,
            changed_at = excluded.changed_at, resume_at = excluded.resume_at,
            cancel_entries = excluded.cancel_entries, quiesced_at = excluded.quiesced_at
    returning c.* into v_new;
    insert into public.trading_control_events (scope, scope_key, from_mode, to_mode, version, reason_code, reason,
        changed_by, changed_by_email, changed_at, entries_canceled, entries_in_flight)
    values (p_scope, p_key, coalesce(v_old.mode, 'RUNNING'), p_to, v_new.version, p_reason_code, p_reason,
            v_new.changed_by, v_new.changed_by_email, v_new.changed_at, v_canceled, v_in_flight);
    perform private.audit(
        case p_to when 'RUNNING' then 'resume_trading' when 'PAUSED' then 'pause_trading' else 'halt_trading' end,
        p_scope || ':' || p_key, 'done', p_reason,
        jsonb_build_object('from', coalesce(v_old.mode, 'RUNNING'), 'to', p_to, 'version', v_new.version,
                           'reason_code', p_reason_code, 'resume_at', p_resume_at,
                           'entries_canceled', v_canceled, 'entries_in_flight', v_in_flight));
    return v_canceled;
end;
$$;

-- The scope's key in its one spelling, or NULL when it names nothing known.
create function private.control_key(p_scope public.control_scope, p_scope_key text)
    returns text
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select case p_scope
        when 'global' then case when coalesce(nullif(p_scope_key, ''), '*') = '*' then '*' end
        when 'profile' then (select p.id::text from public.profiles p where p.id = private.as_uuid(p_scope_key))
        when 'symbol' then (select upper(trim(p_scope_key)) from public.profiles p
                            where upper(trim(p_scope_key)) = any (p.symbols) limit 1)
    end;
$$;

-- Why a control request cannot be accepted as it is written; NULL when it can.
create function private.control_request_error(p_scope text, p_scope_key text, p_reason text, p_reason_code text,
                                              p_resume_at timestamptz)
    returns text
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    if coalesce(p_scope, '') not in ('global', 'profile', 'symbol') then
        return format('Scope %L is unknown: use global, profile or symbol.', left(p_scope, 40));
    elsif private.control_key(p_scope::public.control_scope, p_scope_key) is null then
        return format('%s %L is not known here.', initcap(p_scope), left(p_scope_key, 60));
    elsif coalesce(p_reason, '') !~ '\S' then
        return 'A reason is required: say in a few words why.';
    elsif length(p_reason) > 500 then
        return format('The reason has %s characters; at most 500 are kept. Shorten it.', length(p_reason));
    elsif coalesce(p_reason_code, '') !~ '^[a-z][a-z0-9_]{0,39}$' then
        return 'The reason code must be one lower-case word such as manual, news or incident.';
    elsif p_resume_at <= clock_timestamp() then
        return 'The resume time has already passed: choose a later one or leave it empty.';
    end if;
    return null;
end;
$$;

-- Everything that the three control functions share: rights, arguments, repeat, version, change.
create function private.control(p_to public.control_mode, p_action text, p_reason text, p_request_id uuid,
                                p_scope text, p_scope_key text, p_reason_code text, p_resume_at timestamptz,
                                p_cancel_entries boolean, p_expected_version int)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := left(coalesce(p_scope, '') || ':' || coalesce(nullif(p_scope_key, ''), '*'), 120);
    v_error text;
    v_seen private.control_requests;
    v_now public.trading_controls;
    v_canceled int := 0;
    v_answer jsonb;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may pause, resume or halt trading.', p_action, v_target,
                              'Ask an admin. Your attempt was recorded.');
    end if;
    v_error := private.control_request_error(p_scope, p_scope_key, p_reason, p_reason_code, p_resume_at);
    if v_error is not null then
        return private.refuse(422, 'INVALID', v_error, p_action, v_target);
    end if;

    perform private.lock_controls(p_exclusive => true);
    select r.* into v_seen from private.control_requests r where r.request_id = p_request_id;
    if v_seen.request_id is not null then
        if v_seen.action <> p_action or v_seen.actor is distinct from auth.uid() then
            return private.refuse(409, 'CONFLICT', 'This request id was already used for something else.', p_action, v_target);
        end if;
        return v_seen.response;
    end if;
    select c.* into v_now from public.trading_controls c
     where c.scope = p_scope::public.control_scope
       and c.scope_key = private.control_key(p_scope::public.control_scope, p_scope_key);
    if p_expected_version is not null and p_expected_version <> coalesce(v_now.version, 0) then
        return private.refuse(409, 'CONFLICT', format('Someone changed this control meanwhile: it is at version %s now.',
                              coalesce(v_now.version, 0)), p_action, v_target, 'Look at the current state and decide again.');
    end if;

    if coalesce(v_now.mode, 'RUNNING') <> p_to then
        v_canceled := private.change_mode(p_to, p_scope::public.control_scope,
            private.control_key(p_scope::public.control_scope, p_scope_key), regexp_replace(p_reason, '^\s+|\s+$', '', 'g'), p_reason_code,
            p_resume_at, p_cancel_entries);
    end if;
    v_answer := jsonb_build_object(
        'success', true,
        'changed', coalesce(v_now.mode, 'RUNNING') <> p_to,
        'message', case when coalesce(v_now.mode, 'RUNNING') = p_to then format('Trading is already %s; nothing was changed.', p_to)
                        else format('Trading is %s.', p_to) end,
        'entries_canceled', v_canceled,
        'status', public.trading_status());
    if p_request_id is not null then
        insert into private.control_requests (request_id, action, actor, response)
        values (p_request_id, p_action, auth.uid(), v_answer);
    end if;
    return v_answer;
end;
$$;

-- Stop entries. Open positions keep their protective orders and can still be closed.
-- Called by: admins. Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create function public.pause_trading(
    p_reason text, p_request_id uuid default null, p_scope text default 'global', p_scope_key text default null,
    p_reason_code text default 'manual', p_resume_at timestamptz default null, p_cancel_entries boolean default true,
    p_expected_version int default null)
    returns jsonb
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select private.control('PAUSED', 'pause_trading', p_reason, p_request_id, p_scope, p_scope_key, p_reason_code,
                           p_resume_at, coalesce(p_cancel_entries, true), p_expected_version);
$$;

-- Let entries flow again. Called by: admins.
create function public.resume_trading(
    p_reason text, p_request_id uuid default null, p_scope text default 'global', p_scope_key text default null,
    p_reason_code text default 'manual', p_expected_version int default null)
    returns jsonb
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select private.control('RUNNING', 'resume_trading', p_reason, p_request_id, p_scope, p_scope_key, p_reason_code,
                           null, false, p_expected_version);
$$;

-- Stop everything but cancels; exits too. Protective orders at the broker stay. Called by: admins.
create function public.halt_trading(
    p_reason text, p_request_id uuid default null, p_scope text default 'global', p_scope_key text default null,
    p_reason_code text default 'manual', p_expected_version int default null)
    returns jsonb
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select private.control('HALTED', 'halt_trading', p_reason, p_request_id, p_scope, p_scope_key, p_reason_code,
                           null, true, p_expected_version);
$$;

-- Not revoked from authenticated non-admins: their attempt must reach the function to be recorded.
revoke execute on function public.pause_trading(text, uuid, text, text, text, timestamptz, boolean, int) from public, anon;
revoke execute on function public.resume_trading(text, uuid, text, text, text, int) from public, anon;
revoke execute on function public.halt_trading(text, uuid, text, text, text, int) from public, anon;
grant execute on function public.pause_trading(text, uuid, text, text, text, timestamptz, boolean, int) to authenticated, service_role;
grant execute on function public.resume_trading(text, uuid, text, text, text, int) to authenticated, service_role;
grant execute on function public.halt_trading(text, uuid, text, text, text, int) to authenticated, service_role;
comment on function public.pause_trading(text, uuid, text, text, text, timestamptz, boolean, int) is
    'No new entries in the scope until resumed; unsent entries are cancelled. Admins only, idempotent by request id.';
comment on function public.resume_trading(text, uuid, text, text, text, int) is 'Entries may flow again. Admins only.';
comment on function public.halt_trading(text, uuid, text, text, text, int) is 'Nothing but cancels in the scope. Admins only.';

-- End the pauses whose time has come. Called by: heartbeat.
create function private.resume_due()
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_due public.trading_controls;
begin
    if not exists (select 1 from public.trading_controls c where c.mode <> 'RUNNING' and c.resume_at <= clock_timestamp()) then
        return;
    end if;
    perform private.lock_controls(p_exclusive => true);
    for v_due in select c.* from public.trading_controls c
                 where c.mode <> 'RUNNING' and c.resume_at <= clock_timestamp() loop
        perform private.change_mode('RUNNING', v_due.scope, v_due.scope_key,
            format('The pause set by %s ended as planned.', v_due.changed_by_email), 'resume_at', null, false);
    end loop;
end;
$$;
-- The gate: every check of an entry in one transaction, every answer recorded with its inputs.

create table public.decision_log (
    id             bigint generated always as identity primary key,
    order_id       uuid not null,
    owner_id       uuid not null,
    profile_id     uuid not null,
    symbol         text not null,
    side           public.order_side not null,
    outcome        public.order_state not null,
    code           text,
    checks         jsonb not null,               -- [{name, limit, observed, passed}] in the order of judgement
    inputs         jsonb not null,               -- the snapshot that was judged: enough to judge it again
    config_version int not null,
    market_at      timestamptz,
    created_at     timestamptz not null default now()
);
create index decision_log_order on public.decision_log (order_id);
create index decision_log_owner on public.decision_log (owner_id, created_at desc);
create index decision_log_created on public.decision_log using brin (created_at);
comment on table public.decision_log is 'One row per decision of the gate: every check with its limit and observed value. Append-only.';
create trigger decision_log_is_append_only
    before update or delete on public.decision_log
    for each statement execute function private.refuse_change();

alter table public.decision_log enable row level security;
revoke all on public.decision_log from anon, authenticated, service_role;
grant select on public.decision_log to authenticated, service_role;
create policy "owners and staff read decisions"
    on public.decision_log for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));

-- What the gate knows about one request when it judges it. engine/domain/risk.py holds the same shape.
create type private.gate_snapshot as (
    mode                      public.control_mode,   -- effective over global, profile and symbol
    trading_mode              public.trading_mode,
    profile_active            boolean,
    qty                       numeric,
    limit_price               numeric,
    reference_price           numeric,
    notional_usd              numeric,
    unknown_orders            int,                   -- in this symbol, whoever's
    open_entries              int,                   -- of this profile in this symbol and direction
    open_orders               int,                   -- of this profile: entries that work or may be sent
    positions                 int,                   -- symbols of this profile held or being entered, without this one
    position_notional_usd     numeric,               -- already held or being entered in this symbol
    capital_usd               numeric,
    reserved_usd              numeric,
    used_usd                  numeric,
    order_qty_max             numeric,               -- the limits; NULL: not set, which blocks
    order_notional_max_usd    numeric,
    price_collar_pct          numeric,               -- a fraction: 0.05 is 5 %
    open_orders_max           int,
    positions_max             int,
    position_notional_max_usd numeric
);

-- Judge a snapshot. Pure. Every check is evaluated, in the order in which the first failure counts.
-- A comparison with a limit that is not set is NULL and therefore not passed. Without a search_path of
-- its own, so that it is inlined where a batch is judged.
create function private.gate_checks(s private.gate_snapshot)
    returns jsonb
    language sql
    immutable
as $$
    select jsonb_build_array(
        jsonb_build_object('name', 'TRADING_HALTED', 'limit', 'RUNNING', 'observed', s.mode, 'passed', (s.mode <> 'HALTED') is true),
        jsonb_build_object('name', 'TRADING_PAUSED', 'limit', 'RUNNING', 'observed', s.mode, 'passed', (s.mode <> 'PAUSED') is true),
        jsonb_build_object('name', 'MODE_DISABLED', 'limit', 'paper or live', 'observed', s.trading_mode, 'passed', (s.trading_mode <> 'disabled') is true),
        jsonb_build_object('name', 'PROFILE_INACTIVE', 'limit', true, 'observed', s.profile_active, 'passed', s.profile_active is true),
        jsonb_build_object('name', 'ORDER_UNKNOWN', 'limit', 0, 'observed', s.unknown_orders, 'passed', (s.unknown_orders = 0) is true),
        jsonb_build_object('name', 'DUPLICATE_ORDER', 'limit', 0, 'observed', s.open_entries, 'passed', (s.open_entries = 0) is true),
        jsonb_build_object('name', 'ORDER_QTY_MAX', 'limit', s.order_qty_max, 'observed', s.qty, 'passed', (s.qty <= s.order_qty_max) is true),
        jsonb_build_object('name', 'ORDER_NOTIONAL_MAX', 'limit', s.order_notional_max_usd, 'observed', s.notional_usd,
                           'passed', (s.notional_usd <= s.order_notional_max_usd) is true),
        jsonb_build_object('name', 'PRICE_COLLAR', 'limit', s.price_collar_pct,
                           'observed', round(abs(s.limit_price - s.reference_price) / s.reference_price, 6),
                           'passed', (abs(s.limit_price - s.reference_price) <= s.price_collar_pct * s.reference_price) is true),
        jsonb_build_object('name', 'OPEN_ORDERS_MAX', 'limit', s.open_orders_max, 'observed', s.open_orders + 1,
                           'passed', (s.open_orders + 1 <= s.open_orders_max) is true),
        jsonb_build_object('name', 'POSITIONS_MAX', 'limit', s.positions_max, 'observed', s.positions + 1,
                           'passed', (s.positions + 1 <= s.positions_max) is true),
        jsonb_build_object('name', 'POSITION_LIMIT', 'limit', s.position_notional_max_usd, 'observed', s.position_notional_usd + s.notional_usd,
                           'passed', (s.position_notional_usd + s.notional_usd <= s.position_notional_max_usd) is true),
        jsonb_build_object('name', 'CAPITAL_INSUFFICIENT', 'limit', s.capital_usd, 'observed', s.reserved_usd + s.used_usd + s.notional_usd,
                           'passed', (s.reserved_usd + s.used_usd + s.notional_usd <= s.capital_usd) is true));
$$;

-- The code of the first check that failed, or NULL when all passed.
create function private.gate_code(p_checks jsonb)
    returns text
    language sql
    immutable
as $$
    select case when f.failed -> 'limit' = 'null' then 'LIMIT_NOT_SET' else f.failed ->> 'name' end
    from (select jsonb_path_query_first(p_checks, '$[*] ? (@.passed == false)') as failed) f;
$$;

-- A denial in plain words; NULL when all checks passed.
create function private.gate_reason(p_checks jsonb)
    returns text
    language plpgsql
    immutable
    set search_path = ''
as $$
declare
    v_failed jsonb := jsonb_path_query_first(p_checks, '$[*] ? (@.passed == false)');
    v_over text;
begin
    if v_failed is null then
        return null;
    elsif v_failed -> 'limit' = 'null' then
        return format('The limit %s is not set; an unset limit blocks.', v_failed ->> 'name');
    end if;
    v_over := case v_failed ->> 'name'
        when 'ORDER_QTY_MAX' then 'The quantity'
        when 'ORDER_NOTIONAL_MAX' then 'The order''s notional in USD'
        when 'PRICE_COLLAR' then 'The limit price''s distance from the quote, as a fraction,'
        when 'OPEN_ORDERS_MAX' then 'The number of open entries'
        when 'POSITIONS_MAX' then 'The number of symbols held'
        when 'POSITION_LIMIT' then 'The position''s notional in USD'
        when 'CAPITAL_INSUFFICIENT' then 'The capital that would be committed, in USD,' end;
    if v_over is not null then
        return format('%s is %s; the limit is %s.', v_over, trim_scale((v_failed ->> 'observed')::numeric),
                      trim_scale((v_failed ->> 'limit')::numeric));
    end if;
    return case v_failed ->> 'name'
        when 'TRADING_HALTED' then 'Trading is halted.'
        when 'TRADING_PAUSED' then 'Trading is paused by an administrator.'
        when 'MODE_DISABLED' then 'The profile''s trading mode is disabled.'
        when 'PROFILE_INACTIVE' then 'The profile is not active.'
        when 'ORDER_UNKNOWN' then 'The fate of an earlier order in this symbol is not known yet.'
        when 'DUPLICATE_ORDER' then 'An entry of this profile in this symbol is already open.' end;
end;
$$;

-- What is wrong with the first malformed entry request; NULL when all are well formed.
create function private.entry_requests_error(p_requests jsonb, p_shard text)
    returns text
    language plpgsql
    stable
    set search_path = ''
as $$
declare
    v_error text;
begin
    if jsonb_typeof(p_requests) is distinct from 'array' then
        return 'p_requests must be an array of entry requests.';
    end if;
    select format('Entry request %s: %s.', coalesce(r.p ->> 'id', '(no id)'), e.error) into v_error
    from jsonb_array_elements(p_requests) with ordinality as r (p, position)
    left join public.profiles f on f.id = private.as_uuid(r.p ->> 'profile_id') and f.shard = p_shard
    cross join lateral (select case
        when private.as_uuid(r.p ->> 'id') is null then 'id must be a uuid'
        when f.id is null then format('profile %s does not exist in shard %s', r.p ->> 'profile_id', p_shard)
        when not coalesce(r.p ->> 'symbol' = any (f.symbols), false)
            then format('symbol %s is not one of the profile''s symbols (%s)', r.p ->> 'symbol', array_to_string(f.symbols, ', '))
        when coalesce(r.p ->> 'side', '') not in ('buy', 'sell') then 'side must be buy or sell'
        when coalesce(private.positive(r.p ->> 'qty'), 1e9) >= 1e9 then 'qty must be a number above 0 and below 1,000,000,000'
        when coalesce(private.positive(r.p ->> 'limit_price'), 1e6) >= 1e6 then 'limit_price must be a number above 0 and below 1,000,000'
        when coalesce(private.positive(r.p ->> 'reference_price'), 1e6) >= 1e6 then 'reference_price must be a number above 0 and below 1,000,000'
        when coalesce(private.positive(coalesce(r.p ->> 'stop_loss_price', '1')), 1e6) >= 1e6 then 'stop_loss_price must be a number above 0 and below 1,000,000'
        when coalesce(private.positive(coalesce(r.p ->> 'take_profit_price', '1')), 1e6) >= 1e6 then 'take_profit_price must be a number above 0 and below 1,000,000'
        end as error) e
    where e.error is not null
    order by r.position limit 1;
    return v_error;
end;
$$;

-- Judge and record the p_wave-th request of every profile in the batch, all at once. Requests of
-- one profile see each other's orders and reservations because they fall into different waves.
-- The caller holds the controls' shared lock and the profiles' capital rows.
create function private.decide_wave(p_requests jsonb, p_wave int, p_risk public.risk_configs)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan it afresh costs more than to run it
as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    with asked as (
        select r.*, f.owner_id, f.shard, f.strategy, f.trading_mode, f.active,
               c.capital_usd, c.reserved_usd, c.used_usd, round(r.qty * r.limit_price, 6) as notional_usd,
               case r.side when 'buy' then 'long' else 'short' end::public.position_side as position_side
        from (
            select a.*, row_number() over (partition by a.profile_id order by a.ordinality) as wave
            from rows from (jsonb_to_recordset(p_requests) as (
                id uuid, profile_id uuid, symbol text, side public.order_side, qty numeric, limit_price numeric,
                reference_price numeric, stop_loss_price numeric, take_profit_price numeric, time_in_force text,
                market_at timestamptz, signal jsonb)) with ordinality a) r
        join public.profiles f on f.id = r.profile_id
        join public.profile_capital c on c.profile_id = r.profile_id
        where r.wave = p_wave and not exists (select 1 from public.orders o where o.id = r.id)
    ), seen as materialized (
        select a.*, row(
            private.effective_mode(a.profile_id, a.symbol), a.trading_mode, a.active, a.qty, a.limit_price,
            a.reference_price, a.notional_usd,
            (select count(*) from public.orders o where o.symbol = a.symbol and o.state = 'unknown'),
            e.same_entries, e.entries,
            (select count(*) from (select unnest(e.symbols) union select n.symbol from public.positions n
                                   where n.profile_id = a.profile_id) h (symbol) where h.symbol <> a.symbol),
            e.symbol_reserved + coalesce((select sum(n.cost_usd) from public.positions n
                                          where n.profile_id = a.profile_id and n.symbol = a.symbol), 0),
            a.capital_usd, a.reserved_usd, a.used_usd,
            (p_risk.config #>> '{order_limits,qty_max}')::numeric,
            (p_risk.config #>> '{order_limits,notional_max_usd}')::numeric,
            (p_risk.config #>> '{order_limits,price_collar_pct}')::numeric,
            (p_risk.config #>> '{position_limits,open_orders_max}')::int,
            (p_risk.config #>> '{position_limits,positions_max}')::int,
            (p_risk.config #>> '{position_limits,position_notional_max_usd}')::numeric)::private.gate_snapshot as snapshot
        from asked a
        cross join lateral (
            select count(*) as entries,
                   count(*) filter (where o.symbol = a.symbol and o.position_side = a.position_side) as same_entries,
                   coalesce(sum(o.reserved_usd) filter (where o.symbol = a.symbol), 0) as symbol_reserved,
                   coalesce(array_agg(o.symbol), '{}') as symbols
            from public.orders o
            where o.profile_id = a.profile_id and o.purpose = 'entry'
              and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')) e
    ), judged as materialized (
        select s.*, private.gate_checks(s.snapshot) as checks from seen s
    ), coded as materialized (
        select j.*, private.gate_code(j.checks) as code from judged j
    ), decided as materialized (
        select d.*, case when d.code is not null then private.gate_reason(d.checks) end as reason,
               case when d.code is not null then 'denied'
                    when private.requires_approval(p_risk.config, d.trading_mode) then 'awaiting_approval'
                    else 'ready' end::public.order_state as state,
               case when jsonb_typeof(d.signal) = 'object' then gen_random_uuid() end as signal_id
        from coded d
    ), noted_signals as (
        insert into public.signals (id, owner_id, profile_id, symbol, side, strategy, strength, bar_at, detail, market_at, created_at)
        select d.signal_id, d.owner_id, d.profile_id, d.symbol, d.side, coalesce(d.signal ->> 'strategy', d.strategy),
               (d.signal ->> 'strength')::numeric, (d.signal ->> 'bar_at')::timestamptz,
               coalesce(d.signal -> 'detail', '{}'), d.market_at, v_now
        from decided d where d.signal_id is not null
    ), noted_decisions as (
        insert into public.decision_log (order_id, owner_id, profile_id, symbol, side, outcome, code, checks, inputs,
                                         config_version, market_at, created_at)
        select d.id, d.owner_id, d.profile_id, d.symbol, d.side, d.state, d.code, d.checks, to_jsonb(d.snapshot),
               p_risk.version, d.market_at, v_now
        from decided d
    ), reserved as (
        update public.profile_capital c
           set reserved_usd = c.reserved_usd + d.notional_usd, updated_at = v_now
          from decided d
         where c.profile_id = d.profile_id and d.state <> 'denied'
           and c.reserved_usd + c.used_usd + d.notional_usd <= c.capital_usd
    )
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        order_class, time_in_force, limit_price, take_profit_price, stop_loss_price, reference_price, notional_usd,
        reserved_usd, state, code, reason, signal_id, trade_id, market_at, created_at, updated_at, ended_at)
    select d.id, d.owner_id, d.profile_id, d.shard, d.symbol, d.side, d.position_side, 'entry', d.qty, 'limit',
           case num_nonnulls(d.take_profit_price, d.stop_loss_price) when 2 then 'bracket' when 1 then 'oto' else 'simple' end,
           coalesce(d.time_in_force, 'gtc'), d.limit_price, d.take_profit_price, d.stop_loss_price, d.reference_price,
           d.notional_usd, case d.state when 'denied' then 0 else d.notional_usd end, d.state, d.code, d.reason,
           d.signal_id, d.id, d.market_at, v_now, v_now, case d.state when 'denied' then v_now end
    from decided d;
end;
$$;

-- The gate, for one or hundreds of entries. The same id sent again answers the same and does nothing.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any request is malformed, and then nothing changes.
create function public.request_entries(p_shard text, p_token bigint, p_requests jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_error text;
    v_risk public.risk_configs;
    v_waves int;
begin
    perform private.check_lease(p_shard, p_token);
    v_error := private.entry_requests_error(p_requests, p_shard);
    if v_error is not null then
        perform private.fail(422, 'INVALID', v_error);
    end if;

    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select (e.value ->> 'profile_id')::uuid from jsonb_array_elements(p_requests) e)
      order by c.profile_id for update;
    v_risk := private.risk_config();
    select max(w.requests) into v_waves
    from (select count(*) as requests from jsonb_array_elements(p_requests) e group by (e.value ->> 'profile_id')::uuid) w;
    for v_wave in 1 .. coalesce(v_waves, 0) loop
        perform private.decide_wave(p_requests, v_wave, v_risk);
    end loop;

    return (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'state', o.state, 'code', o.code, 'reason', o.reason)
                                      order by e.ordinality), '[]')
            from jsonb_array_elements(p_requests) with ordinality e
            join public.orders o on o.id = (e.value ->> 'id')::uuid);
end;
$$;
revoke execute on function public.request_entries(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.request_entries(text, bigint, jsonb) to service_role;
comment on function public.request_entries(text, bigint, jsonb) is
    'The gate: judges entries, reserves capital, records every check. Engine only.';
-- Exits: closing, reducing and protecting open positions. Never gated by pause, limits or approval;
-- only a halt, which leaves nothing but cancels, refuses them.

-- What is wrong with one exit request; NULL when it is well formed.
create function private.exit_request_error(p jsonb, p_shard text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when private.as_uuid(p ->> 'id') is null then 'id must be a uuid'
        when not exists (select 1 from public.trades t join public.profiles f on f.id = t.profile_id
                         where t.id = private.as_uuid(p ->> 'trade_id') and f.shard = p_shard)
            then format('trade %s does not exist in shard %s', p ->> 'trade_id', p_shard)
        when p ->> 'qty' is not null and private.positive(p ->> 'qty') is null then 'qty must be a number above 0, or absent for all'
        when coalesce(p ->> 'order_type', 'market') not in ('market', 'limit', 'stop') then 'order_type must be market, limit or stop'
        when p ->> 'order_type' = 'limit' and private.positive(p ->> 'limit_price') is null then 'a limit exit needs a limit_price above 0'
        when p ->> 'order_type' = 'stop' and private.positive(p ->> 'stop_price') is null then 'a stop exit needs a stop_price above 0'
        when coalesce(p ->> 'purpose', 'exit') not in ('exit', 'stop_loss') then 'purpose must be exit or stop_loss'
    end;
$$;

create function private.decide_exit(p jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_order public.orders;
    v_position public.positions;
    v_purpose public.order_purpose := coalesce(p ->> 'purpose', 'exit');
begin
    select o.* into v_order from public.orders o where o.id = (p ->> 'id')::uuid;
    if found then
        return jsonb_build_object('id', v_order.id, 'state', v_order.state, 'code', v_order.code, 'reason', v_order.reason);
    end if;
    select n.* into v_position from public.positions n where n.trade_id = (p ->> 'trade_id')::uuid;
    if not found then
        return jsonb_build_object('id', p ->> 'id', 'state', 'denied', 'code', 'NO_POSITION',
                                  'reason', 'The trade has nothing left to close.');
    elsif private.effective_mode(v_position.profile_id, v_position.symbol) = 'HALTED' then
        return jsonb_build_object('id', p ->> 'id', 'state', 'denied', 'code', 'TRADING_HALTED',
                                  'reason', 'Trading is halted: nothing but cancels.');
    elsif v_purpose = 'exit' and exists (
        select 1 from public.orders o where o.trade_id = v_position.trade_id and o.purpose = 'exit'
           and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')) then
        return jsonb_build_object('id', p ->> 'id', 'state', 'denied', 'code', 'DUPLICATE_ORDER',
                                  'reason', 'An exit of this trade is already under way.');
    end if;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
        time_in_force, limit_price, stop_price, reference_price, state, reason, exit_reason, trade_id, market_at,
        created_at, updated_at)
    select (p ->> 'id')::uuid, f.owner_id, f.id, f.shard, v_position.symbol,
           case v_position.side when 'long' then 'sell' else 'buy' end::public.order_side, v_position.side, v_purpose,
           least(coalesce(private.positive(p ->> 'qty'), v_position.qty), v_position.qty),
           coalesce(p ->> 'order_type', 'market'),
           case coalesce(p ->> 'order_type', 'market') when 'market' then 'day' else 'gtc' end,
           private.positive(p ->> 'limit_price'), private.positive(p ->> 'stop_price'),
           private.positive(p ->> 'reference_price'), 'ready', left(p ->> 'reason', 500),
           coalesce(p ->> 'exit_reason', v_purpose::text), v_position.trade_id, (p ->> 'market_at')::timestamptz,
           clock_timestamp(), clock_timestamp()
    from public.profiles f where f.id = v_position.profile_id
    returning * into v_order;
    return jsonb_build_object('id', v_order.id, 'state', v_order.state, 'code', null, 'reason', v_order.reason);
end;
$$;

-- Accept exits. The same id sent again answers the same and does nothing; one open exit per trade.
-- Called by: the engine. Errors: LEASE_LOST; INVALID when any request is malformed, and then nothing changes.
create function public.request_exits(p_shard text, p_token bigint, p_requests jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_request jsonb;
    v_error text;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    if jsonb_typeof(p_requests) is distinct from 'array' then
        perform private.fail(422, 'INVALID', 'p_requests must be an array of exit requests.');
    end if;
    for v_request in select e.value from jsonb_array_elements(p_requests) e loop
        v_error := private.exit_request_error(v_request, p_shard);
        if v_error is not null then
            perform private.fail(422, 'INVALID', format('Exit request %s: %s.', coalesce(v_request ->> 'id', '(no id)'), v_error));
        end if;
    end loop;
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select t.profile_id from jsonb_array_elements(p_requests) e
                             join public.trades t on t.id = (e.value ->> 'trade_id')::uuid)
      order by c.profile_id for update;
    for v_request in select e.value from jsonb_array_elements(p_requests) e loop
        v_answers := v_answers || private.decide_exit(v_request);
    end loop;
    return v_answers;
end;
$$;
revoke execute on function public.request_exits(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.request_exits(text, bigint, jsonb) to service_role;
comment on function public.request_exits(text, bigint, jsonb) is 'Accept exits of open trades; not gated by pause. Engine only.';
-- Permits: the right to send one order until a deadline, and the broker's answers.

-- End what was decided too long ago to be sent: decisions have a time to live.
create function private.expire_stale(p_shard text, p_config jsonb)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_ready_since timestamptz := v_now - make_interval(secs => coalesce((p_config #>> '{order_limits,entry_ttl_s}')::numeric, 60)::float8);
    v_asked_since timestamptz := v_now - make_interval(mins => coalesce((p_config #>> '{operator_approval,approval_timeout_minutes}')::int, 15));
    v_stale uuid[];
begin
    select array_agg(o.id) into v_stale from public.orders o
     where o.shard = p_shard and o.purpose = 'entry'
       and ((o.state = 'ready' and o.created_at < v_ready_since)
         or (o.state = 'awaiting_approval' and o.created_at < v_asked_since));
    if v_stale is null then
        return;
    end if;
    perform 1 from public.profile_capital c
      where c.profile_id in (select o.profile_id from public.orders o where o.id = any (v_stale))
      order by c.profile_id for update;
    update public.orders o
       set state = case o.state when 'ready' then 'expired' else 'approval_expired' end::public.order_state,
           reason = case o.state when 'ready' then 'Not sent in time: the decision is too old.' else 'Not decided in time.' end
     where o.id = any (v_stale) and o.state in ('ready', 'awaiting_approval');
end;
$$;

-- Issue permits: exits first, entries only while nothing in their scope is paused or halted.
-- Called by: the engine. Errors: LEASE_LOST.
create function public.claim_orders(p_shard text, p_token bigint, p_limit int default 50, p_purpose text default null)
    returns setof public.orders
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_config jsonb;
    v_holder text;
begin
    perform private.check_lease(p_shard, p_token);
    if not exists (select 1 from public.orders o where o.shard = p_shard and o.state in ('ready', 'awaiting_approval')) then
        return;
    end if;
    v_config := (private.risk_config()).config;
    v_holder := (select l.holder from public.engine_leases l where l.shard = p_shard);
    perform private.lock_controls(p_exclusive => false);
    perform private.expire_stale(p_shard, v_config);
    return query
        update public.orders o
           set state = 'submitting', claimed_by = v_holder, permit_token = p_token, submitted_at = clock_timestamp(),
               permit_deadline = clock_timestamp()
                   + make_interval(secs => coalesce((v_config #>> '{order_limits,permit_ttl_s}')::numeric, 10)::float8)
         where o.id in (
            select r.id from public.orders r
             where r.shard = p_shard and r.state = 'ready'
               and (p_purpose is null or r.purpose::text = p_purpose)
               and private.effective_mode(r.profile_id, r.symbol)
                   < case r.purpose when 'entry' then 'PAUSED' else 'HALTED' end::public.control_mode
             order by (r.purpose = 'entry'), r.created_at, r.id
             limit least(greatest(coalesce(p_limit, 50), 1), 500)
             for update skip locked)
        returning o.*;
end;
$$;

-- Our state for the broker's status. Statuses that end nothing, known or new, are working.
create function private.state_of(p_status text, p_filled_qty numeric)
    returns public.order_state
    language sql
    immutable
as $$
    select case
        when p_status in ('filled', 'canceled', 'expired', 'rejected', 'replaced') then p_status::public.order_state
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
    v_changed boolean;
begin
    select * into o from public.orders where id = p_order_id for update;
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
    v_changed := v_state <> o.state or v_filled > o.filled_qty or o.broker_status is distinct from b ->> 'status';
    if v_changed and not (private.is_terminal(o.state) and v_filled <= o.filled_qty) then
        update public.orders u
           set state = v_state,
               broker_order_id = coalesce(u.broker_order_id, b ->> 'broker_order_id'),
               broker_status = b ->> 'status',
               broker_updated_at = greatest(u.broker_updated_at, (b ->> 'updated_at')::timestamptz),
               accepted_at = coalesce(u.accepted_at, clock_timestamp()),
               filled_qty = greatest(u.filled_qty, v_filled),
               filled_avg_price = case when v_filled >= u.filled_qty then coalesce((b ->> 'filled_avg_price')::numeric, u.filled_avg_price)
                                       else u.filled_avg_price end,
               reserved_usd = u.reserved_usd - v_release,
               reason = coalesce(b ->> 'reason', u.reason)
         where u.id = p_order_id;
    else
        v_changed := false;
    end if;
    return v_changed;
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
    v_leg jsonb;
    v_id uuid;
    v_changed boolean := false;
begin
    if jsonb_typeof(p_legs) is distinct from 'array' then
        return false;
    end if;
    for v_leg in select e.value from jsonb_array_elements(p_legs) e loop
        select o.id into v_id from public.orders o where o.broker_order_id = v_leg ->> 'broker_order_id';
        if not found then
            v_id := coalesce(private.as_uuid(v_leg ->> 'broker_order_id'), gen_random_uuid());
            insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
                order_class, time_in_force, limit_price, stop_price, state, exit_reason, trade_id, parent_id,
                broker_order_id, broker_status, market_at, created_at, updated_at, submitted_at, accepted_at)
            select v_id, o.owner_id, o.profile_id, o.shard, o.symbol, (v_leg ->> 'side')::public.order_side, o.position_side,
                   case when v_leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end::public.order_purpose,
                   (v_leg ->> 'qty')::numeric, v_leg ->> 'type', o.order_class, o.time_in_force,
                   (v_leg ->> 'limit_price')::numeric, (v_leg ->> 'stop_price')::numeric, 'working',
                   case when v_leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end,
                   o.trade_id, o.id, v_leg ->> 'broker_order_id', null, o.market_at,
                   clock_timestamp(), clock_timestamp(), o.submitted_at, clock_timestamp()
            from public.orders o where o.id = p_parent_id;
        end if;
        v_changed := private.apply_broker_order(v_id, v_leg) or v_changed;
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

create function private.apply_submission(p jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    o public.orders;
begin
    select * into o from public.orders where id = private.as_uuid(p ->> 'id') for update;
    if not found then
        perform private.fail(404, 'NOT_FOUND', format('Order %s does not exist.', p ->> 'id'));
    elsif coalesce(p ->> 'outcome', '') not in ('accepted', 'rejected', 'unknown', 'not_sent') then
        perform private.fail(422, 'INVALID', format('Outcome %L of order %s is not known.', p ->> 'outcome', o.id));
    elsif p ->> 'outcome' = 'accepted' then
        update public.orders u set broker_request_id = coalesce(p ->> 'request_id', u.broker_request_id) where u.id = o.id;
        perform private.apply_broker_order(o.id, p -> 'order');
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
as $$
declare
    v_result jsonb;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_capital_of(
        (select array_agg(private.as_uuid(e.value ->> 'id')) from jsonb_array_elements(p_results) e), '{}');
    for v_result in select e.value from jsonb_array_elements(p_results) e loop
        v_answers := v_answers || private.apply_submission(v_result);
    end loop;
    perform private.settle_quiescence();
    return v_answers;
end;
$$;

create function private.apply_update(b jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_id uuid;
    v_changed boolean;
begin
    select o.id into v_id from public.orders o
     where o.id = private.as_uuid(b ->> 'client_order_id') or o.broker_order_id = b ->> 'broker_order_id'
     order by (o.broker_order_id = b ->> 'broker_order_id') is true desc limit 1;
    if v_id is null then
        return jsonb_build_object('id', null, 'client_order_id', b ->> 'client_order_id', 'state', null, 'changed', false);
    end if;
    v_changed := private.apply_broker_order(v_id, b);
    v_changed := private.apply_legs(v_id, b -> 'legs') or v_changed;
    return (select jsonb_build_object('id', o.id, 'state', o.state, 'changed', v_changed,
                -- Ended on our side, alive at the broker: the engine has to cancel it.
                'late', private.is_terminal(o.state) and o.state not in ('filled', 'replaced')
                        and not private.is_terminal(private.state_of(b ->> 'status', 0)))
            from public.orders o where o.id = v_id);
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
as $$
declare
    v_update jsonb;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_capital_of(
        (select array_agg(private.as_uuid(e.value ->> 'client_order_id')) from jsonb_array_elements(p_updates) e),
        (select array_agg(e.value ->> 'broker_order_id') from jsonb_array_elements(p_updates) e));
    for v_update in select e.value from jsonb_array_elements(p_updates) e loop
        v_answers := v_answers || private.apply_update(v_update);
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
-- Equity: what each profile was worth, at market time.

create table public.equity_snapshots (
    profile_id     uuid not null references public.profiles (id),
    market_at      timestamptz not null,
    owner_id       uuid not null,
    session_date   date not null,
    equity_usd     numeric(24, 6) not null,
    cash_usd       numeric(24, 6) not null,
    exposure_usd   numeric(24, 6) not null,
    realized_usd   numeric(24, 6) not null,
    unrealized_usd numeric(24, 6) not null,
    recorded_at    timestamptz not null default now(),
    primary key (profile_id, market_at)
);
create index equity_snapshots_session on public.equity_snapshots (profile_id, session_date, market_at desc);
create index equity_snapshots_recorded on public.equity_snapshots (recorded_at);
create index equity_snapshots_owner on public.equity_snapshots (owner_id, session_date);
comment on table public.equity_snapshots is 'Equity of a profile at a market time: capital plus realized plus unrealized profit.';

-- The last snapshot of each session, kept up with each snapshot so that no page has to group them.
create table public.equity_daily (
    session_date   date not null,
    profile_id     uuid not null references public.profiles (id),
    owner_id       uuid not null,
    market_at      timestamptz not null,
    equity_usd     numeric(24, 6) not null,
    cash_usd       numeric(24, 6) not null,
    exposure_usd   numeric(24, 6) not null,
    realized_usd   numeric(24, 6) not null,
    unrealized_usd numeric(24, 6) not null,
    primary key (session_date, profile_id)
);
create index equity_daily_profile on public.equity_daily (profile_id, session_date);
create index equity_daily_owner on public.equity_daily (owner_id, session_date);
comment on table public.equity_daily is 'The last equity snapshot of each session and profile.';

create view public.equity_curve with (security_invoker = true) as
select d.session_date, max(d.market_at) as market_at, sum(d.equity_usd) as equity_usd, sum(d.cash_usd) as cash_usd,
       sum(d.exposure_usd) as exposure_usd, sum(d.realized_usd) as realized_usd,
       sum(d.unrealized_usd) as unrealized_usd, count(*) as profiles
from public.equity_daily d
group by d.session_date;
comment on view public.equity_curve is 'Equity per session, summed over the profiles that the caller may see.';

alter table public.equity_snapshots enable row level security;
alter table public.equity_daily enable row level security;
revoke all on public.equity_snapshots, public.equity_daily, public.equity_curve from anon, authenticated, service_role;
grant select on public.equity_snapshots, public.equity_daily, public.equity_curve to authenticated, service_role;
create policy "owners and staff read equity"
    on public.equity_snapshots for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));
create policy "owners and staff read daily equity"
    on public.equity_daily for select to authenticated
    using (owner_id = (select auth.uid()) or (select private.is_staff()));

-- Note the marks of open positions and what protects them. Called by: the engine's position monitor.
create function public.record_marks(p_shard text, p_token bigint, p_marks jsonb)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_count int;
begin
    perform private.check_lease(p_shard, p_token);
    perform 1 from public.profile_capital c
      where c.profile_id in (select n.profile_id from jsonb_to_recordset(p_marks) as m (trade_id uuid)
                             join public.positions n on n.trade_id = m.trade_id)
      order by c.profile_id for update;
    update public.positions n
       set mark_price = m.mark_price,
           unrealized_pnl_usd = (m.mark_price - n.avg_entry_price) * n.qty * case n.side when 'long' then 1 else -1 end,
           stop_price = coalesce(m.stop_price, n.stop_price),
           take_profit_price = coalesce(m.take_profit_price, n.take_profit_price),
           protected_qty = coalesce(m.protected_qty, n.protected_qty), marked_at = m.market_at, updated_at = clock_timestamp()
      from jsonb_to_recordset(p_marks) as m (trade_id uuid, mark_price numeric, stop_price numeric,
                                             take_profit_price numeric, protected_qty numeric, market_at timestamptz)
     where n.trade_id = m.trade_id and m.mark_price > 0;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

-- Note the equity of every profile of the shard from its capital and its positions' marks.
-- Called by: the engine. Errors: LEASE_LOST.
create function public.record_equity(p_shard text, p_token bigint, p_market_at timestamptz, p_session_date date)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_count int;
begin
    perform private.check_lease(p_shard, p_token);
    with now_worth as (
        select f.id, f.owner_id, c.capital_usd, c.realized_usd,
               coalesce(sum(n.qty * coalesce(n.mark_price, n.avg_entry_price)
                            * case n.side when 'long' then 1 else -1 end), 0) as net_value,
               coalesce(sum(n.qty * coalesce(n.mark_price, n.avg_entry_price)), 0) as exposure,
               coalesce(sum(n.unrealized_pnl_usd), 0) as unrealized
        from public.profiles f
        join public.profile_capital c on c.profile_id = f.id
        left join public.positions n on n.profile_id = f.id
        where f.shard = p_shard
        group by f.id, c.profile_id
    ), noted as (
        insert into public.equity_snapshots as s (profile_id, market_at, owner_id, session_date, equity_usd, cash_usd,
                                                  exposure_usd, realized_usd, unrealized_usd)
        select w.id, p_market_at, w.owner_id, p_session_date, w.capital_usd + w.realized_usd + w.unrealized,
               w.capital_usd + w.realized_usd + w.unrealized - w.net_value, w.exposure, w.realized_usd, w.unrealized
        from now_worth w
        on conflict (profile_id, market_at) do update
            set equity_usd = excluded.equity_usd, cash_usd = excluded.cash_usd, exposure_usd = excluded.exposure_usd,
                realized_usd = excluded.realized_usd, unrealized_usd = excluded.unrealized_usd
        returning s.*)
    insert into public.equity_daily as d (session_date, profile_id, owner_id, market_at, equity_usd, cash_usd,
                                          exposure_usd, realized_usd, unrealized_usd)
    select n.session_date, n.profile_id, n.owner_id, n.market_at, n.equity_usd, n.cash_usd, n.exposure_usd,
           n.realized_usd, n.unrealized_usd from noted n
    on conflict (session_date, profile_id) do update
        set market_at = excluded.market_at, equity_usd = excluded.equity_usd, cash_usd = excluded.cash_usd,
            exposure_usd = excluded.exposure_usd, realized_usd = excluded.realized_usd,
            unrealized_usd = excluded.unrealized_usd
        where d.market_at <= excluded.market_at;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;
revoke execute on function public.record_marks(text, bigint, jsonb) from public, anon, authenticated;
revoke execute on function public.record_equity(text, bigint, timestamptz, date) from public, anon, authenticated;
grant execute on function public.record_marks(text, bigint, jsonb) to service_role;
grant execute on function public.record_equity(text, bigint, timestamptz, date) to service_role;
comment on function public.record_marks(text, bigint, jsonb) is 'Note marks and protection of open positions. Engine only.';
comment on function public.record_equity(text, bigint, timestamptz, date) is 'Note each profile''s equity. Engine only.';
-- Price bars: what the engine fetched. Pages and notebooks draw from here, since only the engine
-- holds the broker's keys.

create table public.price_bars (
    symbol    text not null,
    timeframe text not null,
    bar_at    timestamptz not null,              -- the bar's start, market time
    open      numeric(18, 6) not null,
    high      numeric(18, 6) not null,
    low       numeric(18, 6) not null,
    close     numeric(18, 6) not null,
    volume    numeric(24, 6) not null,
    primary key (symbol, timeframe, bar_at),
    check (low <= least(open, close) and high >= greatest(open, close))
);
comment on table public.price_bars is 'Bars as fetched from the broker, by the start of the bar.';

alter table public.price_bars enable row level security;
revoke all on public.price_bars from anon, authenticated, service_role;
grant select on public.price_bars to authenticated, service_role;
create policy "members read bars"
    on public.price_bars for select to authenticated
    using ((select private.caller_role()) is not null);

-- Keep bars; the same bar again replaces the earlier one. Called by: the engine.
create function public.record_bars(p_bars jsonb)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_count int;
begin
    insert into public.price_bars as b (symbol, timeframe, bar_at, open, high, low, close, volume)
    select distinct on (n.symbol, n.timeframe, n.bar_at) n.symbol, n.timeframe, n.bar_at, n.open, n.high, n.low, n.close, n.volume
    from jsonb_to_recordset(p_bars) as n (symbol text, timeframe text, bar_at timestamptz, open numeric, high numeric,
                                          low numeric, close numeric, volume numeric)
    on conflict (symbol, timeframe, bar_at) do update
        set open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume
        where (b.open, b.high, b.low, b.close, b.volume)
              is distinct from (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;
revoke execute on function public.record_bars(jsonb) from public, anon, authenticated;
grant execute on function public.record_bars(jsonb) to service_role;
comment on function public.record_bars(jsonb) is 'Keep fetched bars. Engine only.';
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
    findings          int not null
);
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
    last_seen_at  timestamptz not null
);
create unique index reconciliation_findings_open on public.reconciliation_findings (shard, key) where status = 'open';
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
create policy "staff read reconciliation runs"
    on public.reconciliation_runs for select to authenticated using ((select private.is_staff()));
create policy "staff read findings"
    on public.reconciliation_findings for select to authenticated using ((select private.is_staff()));

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
    insert into public.bot_state_snapshots (shard, token, state, saved_at)
    values (p_shard, p_token, p_state, clock_timestamp()) returning saved_at into v_saved;
    delete from public.bot_state_snapshots s
     where s.shard = p_shard
       and s.id <= (select n.id from public.bot_state_snapshots n where n.shard = p_shard order by n.id desc offset 100 limit 1);
    return v_saved;
end;
$$;

create function public.load_bot_state(p_shard text)
    returns jsonb
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select jsonb_build_object('state', s.state, 'saved_at', s.saved_at)
    from public.bot_state_snapshots s where s.shard = p_shard order by s.id desc limit 1;
$$;

-- Everything an engine needs to act for its shard, in one consistent read. Called by: the engine. Errors: LEASE_LOST.
create function public.engine_snapshot(p_shard text, p_token bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return (select jsonb_build_object(
        'profiles', (select coalesce(jsonb_agg(to_jsonb(f) || jsonb_build_object(
                'reserved_usd', c.reserved_usd, 'used_usd', c.used_usd, 'realized_usd', c.realized_usd) order by f.id), '[]')
            from public.profiles f join public.profile_capital c on c.profile_id = f.id where f.shard = p_shard),
        'trades', (select coalesce(jsonb_agg(to_jsonb(n) || jsonb_build_object(
                'exit_working', exists (select 1 from public.orders o where o.trade_id = n.trade_id and o.purpose = 'exit'
                                        and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')),
                'legs', (select coalesce(jsonb_agg(to_jsonb(o) order by o.created_at), '[]') from public.orders o
                         where o.trade_id = n.trade_id and o.purpose in ('stop_loss', 'take_profit')
                           and o.state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled')))
                order by n.opened_at, n.trade_id), '[]')
            from public.positions n join public.profiles f on f.id = n.profile_id where f.shard = p_shard),
        'orders', (select coalesce(jsonb_agg(to_jsonb(o) order by o.created_at, o.id), '[]') from public.orders o
            where o.shard = p_shard
              and o.state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')),
        'controls', (select jsonb_agg(to_jsonb(c)) from public.trading_controls c where c.scope = 'global' or c.mode <> 'RUNNING'),
        'risk_config', (select jsonb_build_object('version', r.version, 'config', r.config) from public.risk_configs r where r.active)));
end;
$$;

-- Note one reconciliation: new differences open a finding, known ones are seen again, and open ones
-- that a full sweep no longer sees are repaired. Called by: the engine. Errors: LEASE_LOST.
create function public.reconcile_apply(p_shard text, p_token bigint, p_run jsonb, p_findings jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_run uuid;
    v_now timestamptz := clock_timestamp();
begin
    perform private.check_lease(p_shard, p_token);
    insert into public.reconciliation_runs (shard, kind, started_at, finished_at, orders_checked, positions_checked, findings)
    values (p_shard, p_run ->> 'kind', coalesce((p_run ->> 'started_at')::timestamptz, v_now), v_now,
            coalesce((p_run ->> 'orders_checked')::int, 0), coalesce((p_run ->> 'positions_checked')::int, 0),
            jsonb_array_length(p_findings))
    returning id into v_run;
    insert into public.reconciliation_findings as f (run_id, shard, key, kind, symbol, detail, status, first_seen_at, last_seen_at)
    select distinct on (n.key) v_run, p_shard, n.key, n.kind, n.symbol, coalesce(n.detail, '{}'), coalesce(n.status, 'open'), v_now, v_now
    from jsonb_to_recordset(p_findings) as n (key text, kind text, symbol text, detail jsonb, status text)
    on conflict (shard, key) where status = 'open' do update
        set last_seen_at = v_now, detail = excluded.detail, run_id = excluded.run_id;
    update public.reconciliation_findings f
       set status = 'repaired', last_seen_at = v_now
     where f.shard = p_shard and f.status = 'open'
       and (p_run ->> 'kind' = 'full' and f.last_seen_at < v_now
            or exists (select 1 from jsonb_to_recordset(p_findings) as n (key text, status text)
                       where n.key = f.key and n.status = 'repaired'));
    return jsonb_build_object('run_id', v_run, 'findings', jsonb_array_length(p_findings));
end;
$$;

revoke execute on function public.save_bot_state(text, bigint, jsonb) from public, anon, authenticated;
revoke execute on function public.load_bot_state(text) from public, anon, authenticated;
revoke execute on function public.engine_snapshot(text, bigint) from public, anon, authenticated;
revoke execute on function public.reconcile_apply(text, bigint, jsonb, jsonb) from public, anon, authenticated;
grant execute on function public.save_bot_state(text, bigint, jsonb) to service_role;
grant execute on function public.load_bot_state(text) to service_role;
grant execute on function public.engine_snapshot(text, bigint) to service_role;
grant execute on function public.reconcile_apply(text, bigint, jsonb, jsonb) to service_role;
comment on function public.engine_snapshot(text, bigint) is 'Everything an engine needs to act for its shard. Engine only.';
comment on function public.reconcile_apply(text, bigint, jsonb, jsonb) is 'Note a reconciliation and its findings. Engine only.';
