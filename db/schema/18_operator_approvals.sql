-- Operator approvals: entries that a person has to decide. Created by the gate only after the risk checks
-- have passed; the gate judges again when an approved entry is released.

create type public.approval_status as enum (
    'pending',
    'approved',   -- released: the order became ready
    'rejected',
    'expired',    -- nobody decided in time
    'denied',     -- approved, but the gate said no at the release
    'canceled'    -- the order ended otherwise meanwhile, such as by a pause
);

create table public.operator_approvals (
    id               uuid primary key default gen_random_uuid(),
    order_id         uuid not null unique references public.orders (id),
    owner_id         uuid not null,
    profile_id       uuid not null references public.profiles (id),
    symbol           text not null,
    side             public.order_side not null,
    qty              numeric(24, 9) not null,
    limit_price      numeric(18, 6) not null,
    reference_price  numeric(18, 6) not null,    -- the quote when it was asked
    notional_usd     numeric(24, 6) not null,
    trading_mode     public.trading_mode not null,
    reasons          text[] not null,            -- why a person has to decide: mode, notional, first_trade, ...
    shown_hash       text not null,              -- of what the person is shown
    status           public.approval_status not null default 'pending',
    config_version   int not null,
    requested_at     timestamptz not null,
    expires_at       timestamptz not null,
    decided_at       timestamptz,
    decided_by       uuid,
    decided_by_email text,
    decision_reason  text,
    release_code     text                        -- the gate's code when it said no at the release
);
create index operator_approvals_pending on public.operator_approvals (expires_at) where status = 'pending';
create index operator_approvals_requested on public.operator_approvals (requested_at desc, id);
create index operator_approvals_owner on public.operator_approvals (owner_id, requested_at desc);
create index operator_approvals_profile on public.operator_approvals (profile_id);
comment on table public.operator_approvals is 'Entries that a person has to decide, and what was decided, by whom and why.';

alter table public.operator_approvals enable row level security;
revoke all on public.operator_approvals from anon, authenticated, service_role;
grant select on public.operator_approvals to authenticated, service_role;
create policy "owners and staff read approvals"
    on public.operator_approvals for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- Binds an approval to what is shown: another order, size, price, direction, mode or account has another hash.
create function private.approval_hash(p_order_id uuid, p_profile_id uuid, p_symbol text, p_side public.order_side, p_qty numeric,
                                      p_limit_price numeric, p_mode public.trading_mode, p_account text)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select encode(sha256(convert_to(jsonb_build_array(p_order_id, p_profile_id, p_symbol, p_side, trim_scale(p_qty),
                                                      trim_scale(p_limit_price), p_mode, p_account)::text, 'UTF8')), 'hex');
$$;

-- An approval ends with its order's wait, however that ends.
create function private.close_approval()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    update public.operator_approvals a
       set status = case new.state when 'ready' then 'approved' when 'approval_rejected' then 'rejected'
                                   when 'approval_expired' then 'expired' when 'denied' then 'denied'
                                   else 'canceled' end::public.approval_status,
           decided_at = coalesce(a.decided_at, clock_timestamp()), release_code = case new.state when 'denied' then new.code end
     where a.order_id = new.id and a.status = 'pending';
    return null;
end;
$$;
create trigger orders_close_their_approval
    after update of state on public.orders
    for each row
    when (old.state = 'awaiting_approval' and new.state <> 'awaiting_approval')
    execute function private.close_approval();

-- End what waited too long, by the database's clock: approvals past their expiry, and entries that have been ready
-- since before p_ready_since, because decisions have a time to live. All capital is locked at once, in the order
-- that all callers keep. Answers how many approvals ended. The caller holds the controls' shared lock.
create function private.expire_waiting(p_shard text, p_ready_since timestamptz default '-infinity')
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_asked uuid[] := array(select a.order_id from public.operator_approvals a join public.orders o on o.id = a.order_id
                            where a.status = 'pending' and a.expires_at <= clock_timestamp() and o.shard = p_shard);
    v_ready uuid[] := array(select o.id from public.orders o
                            where o.shard = p_shard and o.purpose = 'entry' and o.state = 'ready'
                              and coalesce(o.ready_at, o.created_at) < p_ready_since);
    v_count int;
begin
    if cardinality(v_asked || v_ready) = 0 then
        return 0;
    end if;
    perform 1 from public.profile_capital c
      where c.profile_id in (select o.profile_id from public.orders o where o.id = any (v_asked || v_ready)) order by c.profile_id for update;
    update public.orders o set state = 'expired', reason = 'Not sent in time: the decision is too old.'
     where o.id = any (v_ready) and o.state = 'ready';
    update public.orders o set state = 'approval_expired', reason = 'Not decided in time.'
     where o.id = any (v_asked) and o.state = 'awaiting_approval';
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

-- End the approvals of a shard that nobody decided in time; answers how many. Called by: the engine.
-- Errors: LEASE_LOST.
create function public.expire_stale_approvals(p_shard text, p_token bigint)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.check_lease(p_shard, p_token);
    perform private.lock_controls(p_exclusive => false);
    return private.expire_waiting(p_shard);
end;
$$;

-- Decide one approval. The caller has checked the role and holds the controls' shared lock and the locks
-- of the order's owner and capital.
create function private.decide_one(p_approval_id uuid, p_decision text, p_reason text, p_shown_hash text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'approval:' || coalesce(p_approval_id::text, '');
    a public.operator_approvals;
    o public.orders;
    v_checks json := '[]';
    v_hash text;
    v_state public.order_state := 'approval_rejected';
    v_now timestamptz;
begin
    select n.* into o from public.orders n
     where n.id = (select m.order_id from public.operator_approvals m where m.id = p_approval_id) for update;
    select n.* into a from public.operator_approvals n where n.id = p_approval_id for update;
    v_hash := (select private.approval_hash(o.id, o.profile_id, o.symbol, o.side, o.qty, o.limit_price, f.trading_mode, f.broker_account)
               from public.profiles f where f.id = o.profile_id);
    if a.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no approval with this id.', 'decide_approval', v_target);
    elsif a.status <> 'pending' then
        return private.refuse(409, 'CONFLICT', format('This approval is already %s%s.', a.status, coalesce(' by ' || a.decided_by_email, '')),
                              'decide_approval', v_target, 'Nothing was changed. Look at the list again.');
    elsif a.expires_at <= clock_timestamp() then  -- judged after the locks are held
        update public.orders n set state = 'approval_expired', reason = 'Not decided in time.' where n.id = o.id;
        return private.refuse(409, 'APPROVAL_EXPIRED', 'This approval has run out; the entry will not be sent.', 'decide_approval', v_target);
    elsif p_decision = 'approve' and a.owner_id = auth.uid()
          and coalesce(((private.active_risk_config()).config #>> '{operator_approval,four_eyes}')::boolean, false) then
        return private.refuse(403, 'FOUR_EYES', 'Someone other than the profile''s owner has to approve this entry.', 'decide_approval', v_target);
    elsif p_decision = 'approve' and (a.shown_hash <> v_hash or p_shown_hash <> v_hash) then
        return private.refuse(409, 'CONFLICT', 'The entry is not what was shown: its size, price, mode or account changed.',
                              'decide_approval', v_target, 'Look at the approval again and decide afresh, or reject it.');
    end if;

    if p_decision = 'approve' then
        v_checks := private.gate_again(o);
        v_state := case when private.gate_code(v_checks) is null then 'ready' else 'denied' end;
    end if;
    v_now := clock_timestamp();
    if a.expires_at <= v_now then  -- the gate took its time
        update public.orders n set state = 'approval_expired', reason = 'Not decided in time.' where n.id = o.id;
        return private.refuse(409, 'APPROVAL_EXPIRED', 'This approval has run out; the entry will not be sent.', 'decide_approval', v_target);
    end if;
    update public.operator_approvals n
       set decided_at = v_now, decided_by = auth.uid(), decided_by_email = private.actor_email(), decision_reason = private.trimmed(p_reason)
     where n.id = a.id;
    update public.orders n
       set state = v_state, code = private.gate_code(v_checks), ready_at = case v_state when 'ready' then v_now end,
           reason = case p_decision when 'reject' then format('Rejected: %s', private.trimmed(p_reason)) else private.gate_reason(v_checks) end
     where n.id = o.id;
    select n.* into o from public.orders n where n.id = o.id;
    select n.* into a from public.operator_approvals n where n.id = a.id;
    perform private.audit('decide_approval', v_target, 'done', a.decision_reason, jsonb_build_object(
        'decision', p_decision, 'order_id', o.id, 'symbol', o.symbol, 'side', o.side, 'qty', o.qty, 'limit_price', o.limit_price,
        'shown_hash', a.shown_hash, 'order_state', o.state, 'code', o.code), o.owner_id);
    return jsonb_build_object('success', true, 'id', a.id, 'order_id', o.id, 'status', a.status, 'order_state', o.state,
                              'code', o.code, 'reason', o.reason, 'decided_by_email', a.decided_by_email, 'decided_at', a.decided_at);
end;
$$;

-- What is wrong with a request to decide; NULL when nothing is.
create function private.decision_error(p_decision text, p_reason text)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select case
        when coalesce(p_decision, '') not in ('approve', 'reject') then 'The decision is approve or reject.'
        when p_decision = 'reject' and private.reason_error(p_reason) is not null then private.reason_error(p_reason)
        when length(p_reason) > 500 then private.reason_error(p_reason) end;
$$;

-- Lock everything that deciding some approvals touches, in the order that all callers keep.
create function private.lock_for_decision(p_ids uuid[])
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.lock_gate(array(select a.profile_id from public.operator_approvals a where a.id = any (p_ids)));
    perform private.apply_due();
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select a.profile_id from public.operator_approvals a where a.id = any (p_ids))
      order by c.profile_id for update;
end;
$$;

-- Approve or reject one entry, once. The gate judges again before an approved entry is released.
-- Called by: operators and admins. Errors: FORBIDDEN, FOUR_EYES, INVALID, NOT_FOUND, CONFLICT, APPROVAL_EXPIRED.
create function public.decide_approval(p_approval_id uuid, p_decision text, p_reason text default null,
                                       p_shown_hash text default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'approval:' || coalesce(p_approval_id::text, '');
    v_answer jsonb;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins decide approvals.', 'decide_approval', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif private.decision_error(p_decision, p_reason) is not null then
        return private.refuse(422, 'INVALID', private.decision_error(p_decision, p_reason), 'decide_approval', v_target);
    end if;
    perform private.lock_for_decision(array[p_approval_id]);
    v_answer := private.answered(p_request_id, 'decide_approval', v_target, jsonb_build_array(p_decision));
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.decide_one(p_approval_id, p_decision, p_reason, p_shown_hash);
    return case when v_answer ? 'success' then private.answer(p_request_id, 'decide_approval', v_target, v_answer, jsonb_build_array(p_decision))
                else v_answer end;
end;
$$;

-- Decide several at once; each stands or falls by itself, and the answers come in the order of the ids.
-- Called by: operators and admins.
create function public.decide_approvals(p_approval_ids uuid[], p_decision text, p_reason text default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := format('approvals:%s', coalesce(cardinality(p_approval_ids), 0));
    v_error text := private.decision_error(p_decision, p_reason);
    v_answer jsonb;
    v_answers jsonb := '[]';
    v_id uuid;
begin
    if not private.is_staff() then
        return private.refuse(403, 'FORBIDDEN', 'Only operators and admins decide approvals.', 'decide_approvals', v_target,
                              'Ask an operator. Your attempt was recorded.');
    elsif v_error is null and coalesce(cardinality(p_approval_ids), 0) not between 1 and 500 then
        v_error := 'Choose between 1 and 500 approvals.';
    end if;
    if v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'decide_approvals', v_target);
    end if;
    perform private.lock_for_decision(p_approval_ids);
    v_answer := private.answered(p_request_id, 'decide_approvals', v_target, jsonb_build_array(p_decision, p_approval_ids));
    if v_answer is not null then
        return v_answer;
    end if;
    foreach v_id in array p_approval_ids loop
        v_answers := v_answers || jsonb_build_array(jsonb_build_object('id', v_id, 'success', false)
                                                    || private.decide_one(v_id, p_decision, p_reason, null));
    end loop;
    perform set_config('response.status', '200', true);  -- refusals are told in the answers
    return private.answer(p_request_id, 'decide_approvals', v_target, jsonb_build_object('success', true, 'decisions', v_answers),
                          jsonb_build_array(p_decision, p_approval_ids));
end;
$$;

revoke execute on function public.expire_stale_approvals(text, bigint) from public, anon, authenticated;
revoke execute on function public.decide_approval(uuid, text, text, text, uuid) from public, anon;
revoke execute on function public.decide_approvals(uuid[], text, text, uuid) from public, anon;
grant execute on function public.expire_stale_approvals(text, bigint) to service_role;
grant execute on function public.decide_approval(uuid, text, text, text, uuid) to authenticated, service_role;
grant execute on function public.decide_approvals(uuid[], text, text, uuid) to authenticated, service_role;
comment on function public.expire_stale_approvals(text, bigint) is 'End approvals that nobody decided in time. Engine only.';
comment on function public.decide_approval(uuid, text, text, text, uuid) is
    'Approve or reject an entry, once; the gate judges again at the release. Operators and admins.';
comment on function public.decide_approvals(uuid[], text, text, uuid) is 'Decide several approvals at once. Operators and admins.';
