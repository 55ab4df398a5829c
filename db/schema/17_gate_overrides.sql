-- Overrides: an admin lets entries pass one named limit for a while, exceptionally and on record. What keeps
-- money and orders consistent (modes, unknown orders, capital) cannot be overridden, nor can a limit that is not set.

create table public.gate_overrides (
    id               uuid primary key default gen_random_uuid(),
    profile_id       uuid not null references public.profiles (id),
    owner_id         uuid not null,
    symbol           text,                       -- NULL: every symbol of the profile
    code             text not null check (code in ('SYMBOL_LOCKED', 'ORDER_QTY_MAX', 'ORDER_NOTIONAL_MAX', 'PRICE_COLLAR',
                        'OPEN_ORDERS_MAX', 'POSITIONS_MAX', 'POSITION_LIMIT', 'SECTOR_EXPOSURE', 'GROSS_EXPOSURE', 'ORDER_RATE',
                        'DAILY_LOSS', 'DRAWDOWN', 'LOSS_STREAK', 'MARKET_CLOSED')),
    reason           text not null,
    granted_by       uuid not null,
    granted_by_email text not null,
    starts_at        timestamptz not null,
    expires_at       timestamptz not null check (expires_at > starts_at),
    revoked_at       timestamptz,
    revoked_by_email text
);
create index gate_overrides_in_force on public.gate_overrides (profile_id, expires_at) where revoked_at is null;
create index gate_overrides_profile on public.gate_overrides (profile_id);
create index gate_overrides_owner on public.gate_overrides (owner_id);
comment on table public.gate_overrides is 'Temporary permissions of an admin to pass one limit of the gate.';

alter table public.gate_overrides enable row level security;
revoke all on public.gate_overrides from anon, authenticated, service_role;
grant select on public.gate_overrides to authenticated, service_role;
create policy "owners and staff read overrides"
    on public.gate_overrides for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- Let a profile's entries pass one limit for up to a day. Called by: admins.
-- Errors: FORBIDDEN, INVALID, NOT_FOUND, CONFLICT, each audited as refused.
create function public.grant_override(
    p_profile_id uuid, p_code text, p_reason text, p_minutes int, p_symbol text default null, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := left(format('override:%s:%s', coalesce(p_code, ''), coalesce(p_profile_id::text, '')), 120);
    v_owner uuid := (select f.owner_id from public.profiles f where f.id = p_profile_id);
    v_error text;
    v_answer jsonb;
    v public.gate_overrides;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may override a limit.', 'grant_override', v_target);
    elsif v_owner is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no profile with this id.', 'grant_override', v_target);
    end if;
    v_error := case
        when private.reason_error(p_reason) is not null then private.reason_error(p_reason)
        when coalesce(p_minutes, 0) not between 1 and 1440 then 'An override lasts between 1 and 1,440 minutes (a day).'
        when coalesce(p_code, '') not in ('SYMBOL_LOCKED', 'ORDER_QTY_MAX', 'ORDER_NOTIONAL_MAX', 'PRICE_COLLAR', 'OPEN_ORDERS_MAX',
            'POSITIONS_MAX', 'POSITION_LIMIT', 'SECTOR_EXPOSURE', 'GROSS_EXPOSURE', 'ORDER_RATE', 'DAILY_LOSS', 'DRAWDOWN',
            'LOSS_STREAK', 'MARKET_CLOSED') then format('%L cannot be overridden.', left(coalesce(p_code, ''), 40))
        when p_symbol is not null and not exists (select 1 from public.profiles f
                where f.id = p_profile_id and upper(private.trimmed(p_symbol)) = any (f.symbols))
            then format('%L is not one of the profile''s symbols.', left(p_symbol, 40)) end;
    if v_error is not null then
        return private.refuse(422, 'INVALID', v_error, 'grant_override', v_target);
    end if;
    v_answer := private.answered(p_request_id, 'grant_override', v_target, jsonb_build_array(p_minutes, p_symbol));
    if v_answer is not null then
        return v_answer;
    end if;
    insert into public.gate_overrides (profile_id, owner_id, symbol, code, reason, granted_by, granted_by_email, starts_at, expires_at)
    values (p_profile_id, v_owner, upper(private.trimmed(p_symbol)), p_code, private.trimmed(p_reason), auth.uid(), private.actor_email(),
            clock_timestamp(), clock_timestamp() + make_interval(mins => p_minutes))
    returning * into v;
    perform private.audit('grant_override', v_target, 'done', v.reason, to_jsonb(v), v_owner);
    return private.answer(p_request_id, 'grant_override', v_target, jsonb_build_object('success', true, 'override', to_jsonb(v)),
                          jsonb_build_array(p_minutes, p_symbol));
end;
$$;

-- Withdraw an override before its time. Called by: admins.
create function public.revoke_override(p_override_id uuid, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'override:' || coalesce(p_override_id::text, '');
    v_answer jsonb;
    v public.gate_overrides;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may withdraw an override.', 'revoke_override', v_target);
    elsif private.reason_error(p_reason) is not null then
        return private.refuse(422, 'INVALID', private.reason_error(p_reason), 'revoke_override', v_target);
    end if;
    v_answer := private.answered(p_request_id, 'revoke_override', v_target);
    if v_answer is not null then
        return v_answer;
    end if;
    update public.gate_overrides n set revoked_at = clock_timestamp(), revoked_by_email = private.actor_email()
     where n.id = p_override_id and n.revoked_at is null and n.expires_at > clock_timestamp() returning n.* into v;
    if v.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no override in force with this id.', 'revoke_override', v_target);
    end if;
    perform private.audit('revoke_override', v_target, 'done', private.trimmed(p_reason), to_jsonb(v), v.owner_id);
    return private.answer(p_request_id, 'revoke_override', v_target, jsonb_build_object('success', true, 'override', to_jsonb(v)));
end;
$$;

-- Switch a profile on or off. On again after it was switched off for repeated executions or after a loss, it
-- starts afresh: its drawdown counts from the equity of now. Called by: admins.
create function public.set_profile_active(p_profile_id uuid, p_active boolean, p_reason text, p_request_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_target text := 'profile:' || coalesce(p_profile_id::text, '');
    v_answer jsonb;
    f public.profiles;
    v_changed boolean;
begin
    if private.caller_role() is distinct from 'admin' then
        return private.refuse(403, 'FORBIDDEN', 'Only an admin may switch a profile on or off.', 'set_profile_active', v_target);
    elsif private.reason_error(p_reason) is not null or p_active is null then
        return private.refuse(422, 'INVALID', coalesce(private.reason_error(p_reason), 'Say whether the profile is active: true or false.'),
                              'set_profile_active', v_target);
    end if;
    perform private.lock_controls(p_exclusive => true);
    v_answer := private.answered(p_request_id, 'set_profile_active', v_target, jsonb_build_array(p_active));
    if v_answer is not null then
        return v_answer;
    end if;
    select p.* into f from public.profiles p where p.id = p_profile_id for no key update;
    if f.id is null then
        return private.refuse(404, 'NOT_FOUND', 'There is no profile with this id.', 'set_profile_active', v_target);
    end if;
    v_changed := f.active <> p_active;
    if v_changed then
        update public.profiles p
           set active = p_active, disabled_reason = case when not p_active then private.trimmed(p_reason) end, updated_at = clock_timestamp()
         where p.id = f.id returning p.* into f;
        update public.profile_capital c set peak_equity_usd = private.equity_of(c) where c.profile_id = f.id and p_active;
        perform private.audit('set_profile_active', v_target, 'done', private.trimmed(p_reason),
                              jsonb_build_object('active', p_active, 'name', f.name), f.owner_id);
    end if;
    return private.answer(p_request_id, 'set_profile_active', v_target,
                          jsonb_build_object('success', true, 'changed', v_changed, 'profile', to_jsonb(f)), jsonb_build_array(p_active));
end;
$$;

revoke execute on function public.grant_override(uuid, text, text, int, text, uuid) from public, anon;
revoke execute on function public.revoke_override(uuid, text, uuid) from public, anon;
revoke execute on function public.set_profile_active(uuid, boolean, text, uuid) from public, anon;
grant execute on function public.grant_override(uuid, text, text, int, text, uuid) to authenticated, service_role;
grant execute on function public.revoke_override(uuid, text, uuid) to authenticated, service_role;
grant execute on function public.set_profile_active(uuid, boolean, text, uuid) to authenticated, service_role;
comment on function public.grant_override(uuid, text, text, int, text, uuid) is
    'Let a profile''s entries pass one limit for up to a day. Admins only, audited.';
comment on function public.revoke_override(uuid, text, uuid) is 'Withdraw an override. Admins only, audited.';
comment on function public.set_profile_active(uuid, boolean, text, uuid) is
    'Switch a profile on or off; on again it starts its drawdown afresh. Admins only, audited.';
