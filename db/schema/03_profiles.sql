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
    disabled_reason text,                        -- why it was switched off; NULL while active
    unique (owner_id, name),
    -- Controls and lockouts name symbols in capitals: one that is spelled otherwise would slip past them.
    constraint profiles_symbols_are_tickers
        check (symbols::text ~ '^\{[A-Z][A-Z0-9./-]{0,14}(,[A-Z][A-Z0-9./-]{0,14})*\}$'),
    constraint profiles_capital_is_finite check (capital_usd < 1e15)
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
    updated_at   timestamptz not null default now(),
    peak_equity_usd numeric(24, 9)               -- the highest equity noted since the last fresh start; NULL: none yet
);
alter table public.profile_capital set (fillfactor = 60);  -- changed by every order: room for its next versions beside it
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

-- The capital of all of an owner's profiles, kept beside them: the gate asks for it at every entry.
create table private.owner_capital (
    owner_id    uuid primary key,
    capital_usd numeric(24, 2) not null
);

create function private.sync_owner_capital()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        update private.owner_capital o
           set capital_usd = o.capital_usd - x.usd
          from (select f.owner_id, sum(f.capital_usd) as usd from old_profiles f group by f.owner_id) x
         where o.owner_id = x.owner_id;
    end if;
    if tg_op <> 'DELETE' then
        insert into private.owner_capital as o (owner_id, capital_usd)
        select f.owner_id, sum(f.capital_usd) from new_profiles f group by f.owner_id order by f.owner_id
        on conflict (owner_id) do update set capital_usd = o.capital_usd + excluded.capital_usd;
    end if;
    return null;
end;
$$;
create trigger profiles_add_to_their_owners_capital
    after insert on public.profiles referencing new table as new_profiles
    for each statement execute function private.sync_owner_capital();
create trigger profiles_change_their_owners_capital
    after update on public.profiles referencing old table as old_profiles new table as new_profiles
    for each statement execute function private.sync_owner_capital();
create trigger profiles_leave_their_owners_capital
    after delete on public.profiles referencing old table as old_profiles
    for each statement execute function private.sync_owner_capital();

-- What the system switches off is on record as well; a person's own act is noted where it is done.
create function private.note_switched_off()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    perform private.audit('profile_switched_off', 'profile:' || new.id, 'done', new.disabled_reason,
                          jsonb_build_object('name', new.name), new.owner_id);
    return null;
end;
$$;
create trigger profiles_note_when_the_system_switches_them_off
    after update of active on public.profiles
    for each row
    when (old.active and not new.active and new.disabled_reason is not null and private.is_engine())
    execute function private.note_switched_off();

alter table public.profiles enable row level security;
alter table public.profile_capital enable row level security;
revoke all on public.profiles, public.profile_capital from anon, authenticated, service_role;
grant select on public.profiles, public.profile_capital to authenticated, service_role;

create policy "owners and staff read profiles"
    on public.profiles for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));
create policy "owners and staff read capital"
    on public.profile_capital for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));
