-- Reconciliation: our books against the broker's. The engine brings what the broker says; what is a difference,
-- what becomes of it, and whether it keeps entries out, is decided here.

-- What becomes of orders in a broker account that we never made. Without a row: lock.
create table public.external_order_policies (
    id               uuid primary key default gen_random_uuid(),
    broker_account   text not null,
    profile_id       uuid references public.profiles (id) on delete cascade,  -- NULL: for the whole account
    policy           text not null check (policy in ('lock', 'ignore', 'adopt')),
    reason           text not null,
    changed_by_email text not null,
    changed_at       timestamptz not null default now(),
    unique nulls not distinct (broker_account, profile_id)
);
create index external_order_policies_profile on public.external_order_policies (profile_id);
comment on table public.external_order_policies is
    'Orders in the account that are not ours: lock the symbol for entries, ignore them, or adopt them into a profile.';
alter table public.external_order_policies enable row level security;
revoke all on public.external_order_policies from anon, authenticated, service_role;
grant select on public.external_order_policies to authenticated, service_role;
create policy "staff read the policies for external orders"
    on public.external_order_policies for select to authenticated using ((select private.is_staff()));

-- The broker account that a shard's profiles trade in.
create function private.account_of(p_shard text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select coalesce(min(f.broker_account), 'main') from public.profiles f where f.shard = p_shard;
$$;

create type private.external_policy as (policy text, profile_id uuid, reason text);

-- What becomes of a symbol's external orders: the strictest wish of the profiles that trade it, else the account's.
-- `adopt` names the one profile that takes them.
create function private.external_policy_of(p_account text, p_symbol text)
    returns private.external_policy
    language sql
    stable
    set search_path = ''
as $$
    select row(
        case when count(w.id) = 0 then case when a.policy = 'ignore' then 'ignore' else 'lock' end
             when bool_or(w.policy = 'lock') then 'lock'
             when bool_and(w.policy = 'ignore') then 'ignore'
             when count(*) filter (where w.policy = 'adopt') = 1 then 'adopt'
             else 'lock' end,
        case when not bool_or(w.policy = 'lock') and count(*) filter (where w.policy = 'adopt') = 1
             then (min(w.id::text) filter (where w.policy = 'adopt'))::uuid end,
        case when count(w.id) = 0 then 'no active profile trades the symbol'
             when bool_or(w.policy = 'lock') then 'the policy is to lock'
             when count(*) filter (where w.policy = 'adopt') > 1 then 'several profiles would adopt' end)::private.external_policy
    from (select (select x.policy from public.external_order_policies x where x.broker_account = p_account and x.profile_id is null) as policy) a
    left join lateral (
        select f.id, coalesce(x.policy, a.policy, 'lock') as policy
        from public.profiles f left join public.external_order_policies x on x.profile_id = f.id
        where f.broker_account = p_account and f.active and p_symbol = any (f.symbols)) w on true
    group by a.policy;
$$;

-- Set what becomes of external orders, for an account or for one profile of it. Called by: admins.
create function public.set_external_order_policy(p_policy text, p_reason text, p_broker_account text default 'main',
                                                 p_profile_id uuid default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := case when p_profile_id is null then 'account:' || left(coalesce(p_broker_account, ''), 60) else 'profile:' || p_profile_id end;
    v_error text := coalesce(private.reason_error(p_reason),
        case when coalesce(p_policy, '') not in ('lock', 'ignore', 'adopt') then 'The policy is lock, ignore or adopt.'
             when coalesce(length(p_broker_account), 0) not between 1 and 60 then 'Name the broker account (1 to 60 characters).' end);
    v_answer jsonb;
    v_row public.external_order_policies;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may say what becomes of external orders.', 'set_external_order_policy', v_target);
    elsif v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'set_external_order_policy', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'set_external_order_policy', v_target, jsonb_build_array(p_policy, p_broker_account));
    if v_answer is not null then
        return v_answer;
    elsif p_profile_id is not null and not exists (select 1 from public.profiles f where f.id = p_profile_id and f.broker_account = p_broker_account) then
        return private.refuse(404, 'NOT_FOUND', 'There is no such profile in this broker account.', 'set_external_order_policy', v_target);
    end if;
    insert into public.external_order_policies as x (broker_account, profile_id, policy, reason, changed_by_email, changed_at)
    values (p_broker_account, p_profile_id, p_policy, private.trimmed(p_reason), coalesce((select m.email from public.members m where m.user_id = private.caller_id()), ''), clock_timestamp())
    on conflict (broker_account, profile_id) do update
        set policy = excluded.policy, reason = excluded.reason, changed_by_email = excluded.changed_by_email, changed_at = excluded.changed_at
    returning x.* into v_row;
    perform private.audit('set_external_order_policy', v_target, 'done', private.trimmed(p_reason), jsonb_build_object('policy', p_policy));
    return private.answer(p_request_id, 'set_external_order_policy', v_target, jsonb_build_object('success', true, 'policy', to_jsonb(v_row)),
                          jsonb_build_array(p_policy, p_broker_account));
end;
$$;

-- What our books of all shards say the shard's broker account holds. Called by: the engine. Errors: LEASE_LOST.
create function public.reconcile_books(p_shard text, p_token bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_account text := private.account_of(p_shard);  -- once: as a condition it would be asked for each profile
begin
    perform private.require_lease(p_shard, p_token);
    return (select coalesce(jsonb_object_agg(h.symbol, h.qty::text), '{}')
            from (select n.symbol, sum(case n.side when 'long' then n.qty else -n.qty end) as qty
                  from public.positions n join public.profiles f on f.id = n.profile_id
                  where f.broker_account = v_account group by n.symbol) h);
end;
$$;

-- Hold one page of the broker's orders against ours, given as parallel arrays; answers the positions (from 1) of
-- those that say something new, and of those that we do not know. Called by: the engine. Errors: LEASE_LOST.
create function public.reconcile_orders(p_shard text, p_token bigint, p_client_ids text[], p_broker_ids text[],
                                        p_statuses text[], p_filled numeric[])
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.require_lease(p_shard, p_token);
    return (
        select jsonb_build_object(
            'news', coalesce(jsonb_agg(c.n order by c.n) filter (where c.shard = p_shard and (c.filled > c.filled_qty or c.known_as is distinct from c.broker_id or case
                when private.is_terminal(c.state) then c.state not in ('filled', 'replaced') and not private.is_terminal(private.state_of(c.status, 0))
                else c.status is distinct from c.broker_status end)), '[]'),
            'unknown', coalesce(jsonb_agg(c.n order by c.n) filter (where c.shard is null), '[]'))
        from (select u.n, u.broker_id, u.status, u.filled, coalesce(a.shard, b.shard) as shard, coalesce(a.state, b.state) as state,
                     coalesce(a.broker_status, b.broker_status) as broker_status, coalesce(a.filled_qty, b.filled_qty) as filled_qty,
                     coalesce(a.broker_order_id, b.broker_order_id) as known_as
              from unnest(p_client_ids, p_broker_ids, p_statuses, p_filled) with ordinality u (client_id, broker_id, status, filled, n)
              left join public.orders a on a.broker_order_id = u.broker_id
              left join public.orders b on a.id is null and b.id = private.as_uuid(u.client_id)) c);
end;
$$;

-- Bring external orders into our books where the policy says so: as an exit of the one trade that is large enough,
-- or as a trade of the profile's own. Answers for each whether it was adopted, the policy and why not.
-- Called by: the engine. Errors: LEASE_LOST.
create function public.adopt_orders(p_shard text, p_token bigint, p_orders jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- as record_submission, whose plans it shares
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_order jsonb;
    v_answers jsonb := '[]';
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select f.id from public.profiles f where f.shard = p_shard
                             and f.symbols && array(select e.value ->> 'symbol' from jsonb_array_elements(p_orders) e))
      order by c.profile_id for update;
    for v_order in select e.value from jsonb_array_elements(p_orders) e loop
        v_answers := v_answers || private.adopt_order(v_order, p_shard);
    end loop;
    return v_answers;
end;
$$;

create function private.adopt_order(b jsonb, p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_policy private.external_policy := private.external_policy_of(private.account_of(p_shard), b ->> 'symbol');
    f public.profiles;
    v_side public.position_side := case b ->> 'side' when 'buy' then 'long' else 'short' end;
    v_qty numeric := private.positive(b ->> 'qty');
    v_closes uuid[];
    v_error text;
begin
    select p.* into f from public.profiles p where p.id = v_policy.profile_id;
    if v_policy.policy <> 'adopt' or f.shard <> p_shard then
        return jsonb_build_object('adopted', false, 'policy', v_policy.policy, 'reason', v_policy.reason);
    end if;
    v_closes := array(select n.trade_id from public.positions n
                      where n.profile_id = f.id and n.symbol = b ->> 'symbol' and n.side <> v_side);
    v_error := case
        when v_qty is null then 'it has no quantity in shares'
        when (b ->> 'type' = any (private.order_types())) is not true then 'orders of its type are not known here'
        when exists (select 1 from public.orders o where o.broker_order_id = b ->> 'broker_order_id') then 'it is known already'
        when cardinality(v_closes) > 1 then 'several trades could be meant'
        when cardinality(v_closes) = 1 then private.cannot_close(v_closes[1], v_qty)
        else private.cannot_open(f, b, v_qty) end;
    if v_error is null then
        perform private.book_external(f, b, v_qty, v_closes[1]);
    end if;
    return jsonb_build_object('adopted', v_error is null, 'policy', 'adopt', 'reason', coalesce(v_error, ''));
end;
$$;

-- Why an external order cannot be an exit of a trade; NULL when it can.
create function private.cannot_close(p_trade_id uuid, p_qty numeric)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case when p_qty > (select n.qty from public.positions n where n.trade_id = p_trade_id) then 'it is larger than the position'
                when exists (select 1 from public.orders o where o.trade_id = p_trade_id and o.purpose = 'exit'
                             and not private.is_terminal(o.state)) then 'an exit of the trade is under way' end;
$$;

-- Why an external order cannot be an entry of a profile; NULL when it can.
create function private.cannot_open(f public.profiles, b jsonb, p_qty numeric)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when private.effective_mode(f.id, b ->> 'symbol') <> 'RUNNING' then 'trading is not running'
        when exists (select 1 from public.orders o where o.profile_id = f.id and o.symbol = b ->> 'symbol' and o.purpose = 'entry'
                     and not private.is_terminal(o.state)) then 'an entry of the profile is under way'
        when coalesce(private.price(b ->> 'limit_price'), private.price(b ->> 'filled_avg_price')) is null then 'it has no price yet'
        when c.reserved_usd + c.used_usd + p_qty * coalesce(private.price(b ->> 'limit_price'), private.price(b ->> 'filled_avg_price')) > c.capital_usd
            then 'the profile has not enough capital' end
    from public.profile_capital c where c.profile_id = f.id;
$$;

-- Make an order row of an external order, then take over what the broker says about it.
create function private.book_external(f public.profiles, b jsonb, p_qty numeric, p_closes uuid)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_id uuid := coalesce(private.as_uuid(b ->> 'broker_order_id'), gen_random_uuid());
    v_notional numeric := case when p_closes is null then
        round(p_qty * coalesce(private.price(b ->> 'limit_price'), private.price(b ->> 'filled_avg_price')), 6) end;
    v_side public.position_side := case when p_closes is null then case b ->> 'side' when 'buy' then 'long' else 'short' end
                                        else case b ->> 'side' when 'buy' then 'short' else 'long' end end;
begin
    update public.profile_capital c set reserved_usd = c.reserved_usd + v_notional where c.profile_id = f.id and v_notional is not null;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type, order_class,
        limit_price, stop_price, notional_usd, reserved_usd, state, reason, exit_reason, trade_id, broker_order_id, market_at,
        submitted_at, accepted_at)
    values (v_id, f.owner_id, f.id, f.shard, b ->> 'symbol', (b ->> 'side')::public.order_side, v_side,
        case when p_closes is null then 'entry' else 'exit' end::public.order_purpose, p_qty, b ->> 'type', 'simple',
        private.price(b ->> 'limit_price'), private.price(b ->> 'stop_price'), v_notional, coalesce(v_notional, 0), 'working',
        'Made outside of Interlock and adopted.', case when p_closes is not null then 'external' end,
        coalesce(p_closes, v_id), b ->> 'broker_order_id', (b ->> 'updated_at')::timestamptz, clock_timestamp(), clock_timestamp());
    perform private.audit('adopt_order', 'profile:' || f.id, 'done', 'An order of the account that is not ours was adopted.',
                          jsonb_build_object('order_id', v_id, 'symbol', b ->> 'symbol', 'side', b ->> 'side', 'qty', p_qty), f.owner_id);
    perform private.apply_broker_orders(array[v_id], array[b]);
end;
$$;

-- Note one reconciliation: new differences open a finding, known ones stay, and open ones that are no longer there
-- are repaired. What stays as it is is not written again. Called by: the engine. Errors: LEASE_LOST.
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
    if coalesce(p_run ->> 'kind', '') not in ('full', 'incremental') then
        perform private.fail(422, 'INVALID', 'The kind of a run is full or incremental.');
    elsif jsonb_typeof(p_findings) is distinct from 'array'
          or exists (select 1 from jsonb_array_elements(p_findings) e
                     where coalesce(e.value ->> 'key', '') = '' or coalesce(e.value ->> 'kind', '') = ''
                        or coalesce(e.value ->> 'status', 'open') not in ('open', 'repaired')
                        or coalesce(e.value ->> 'severity', 'warning') not in ('info', 'warning', 'critical')) then
        perform private.fail(422, 'INVALID', 'p_findings must be an array of findings with key, kind and, if any, status open or repaired'
                                             ' and severity info, warning or critical.');
    end if;
    insert into public.reconciliation_runs (shard, kind, started_at, finished_at, orders_checked, positions_checked, findings,
                                            broker_cursor, orders_changed)
    values (p_shard, p_run ->> 'kind', coalesce((p_run ->> 'started_at')::timestamptz, v_now), v_now,
            coalesce((p_run ->> 'orders_checked')::int, 0), coalesce((p_run ->> 'positions_checked')::int, 0),
            jsonb_array_length(p_findings), (p_run ->> 'broker_cursor')::timestamptz, coalesce((p_run ->> 'orders_changed')::int, 0))
    returning id into v_run;
    perform private.note_findings(p_shard, v_run, p_findings, v_now);
    return jsonb_build_object('run_id', v_run, 'findings', jsonb_array_length(p_findings));
end;
$$;

create function private.note_findings(p_shard text, p_run uuid, p_findings jsonb, p_now timestamptz)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_account text := private.account_of(p_shard);
    v_found public.reconciliation_findings[] := array(
        select distinct on (n.key) row(0, p_run, p_shard, n.key, n.kind, n.symbol, coalesce(n.detail, '{}'),
                   case when g.ignored then 'repaired' else coalesce(n.status, 'open') end, p_now, p_now, coalesce(n.severity, 'warning'),
                   case when g.ignored then 'Ignored, as the account''s policy says.' else coalesce(n.action, '') end,
                   coalesce(n.advice, ''), g.ignored)::public.reconciliation_findings
        from jsonb_to_recordset(p_findings) as n (key text, kind text, symbol text, detail jsonb, status text, severity text, action text, advice text)
        cross join lateral (select n.kind in ('ORDER_NOT_OURS', 'POSITION_MISMATCH')
            and (private.external_policy_of(v_account, n.symbol)).policy = 'ignore' as ignored) g);
begin
    update public.reconciliation_findings f
       set status = 'repaired', ignored = false, last_seen_at = p_now
     where f.shard = p_shard and (f.status = 'open' or f.ignored)
       and not exists (select 1 from unnest(v_found) n where n.key = f.key and (n.status = 'open' and f.status = 'open' or n.ignored and f.ignored));
    insert into public.reconciliation_findings as f (run_id, shard, key, kind, symbol, detail, status, first_seen_at, last_seen_at,
                                                     severity, action, advice, ignored)
    select n.run_id, n.shard, n.key, n.kind, n.symbol, n.detail, n.status, p_now, p_now, n.severity, n.action, n.advice, n.ignored
    from unnest(v_found) n
    where n.status = 'open' or n.ignored and not exists (select 1 from public.reconciliation_findings f where f.shard = p_shard and f.key = n.key and f.ignored)
          or n.status = 'repaired' and not n.ignored
    on conflict (shard, key) where status = 'open' do update
        set last_seen_at = p_now, detail = excluded.detail, run_id = excluded.run_id, severity = excluded.severity,
            action = excluded.action, advice = excluded.advice
        where (f.detail, f.severity, f.action, f.advice) is distinct from (excluded.detail, excluded.severity, excluded.action, excluded.advice);
end;
$$;

revoke execute on function public.reconcile_apply(text, bigint, jsonb, jsonb) from public, anon, authenticated;
revoke execute on function public.set_external_order_policy(text, text, text, uuid, uuid) from public, anon;
revoke execute on function public.reconcile_books(text, bigint) from public, anon, authenticated;
revoke execute on function public.reconcile_orders(text, bigint, text[], text[], text[], numeric[]) from public, anon, authenticated;
revoke execute on function public.adopt_orders(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.set_external_order_policy(text, text, text, uuid, uuid) to authenticated, service_role;
grant execute on function public.reconcile_books(text, bigint) to service_role;
grant execute on function public.reconcile_orders(text, bigint, text[], text[], text[], numeric[]) to service_role;
grant execute on function public.adopt_orders(text, bigint, jsonb) to service_role;
grant execute on function public.reconcile_apply(text, bigint, jsonb, jsonb) to service_role;
comment on function public.reconcile_apply(text, bigint, jsonb, jsonb) is 'Note a reconciliation and its findings. Engine only.';
comment on function public.set_external_order_policy(text, text, text, uuid, uuid) is
    'Set what becomes of orders in the account that are not ours: lock, ignore or adopt. Admins only, audited.';
comment on function public.reconcile_books(text, bigint) is 'What our books say the broker account holds. Engine only.';
comment on function public.reconcile_orders(text, bigint, text[], text[], text[], numeric[]) is
    'Which of the broker''s orders say something new. Engine only.';
comment on function public.adopt_orders(text, bigint, jsonb) is 'Bring external orders into our books where the policy says so. Engine only.';
