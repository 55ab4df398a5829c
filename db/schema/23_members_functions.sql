-- Changes of members: who may do what, from the next call on.

-- Give a member another role. The last admin stays one. Called by: admins.
-- Errors: FORBIDDEN, INVALID, NOT_FOUND, CONFLICT, each audited as refused.
create function public.set_member_role(p_user_id uuid, p_role text, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'member:' || coalesce(p_user_id::text, '');
    v_answer jsonb;
    m public.members;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may change roles.', 'set_member_role', v_target,
                              'Ask an admin. Your attempt was recorded.');
    elsif coalesce(p_role, '') not in ('admin', 'operator', 'analyst') then
        return private.refuse(422, 'INVALID', 'The role is admin, operator or analyst.', 'set_member_role', v_target);
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'set_member_role', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'set_member_role', v_target, jsonb_build_array(p_role));
    if v_answer is not null then
        return v_answer;
    end if;
    select n.* into m from public.members n where n.user_id = p_user_id;
    if m.user_id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no member with this id.', 'set_member_role', v_target);
    elsif m.role = 'admin' and p_role <> 'admin' and (select count(*) from public.members n where n.role = 'admin') = 1 then
        return private.refuse(409, 'CONFLICT', 'This is the last admin: make someone else an admin first.', 'set_member_role', v_target);
    end if;
    if m.role::text <> p_role then
        update public.members n set role = p_role::public.member_role, updated_at = clock_timestamp() where n.user_id = p_user_id;
        perform private.audit('set_member_role', v_target, 'done', private.trimmed(p_reason),
                              jsonb_build_object('email', m.email, 'from', m.role, 'to', p_role));
    end if;
    return private.answer(p_request_id, 'set_member_role', v_target, jsonb_build_object('success', true, 'changed', m.role::text <> p_role,
        'user_id', m.user_id, 'email', m.email, 'role', p_role), jsonb_build_array(p_role));
end;
$$;
revoke execute on function public.set_member_role(uuid, text, text, uuid) from public, anon;
grant execute on function public.set_member_role(uuid, text, text, uuid) to authenticated, service_role;
comment on function public.set_member_role(uuid, text, text, uuid) is 'Give a member another role, from its next call on. Admins only.';
