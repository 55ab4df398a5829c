-- Why, or why not: the gate's own answer for a symbol right now, without asking for an entry.

-- Judge an entry of one share at the last known price for each of the caller's profiles that trade the symbol.
-- What only a real request can know (its signal, its quote's age) counts as fresh.
-- Called by: any member. Errors: FORBIDDEN, INVALID, NOT_FOUND.
create function public.why(p_symbol text, p_profile_id uuid default null, p_side text default 'buy', p_qty numeric default 1,
                           p_price numeric default null)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_symbol text := upper(private.trimmed(coalesce(p_symbol, '')));
    v_price numeric := coalesce(p_price,
        (select n.mark_price from public.positions n where n.symbol = v_symbol and n.mark_price > 0 order by n.marked_at desc limit 1),
        (select b.close from public.price_bars b where b.symbol = v_symbol order by b.bar_at desc limit 1));
    v_risk public.risk_configs := private.active_risk_config();
    v_asked private.entry_request[];
begin
    if private.caller_role() is null and not private.is_engine() then
        perform private.fail(403, 'FORBIDDEN', 'You are signed in, but not a member of this installation.', 'Ask an admin to add you.');
    elsif coalesce(p_side, '') not in ('buy', 'sell') then
        perform private.fail(422, 'INVALID', 'The side is buy or sell.');
    elsif (p_qty > 0 and p_qty < 1e9 and coalesce(p_price, 1) > 0 and coalesce(p_price, 1) < 1e6) is not true then
        perform private.fail(422, 'INVALID', 'Quantity and price are numbers above 0.');
    end if;
    v_asked := array(
        select row(row_number() over (order by f.name, f.id), gen_random_uuid(), f.id, v_symbol, p_side, p_qty, v_price, v_price, null, null,
                   null, coalesce(h.market_at, clock_timestamp()), coalesce(h.market_at, clock_timestamp()), (h.detail ->> 'market_open')::boolean, null)::private.entry_request
        from public.profiles f left join public.engine_heartbeats h on h.shard = f.shard
        where v_symbol = any (f.symbols) and coalesce(p_profile_id, f.id) = f.id
          and (f.owner_id = auth.uid() or private.is_staff() or private.is_engine()));
    if cardinality(v_asked) = 0 then
        perform private.fail(404, 'NOT_FOUND', format('No profile that you can see trades %L.', left(v_symbol, 40)));
    elsif v_price is null then
        perform private.fail(404, 'NOT_FOUND', format('No price of %s is known yet.', v_symbol), 'Give a price, or wait for the engine''s first bars.');
    end if;
    return (select jsonb_agg(jsonb_build_object(
                'profile_id', f.id, 'profile', f.name, 'symbol', v_symbol, 'side', p_side, 'qty', p_qty, 'price', v_price,
                'code', private.gate_code(c.checks), 'reason', private.gate_reason(c.checks), 'checks', c.checks,
                'approval', case when private.gate_code(c.checks) is null then to_jsonb(private.approval_reasons(v_risk.config, s.snapshot)) end,
                'lock_reason', (s.snapshot).lock_reason, 'config_version', v_risk.version, 'judged_at', clock_timestamp())
                order by s.place)
            from private.gate_snapshots(v_asked, v_risk.config, clock_timestamp()) s
            join public.profiles f on f.id = s.profile_id
            cross join lateral (select private.gate_checks(s.snapshot) as checks) c);
end;
$$;
revoke execute on function public.why(text, uuid, text, numeric, numeric) from public, anon;
grant execute on function public.why(text, uuid, text, numeric, numeric) to authenticated, service_role;
comment on function public.why(text, uuid, text, numeric, numeric) is
    'The gate''s answer for a symbol right now, for each profile that the caller sees. Any member.';

-- What the gate would say now of an entry that waits for a person: judged as at its release, and nothing noted.
-- Called by: operators and admins. Errors: FORBIDDEN, NOT_FOUND.
create function public.approval_checks(p_approval_id uuid)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    o public.orders;
    v_risk public.risk_configs := private.active_risk_config();
    v_checks json;
begin
    if not private.is_staff() then
        perform private.fail(403, 'FORBIDDEN', 'Only operators and admins see what approvals are judged by.');
    end if;
    select n.* into o from public.operator_approvals a join public.orders n on n.id = a.order_id
    where a.id = p_approval_id and a.status = 'pending';
    if o.id is null then
        perform private.fail(404, 'NOT_FOUND', 'No approval with this id waits for a decision.', 'Look at the list again.');
    end if;
    v_checks := private.gate_checks(private.snapshot_again(o, v_risk.config));
    return jsonb_build_object('code', private.gate_code(v_checks), 'reason', private.gate_reason(v_checks), 'checks', v_checks,
                              'config_version', v_risk.version, 'judged_at', clock_timestamp());
end;
$$;
revoke execute on function public.approval_checks(uuid) from public, anon;
grant execute on function public.approval_checks(uuid) to authenticated, service_role;
comment on function public.approval_checks(uuid) is
    'What the gate would say now of an entry that waits for a person. Operators and admins; notes nothing.';
