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
    schedule_id      uuid,                       -- the schedule that set the mode and may end it; NULL: a person
    stage_entries    int check (stage_entries >= 0),  -- after a staged resume: how many entries are still held back
    stage_fraction   numeric(5, 4) check (stage_fraction > 0 and stage_fraction < 1),  -- at this fraction of their size; NULL: by approval
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
    entries_in_flight int not null,
    schedule_id       uuid
);
create index trading_control_events_scope on public.trading_control_events (scope, scope_key, id);
create index trading_control_events_changed_at on public.trading_control_events (changed_at desc);
comment on table public.trading_control_events is 'Every change of a trading control, append-only.';
create trigger trading_control_events_is_append_only
    before update or delete or truncate on public.trading_control_events
    for each statement execute function private.refuse_change();

-- Each change with how long it lasted; the last one of a scope is still going on.
create view public.trading_control_history with (security_invoker = true) as
select e.*, extract(epoch from coalesce(e.ended_at, now()) - e.changed_at) as duration_s
from (select v.*, lead(v.changed_at) over (partition by v.scope, v.scope_key order by v.id) as ended_at
      from public.trading_control_events v) e;
comment on view public.trading_control_history is
    'Every change of a control with when it ended and how many seconds it lasted; ended_at is NULL while it lasts.';

alter table public.trading_controls enable row level security;
alter table public.trading_control_events enable row level security;
revoke all on public.trading_controls, public.trading_control_events, public.trading_control_history
    from anon, authenticated, service_role;
grant select on public.trading_controls, public.trading_control_events, public.trading_control_history to authenticated, service_role;
create policy "members read the controls, but of profiles their own alone, staff read all"
    on public.trading_controls for select to authenticated
    using ((select private.is_staff()) or scope <> 'profile' and (select private.caller_role()) is not null
           or scope_key = any (array(select f.id::text from public.profiles f where f.owner_id = (select private.caller_id()))));
create policy "members read the history of the controls, but of profiles their own alone, staff read all"
    on public.trading_control_events for select to authenticated
    using ((select private.is_staff()) or scope <> 'profile' and (select private.caller_role()) is not null
           or scope_key = any (array(select f.id::text from public.profiles f where f.owner_id = (select private.caller_id()))));

-- Whether the caller may know of a scope's control: of profiles, analysts know their own.
create function private.sees_scope(p_scope public.control_scope, p_scope_key text)
    returns boolean
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select p_scope <> 'profile' or private.is_engine() or private.is_staff()
           or exists (select 1 from public.profiles f where f.id = private.as_uuid(p_scope_key) and f.owner_id = auth.uid());
$$;

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

-- Note the moment at which a paused scope has no open permit left. Called by: every function that settles a permit,
-- at its end. The rows are locked before they are judged: of two calls that settle the last two permits, the
-- second one sees what the first has done.
create function private.settle_quiescence()
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform 1 from public.trading_controls c where c.mode <> 'RUNNING' and c.quiesced_at is null
      order by c.scope, c.scope_key for update;
    if found then
        update public.trading_controls c
           set quiesced_at = clock_timestamp()
         where c.mode <> 'RUNNING' and c.quiesced_at is null
           and not exists (select 1 from private.entries_in_flight(c.scope, c.scope_key));
    end if;
end;
$$;
