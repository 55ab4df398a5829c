-- Symbol lockouts: no entries in a symbol for a time. Half-open intervals in the database's time; those
-- that people set and those that the system sets stand side by side and end each by itself.

create type public.lockout_type as enum ('manual', 'news_shock', 'cooldown', 'stoploss_guard', 'drawdown', 'reconciliation');

create table public.symbol_lockouts (
    id               uuid primary key default gen_random_uuid(),
    ticker           text not null check (ticker ~ '^(\*|[A-Z][A-Z0-9./-]{0,14})$'),  -- '*': every symbol
    side             public.position_side,       -- NULL: both directions
    profile_id       uuid references public.profiles (id),  -- NULL: every profile
    owner_id         uuid,                       -- the profile's owner; NULL: concerns everyone
    lockout_type     public.lockout_type not null,
    reason           text not null,
    detail           jsonb not null default '{}',  -- what the system saw, such as a headline and its source
    starts_at        timestamptz not null,
    expires_at       timestamptz not null check (expires_at > starts_at),
    created_by       uuid,                       -- NULL: the engine
    created_by_email text not null,
    removed_at       timestamptz,
    removed_by       uuid,
    removed_by_email text,
    removed_reason   text
);
create index symbol_lockouts_in_force on public.symbol_lockouts (ticker, expires_at) where removed_at is null;
create index symbol_lockouts_started on public.symbol_lockouts (starts_at desc);
create index symbol_lockouts_profile on public.symbol_lockouts (profile_id) where profile_id is not null;
create index symbol_lockouts_owner on public.symbol_lockouts (owner_id);
-- What has locked something once never locks it again, whatever became of that lockout.
create unique index symbol_lockouts_cause on public.symbol_lockouts (lockout_type, ticker, profile_id, (detail ->> 'cause'))
    nulls not distinct where detail ? 'cause';
comment on table public.symbol_lockouts is 'No entries in a symbol from starts_at until expires_at or removed_at.';

alter table public.symbol_lockouts enable row level security;
revoke all on public.symbol_lockouts from anon, authenticated, service_role;
grant select on public.symbol_lockouts to authenticated, service_role;
create policy "members read the lockouts that concern them, staff read all"
    on public.symbol_lockouts for select to authenticated
    using ((select private.is_staff()) or owner_id = (select private.caller_id())
           or owner_id is null and (select private.caller_role()) is not null);

-- The lockout that keeps an entry out at a moment: the one that lasts longest; no row when there is none.
-- Without a search_path of its own, so that it can be inlined into the gate's query.
create function private.lockout_of(p_symbol text, p_side public.position_side, p_profile_id uuid, p_at timestamptz)
    returns setof public.symbol_lockouts
    language sql
    stable
as $$
    select l.* from public.symbol_lockouts l
    where l.ticker in (p_symbol, '*') and l.removed_at is null and l.starts_at <= p_at and p_at < l.expires_at
      and coalesce(l.side, p_side) = p_side and coalesce(l.profile_id, p_profile_id) = p_profile_id
    order by l.expires_at desc limit 1;
$$;

-- Cancel what a lockout catches: entries that were not sent, and by id those that rest at the broker.
-- The caller holds the exclusive lock.
create function private.cancel_locked_entries(l public.symbol_lockouts)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_caught uuid[] := array(
        select o.id from public.orders o
         where o.purpose = 'entry' and o.state in ('ready', 'awaiting_approval', 'submitting', 'unknown', 'working', 'partially_filled')
           and (l.ticker = '*' or o.symbol = l.ticker) and coalesce(l.side, o.position_side) = o.position_side
           and coalesce(l.profile_id, o.profile_id) = o.profile_id);
    v_why text := format('Locked out: %s', left(l.reason, 200));
    v_canceled int;
begin
    perform 1 from public.profile_capital c
      where c.profile_id in (select o.profile_id from public.orders o where o.id = any (v_caught)) order by c.profile_id for update;
    update public.orders o set state = 'canceled', reason = v_why
     where o.id = any (v_caught) and o.state in ('ready', 'awaiting_approval');
    get diagnostics v_canceled = row_count;
    update public.orders o set cancel_requested_at = clock_timestamp(), reason = v_why
     where o.id = any (v_caught) and o.state in ('submitting', 'unknown', 'working', 'partially_filled')
       and o.cancel_requested_at is null;
    return v_canceled;
end;
$$;

-- Why a lockout cannot be accepted as it is written; NULL when it can.
create function private.lockout_error(p_ticker text, p_reason text, p_minutes int, p_type text, p_side text)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select case
        when coalesce(upper(private.trimmed(p_ticker)), '') !~ '^(\*|[A-Z][A-Z0-9./-]{0,14})$'
            then format('%L is no ticker: use letters, digits, dots, dashes or slashes, such as AAPL or BRK.B, or * for every symbol.',
                        left(coalesce(p_ticker, ''), 40))
        when private.reason_error(p_reason) is not null then private.reason_error(p_reason)
        when coalesce(p_minutes, 0) not between 1 and 525600 then 'The duration is between 1 minute and 525,600 minutes (a year).'
        when coalesce(p_type, '') not in ('manual', 'news_shock', 'cooldown', 'stoploss_guard', 'drawdown', 'reconciliation')
            then 'The type is manual, news_shock, cooldown, stoploss_guard, drawdown or reconciliation.'
        when coalesce(p_side, 'long') not in ('long', 'short') then 'The side is long, short, or empty for both.' end;
$$;

-- Begin a lockout now, cancel what it catches and note it. The caller has checked rights and arguments.
create function private.lock_out(p_ticker text, p_reason text, p_minutes int, p_type text, p_side text,
                                 p_profile_id uuid default null, p_detail jsonb default '{}')
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_now timestamptz := clock_timestamp();
    l public.symbol_lockouts;
    v_canceled int;
begin
    insert into public.symbol_lockouts (ticker, side, profile_id, owner_id, lockout_type, reason, detail, starts_at, expires_at,
                                        created_by, created_by_email)
    values (upper(private.trimmed(p_ticker)), p_side::public.position_side, p_profile_id,
            (select f.owner_id from public.profiles f where f.id = p_profile_id), p_type::public.lockout_type,
            private.trimmed(p_reason), coalesce(p_detail, '{}'), v_now, v_now + make_interval(mins => p_minutes),
            auth.uid(), private.actor_email())
    returning * into l;
    v_canceled := private.cancel_locked_entries(l);
    perform private.audit('create_lockout', 'symbol:' || l.ticker, 'done', l.reason,
                          to_jsonb(l) || jsonb_build_object('entries_canceled', v_canceled));
    return jsonb_build_object('success', true, 'lockout', to_jsonb(l), 'entries_canceled', v_canceled);
end;
$$;

-- Lock a symbol out for some minutes from now on. Called by: operators and admins.
-- Errors: FORBIDDEN, INVALID, CONFLICT, each audited as refused.
create function public.create_lockout(
    p_ticker text, p_reason text, p_duration_minutes int default 60, p_lockout_type text default 'manual',
    p_side text default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'symbol:' || left(coalesce(p_ticker, ''), 40);
    v_error text := private.lockout_error(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side);
    v_asked jsonb := jsonb_build_array(p_duration_minutes, p_lockout_type, p_side);
    v_answer jsonb;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may lock symbols out.', 'create_lockout', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'create_lockout', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'create_lockout', v_target, v_asked);
    return coalesce(v_answer, private.answer(p_request_id, 'create_lockout', v_target,
        private.lock_out(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side), v_asked));
end;
$$;

-- The same for the engine, which says what it saw, and for one profile where the reason is the profile's own.
-- `detail.cause` names what it saw: a cause locks once, and never again after a person has removed its lockout. While one
-- of the same type, symbol, side and profile is in force it answers that one, unless another cause asks for longer.
-- Errors: LEASE_LOST, INVALID.
create function public.engine_lockout(p_shard text, p_token bigint, p_ticker text, p_reason text, p_duration_minutes int,
                                      p_lockout_type text, p_side text default null, p_profile_id uuid default null,
                                      p_detail jsonb default '{}')
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_error text := private.lockout_error(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side);
    l public.symbol_lockouts;
begin
    perform private.check_lease(p_shard, p_token);
    if v_error is not null then
        perform private.fail(422, 'INVALID', v_error);
    elsif p_lockout_type = 'manual' then
        perform private.fail(422, 'INVALID', 'A manual lockout is a person''s: use one of the other types.');
    elsif p_profile_id is not null and not exists (select 1 from public.profiles f where f.id = p_profile_id and f.shard = p_shard) then
        perform private.fail(422, 'INVALID', format('Profile %s does not exist in shard %s.', p_profile_id, p_shard));
    end if;
    perform private.lock_controls(p_exclusive => true);
    select n.* into l from public.symbol_lockouts n
     where n.ticker = upper(private.trimmed(p_ticker)) and n.lockout_type = p_lockout_type::public.lockout_type
       and n.profile_id is not distinct from p_profile_id
       and (n.detail ->> 'cause' = p_detail ->> 'cause'
            or n.side is not distinct from p_side::public.position_side and n.removed_at is null and n.expires_at > clock_timestamp()
               and (n.detail ->> 'cause' is null or p_detail ->> 'cause' is null
                    or n.expires_at >= clock_timestamp() + make_interval(mins => p_duration_minutes)))
     order by (n.detail ->> 'cause' = p_detail ->> 'cause') is true desc, n.expires_at desc limit 1;
    if l.id is not null then
        return jsonb_build_object('success', true, 'lockout', to_jsonb(l), 'entries_canceled', 0);
    end if;
    return private.lock_out(p_ticker, p_reason, p_duration_minutes, p_lockout_type, p_side, p_profile_id, p_detail);
end;
$$;

-- What protections judge by: a shard's trades closed since a market time, oldest first, with the seconds since they were
-- booked, and its open breaks. Called by: the engine. Errors: LEASE_LOST.
create function public.protection_facts(p_shard text, p_token bigint, p_since timestamptz)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return jsonb_build_object(
        'trades', (select coalesce(jsonb_agg(jsonb_build_object(
                'trade_id', t.id, 'profile_id', t.profile_id, 'symbol', t.symbol, 'exit_reason', coalesce(t.exit_reason, ''),
                'pnl_usd', t.realized_pnl_usd, 'closed_at', t.closed_at,
                'age_s', (select extract(epoch from clock_timestamp() - max(f.recorded_at)) from public.fills f where f.trade_id = t.id))
                order by t.closed_at, t.id), '[]')
            from public.trades t join public.profiles o on o.id = t.profile_id
            where o.shard = p_shard and t.closed_at > p_since),
        'breaks', (select coalesce(jsonb_agg(jsonb_build_object(
                'finding_id', f.id, 'kind', f.kind, 'symbol', f.symbol, 'seen_again',
                coalesce((select max(r.finished_at) from public.reconciliation_runs r where r.shard = p_shard) > f.first_seen_at, false),
                'age_s', extract(epoch from clock_timestamp() - f.first_seen_at)) order by f.id), '[]')
            from public.reconciliation_findings f where f.shard = p_shard and f.status = 'open'));
end;
$$;

-- End one lockout early; others on the same symbol stay. Called by: operators and admins.
create function public.remove_lockout(p_lockout_id uuid, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'lockout:' || coalesce(p_lockout_id::text, '');
    v_answer jsonb;
    l public.symbol_lockouts;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins may remove lockouts.', 'remove_lockout', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'remove_lockout', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'remove_lockout', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    update public.symbol_lockouts n
       set removed_at = clock_timestamp(), removed_by = auth.uid(), removed_by_email = private.actor_email(),
           removed_reason = private.trimmed(p_reason)
     where n.id = p_lockout_id and n.removed_at is null and n.expires_at > clock_timestamp()
    returning n.* into l;
    if l.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no lockout in force with this id.', 'remove_lockout', v_target,
                              'It may have run out or been removed meanwhile: look at the list again.');
    end if;
    perform private.audit('remove_lockout', 'symbol:' || l.ticker, 'done', l.removed_reason, to_jsonb(l));
    return private.answer(p_request_id, 'remove_lockout', v_target, jsonb_build_object('success', true, 'lockout', to_jsonb(l)));
end;
$$;

revoke execute on function public.create_lockout(text, text, int, text, text, uuid) from public, anon;
revoke execute on function public.remove_lockout(uuid, text, uuid) from public, anon;
revoke execute on function public.protection_facts(text, bigint, timestamptz) from public, anon, authenticated;
revoke execute on function public.engine_lockout(text, bigint, text, text, int, text, text, uuid, jsonb) from public, anon, authenticated;
grant execute on function public.create_lockout(text, text, int, text, text, uuid) to authenticated, service_role;
grant execute on function public.remove_lockout(uuid, text, uuid) to authenticated, service_role;
grant execute on function public.protection_facts(text, bigint, timestamptz) to service_role;
grant execute on function public.engine_lockout(text, bigint, text, text, int, text, text, uuid, jsonb) to service_role;
comment on function public.create_lockout(text, text, int, text, text, uuid) is
    'No entries in a symbol for some minutes. Operators and admins, idempotent by request id.';
comment on function public.remove_lockout(uuid, text, uuid) is 'End a lockout early, with a reason. Operators and admins.';
comment on function public.engine_lockout(text, bigint, text, text, int, text, text, uuid, jsonb) is
    'A lockout that the system sets: news shock, cooldown, guards. Engine only.';
comment on function public.protection_facts(text, bigint, timestamptz) is
    'Closed trades and open breaks of a shard, which system lockouts are judged by. Engine only.';
