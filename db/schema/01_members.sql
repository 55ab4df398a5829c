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
