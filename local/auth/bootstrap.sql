-- What a hosted Supabase project has before the first migration. Runs at every start, as superuser.

-- Roles. `postgres` owns the project's schema and is no superuser, just as on a hosted project.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['postgres', 'anon', 'authenticated', 'service_role',
                                  'authenticator', 'supabase_auth_admin']
    loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            execute format('create role %I', v_role);
        end if;
    end loop;
end;
$$;
alter role postgres login createdb createrole bypassrls;
alter role anon nologin noinherit;
alter role authenticated nologin noinherit;
alter role service_role nologin noinherit bypassrls;
alter role authenticator login noinherit;
alter role supabase_auth_admin login noinherit createrole;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role supabase_auth_admin set search_path = 'auth';
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;
alter database postgres owner to postgres;

-- Supabase opens `public` to the client roles, and opens whatever `postgres` makes there later.
-- Migrations have to close what they do not want open; here they have to prove that they do.
grant usage on schema public to postgres, anon, authenticated, service_role;
grant all on schema public to postgres;
do $$
begin
    -- Once only: a migration may have taken these back since.
    if to_regclass('supabase_migrations.schema_migrations') is null then
        alter default privileges for role postgres in schema public
            grant all on tables to anon, authenticated, service_role;
        alter default privileges for role postgres in schema public
            grant all on functions to anon, authenticated, service_role;
        alter default privileges for role postgres in schema public
            grant all on sequences to anon, authenticated, service_role;
    end if;
end;
$$;

-- Accounts.
create schema if not exists auth authorization supabase_auth_admin;
grant usage on schema auth to anon, authenticated, service_role, postgres;

create table if not exists auth.users (
    id                 uuid primary key default gen_random_uuid(),
    aud                text not null default 'authenticated',
    role               text not null default 'authenticated',
    email              text not null,
    encrypted_password text not null,
    email_confirmed_at timestamptz default now(),
    last_sign_in_at    timestamptz,
    raw_app_meta_data  jsonb not null default '{"provider": "email", "providers": ["email"]}',
    raw_user_meta_data jsonb not null default '{}',
    banned_until       timestamptz,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now()
);
create unique index if not exists users_email_key on auth.users (lower(email));

-- One row for each sign-in; deleting it ends that sign-in. Refresh tokens are not stored: each carries
-- its session and number under a signature, and the session knows which number is current.
create table if not exists auth.sessions (
    id                    uuid primary key default gen_random_uuid(),
    user_id               uuid not null references auth.users (id) on delete cascade,
    refresh_token_counter integer not null default 0,
    created_at            timestamptz not null default now(),
    refreshed_at          timestamptz not null default now()
);
create index if not exists sessions_user_id_idx on auth.sessions (user_id);

alter table auth.users owner to supabase_auth_admin;
alter table auth.sessions owner to supabase_auth_admin;
grant all on all tables in schema auth to postgres;

-- Who is calling, from the token that PostgREST has verified.
create or replace function auth.jwt()
    returns jsonb
    language sql
    stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb;
$$;

create or replace function auth.uid()
    returns uuid
    language sql
    stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
    )::uuid;
$$;

create or replace function auth.role()
    returns text
    language sql
    stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
    );
$$;

create or replace function auth.email()
    returns text
    language sql
    stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.email', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
    );
$$;

-- What the Supabase CLI keeps about migrations and seeds.
create schema if not exists supabase_migrations authorization postgres;
create table if not exists supabase_migrations.schema_migrations (
    version    text primary key,
    statements text[],
    name       text
);
create table if not exists supabase_migrations.seed_files (
    path text primary key,
    hash text not null
);
alter table supabase_migrations.schema_migrations owner to postgres;
alter table supabase_migrations.seed_files owner to postgres;
