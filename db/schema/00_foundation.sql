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

-- A positive, finite number from JSON text, to the 9 decimals that quantities have, or NULL: 'NaN', 'Infinity', '', signs,
-- words and what rounds to nothing are NULL.
create function private.positive(p_text text)
    returns numeric
    language sql
    immutable
as $$
    select case when p_text ~ '^[0-9]{1,15}(\.[0-9]{1,15})?$' then nullif(round(p_text::numeric, 9), 0) end;
$$;

-- The same for a price, to the 6 decimals that prices have.
create function private.price(p_text text)
    returns numeric
    language sql
    immutable
as $$
    select nullif(round(private.positive(p_text), 6), 0);
$$;

-- A uuid from text, or NULL when it is none.
create function private.as_uuid(p_text text)
    returns uuid
    language sql
    immutable
as $$
    select case when p_text ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then p_text::uuid end;
$$;

-- Whether text is a point in time such as 2026-01-05T15:00:00+00:00; NULL for NULL.
create function private.is_time(p_text text)
    returns boolean
    language sql
    immutable
as $$
    select p_text ~ '^[12][0-9]{3}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-][01][0-9](:?[0-5][0-9])?)$';
$$;

-- Policies run with the caller's rights, so their helpers must be callable by the client roles.
grant execute on function private.is_engine() to authenticated, service_role;
grant execute on function private.is_terminal(public.order_state) to authenticated, service_role;
