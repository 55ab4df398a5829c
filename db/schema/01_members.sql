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

-- Whether the caller's token is one that a sign-in makes, and the sign-in still holds: it has an end, is meant for
-- users, and neither was its session ended since nor its user banned. PostgREST has verified signature and times, and asks no more.
create function private.token_holds()
    returns boolean
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select c.claims ? 'exp' and c.claims ->> 'aud' = 'authenticated'
           and (c.claims ->> 'session_id' is null
                or exists (select 1 from auth.sessions s
                           where s.id = private.as_uuid(c.claims ->> 'session_id') and s.user_id = auth.uid()))
           and not exists (select 1 from auth.users u where u.id = auth.uid() and u.banned_until > clock_timestamp())
    from (select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb as claims) c;
$$;

-- The role of the signed-in caller; NULL when the caller is no member.
-- Security definer: policies on members itself would otherwise recurse.
create function private.caller_role()
    returns public.member_role
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select m.role from public.members m where m.user_id = auth.uid() and private.token_holds();
$$;
grant execute on function private.caller_role() to authenticated;

-- The id of the signed-in caller; NULL when the caller is no member or its sign-in has ended. Policies compare with
-- this, so that somebody who was removed, or has signed out, reads nothing with a token that still runs.
create function private.caller_id()
    returns uuid
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select m.user_id from public.members m where m.user_id = auth.uid() and private.token_holds();
$$;
grant execute on function private.caller_id() to authenticated;

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
    using (user_id = (select private.caller_id()) or (select private.caller_role()) = 'admin');
