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
create index audit_log_actor on public.audit_log (actor, id desc);
create index audit_log_at on public.audit_log (at desc);
create index audit_log_actor_at on public.audit_log (actor, at desc, id);
create index audit_log_action_at on public.audit_log (action, at desc, id);
create index audit_log_refused on public.audit_log (at desc, id) where outcome = 'refused';
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
                               p_hint text default null, p_details jsonb default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    perform private.audit(p_action, p_target, 'refused', left(p_message, 500),
                          jsonb_build_object('code', p_code) || coalesce(jsonb_build_object('details', p_details), '{}'));
    perform set_config('response.status', p_status::text, true);
    return jsonb_build_object('code', p_code, 'message', p_message, 'hint', p_hint, 'details', p_details);
end;
$$;

-- Answers already given, so that a request sent twice acts once.
create table private.control_requests (
    request_id uuid primary key,
    action     text not null,
    actor      uuid,
    response   jsonb not null,
    created_at timestamptz not null default now(),
    target     text not null default '',
    arguments_hash text not null default ''      -- of what the request asked for, beside its target
);

-- What was answered to this request before; NULL when it is new. A repeat that is still under way is
-- waited for. An id that was used for something else, or with other arguments, is refused.
create function private.answered(p_request_id uuid, p_action text, p_target text, p_arguments jsonb default '[]')
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_seen private.control_requests;
begin
    if p_request_id is null then
        return null;
    end if;
    perform pg_advisory_xact_lock(7202, hashtext(p_request_id::text));
    select r.* into v_seen from private.control_requests r where r.request_id = p_request_id;
    if not found then
        return null;
    elsif (v_seen.action, v_seen.target, v_seen.actor, v_seen.arguments_hash)
          is distinct from (p_action, p_target, auth.uid(), md5(p_arguments::text)) then
        return private.refuse(409, 'CONFLICT', 'This request id was already used for something else.', p_action, p_target,
                              'Send each new request with a new id.');
    end if;
    return v_seen.response;
end;
$$;

-- Keep an answer for repeats of the request, and give it.
create function private.answer(p_request_id uuid, p_action text, p_target text, p_response jsonb, p_arguments jsonb default '[]')
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    if p_request_id is not null then
        insert into private.control_requests (request_id, action, actor, response, target, arguments_hash)
        values (p_request_id, p_action, auth.uid(), p_response, p_target, md5(p_arguments::text));
    end if;
    return p_response;
end;
$$;

-- Who is acting, as the records name it.
create function private.actor_email()
    returns text
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select coalesce((select m.email from public.members m where m.user_id = auth.uid()), 'engine');
$$;

-- What is wrong with the reason that a person gave; NULL when nothing is.
create function private.reason_error(p_reason text)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select case
        when coalesce(p_reason, '') !~ '\S' then 'A reason is required: say in a few words why.'
        when length(p_reason) > 500
            then format('The reason has %s characters; at most 500 are kept. Shorten it.', length(p_reason)) end;
$$;

create function private.trimmed(p_text text)
    returns text
    language sql
    immutable
    set search_path = ''
as $$
    select regexp_replace(p_text, '^\s+|\s+$', '', 'g');
$$;

-- Append-only: no update, and no delete but by the table's own pruning (25_retention.sql), which the log has none of.
create function private.refuse_change()
    returns trigger
    language plpgsql
    set search_path = ''
as $$
begin
    if tg_op = 'DELETE' and tg_table_name <> 'audit_log' and current_setting('interlock.pruning', true) = tg_table_name then
        return null;
    end if;
    raise exception '% is append-only', tg_table_name using errcode = '42501';
end;
$$;
create trigger audit_log_is_append_only
    before update or delete or truncate on public.audit_log
    for each statement execute function private.refuse_change();

alter table public.audit_log enable row level security;
revoke all on public.audit_log from anon, authenticated, service_role;
grant select on public.audit_log to authenticated, service_role;
create policy "staff read the audit log, a member reads its own acts and what concerns its profiles"
    on public.audit_log for select to authenticated
    using ((select private.is_staff()) or actor = (select private.caller_id()) or tenant = (select private.caller_id()));

-- What is wrong with a row of the log; NULL when it follows on the row before it and is as it was written.
create function private.audit_row_problem(a public.audit_log)
    returns text
    language sql
    stable
    set search_path = ''
as $$
    select case
        when a.prev_hash is distinct from coalesce((select p.hash from public.audit_log p where p.tenant = a.tenant and p.id < a.id
                                                    order by p.id desc limit 1), sha256(''))
            then 'It does not follow on the row before it: a row was removed, added or replaced.'
        when a.hash is distinct from private.audit_hash(a.prev_hash, a)
            then 'Its content was changed after it was written.' end;
$$;

-- The first chain whose end is not where its head says: rows were cut off. NULL when there is none.
create function private.audit_chain_cut_off()
    returns jsonb
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select jsonb_build_object('id', coalesce(l.id, 0), 'tenant', h.tenant, 'at', l.at, 'action', l.action,
                              'why', 'Rows are missing after it: the chain is shorter than its head says.')
    from private.audit_chain_heads h
    left join lateral (select a.* from public.audit_log a where a.tenant = h.tenant order by a.id desc limit 1) l on true
    where h.length > 0 and l.hash is distinct from h.hash
    order by l.id nulls first limit 1;
$$;

-- Recompute the chains row by row, oldest first: at most p_rows rows after p_after_id, and with the last of them where each
-- chain ends. Answers the first broken row with why, or where to go on; next_after_id is NULL when nothing is left to look at.
-- Called by: admins. Errors: FORBIDDEN, INVALID.
create function public.verify_audit_chain(p_after_id bigint default 0, p_rows int default 25000)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_seen record;
    v_broken jsonb;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin can verify the audit log.', 'verify_audit_chain', 'audit_log');
    elsif coalesce(p_after_id, -1) < 0 or coalesce(p_rows, 0) not between 1 and 200000 then
        return private.refuse(422, 'INVALID', 'Name the row to go on after (0 for the first) and between 1 and 200,000 rows to look at.',
                              'verify_audit_chain', 'audit_log');
    end if;
    select count(*) as rows, max(n.id) as last_id,
           (array_agg(jsonb_build_object('id', n.id, 'tenant', n.tenant, 'at', n.at, 'action', n.action, 'why', n.problem) order by n.id)
               filter (where n.problem is not null))[1] as broken
      into v_seen
      from (select a.id, a.tenant, a.at, a.action, private.audit_row_problem(a) as problem
            from public.audit_log a where a.id > p_after_id order by a.id limit p_rows) n;
    v_broken := coalesce(v_seen.broken, case when v_seen.rows < p_rows then private.audit_chain_cut_off() end);
    return jsonb_build_object(
        'ok', v_broken is null, 'first_broken_id', v_broken -> 'id', 'first_broken', v_broken,
        'chains', (select count(*) from private.audit_chain_heads), 'rows', v_seen.rows,
        'next_after_id', case when v_broken is null and v_seen.rows = p_rows then v_seen.last_id end);
end;
$$;
revoke execute on function public.verify_audit_chain(bigint, int) from public, anon;
grant execute on function public.verify_audit_chain(bigint, int) to authenticated;
comment on function public.verify_audit_chain(bigint, int) is
    'Recomputes the audit log''s hash chains, some rows at a call; admins only. Answers ok, the first broken row, and where to go on.';
