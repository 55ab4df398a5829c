-- Retention: how long what grows without end is kept. Nothing goes unless the risk configuration's section
-- `retention` says so; orders, fills, trades and the audit log are kept for good.

-- Remove rows that are older than the configuration keeps them, at most p_limit of each kind; answers how many
-- went of each. Called by: the engine, until nothing is left to remove. Errors: LEASE_LOST.
create function public.prune_history(p_shard text, p_token bigint, p_limit int default 10000)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_config jsonb;
    v_limit int := least(greatest(coalesce(p_limit, 10000), 1), 100000);
    v_decisions int;
    v_events int;
    v_bars int;
begin
    perform private.check_lease(p_shard, p_token);
    v_config := (private.active_risk_config()).config;

    perform set_config('interlock.pruning', 'decisions', true);
    delete from public.decisions d where d.id in (
        select n.id from public.decisions n
        where n.created_at < clock_timestamp() - make_interval(days => (v_config #>> '{retention,decisions_days}')::int)
        order by n.id limit v_limit);
    get diagnostics v_decisions = row_count;

    perform set_config('interlock.pruning', 'order_events', true);
    delete from public.order_events e where e.id in (
        select n.id from public.order_events n
        where n.at < clock_timestamp() - make_interval(days => (v_config #>> '{retention,order_events_days}')::int)
        order by n.id limit v_limit);
    get diagnostics v_events = row_count;
    perform set_config('interlock.pruning', '', true);

    delete from public.price_bars b where (b.symbol, b.timeframe, b.bar_at) in (
        select n.symbol, n.timeframe, n.bar_at from public.price_bars n
        where n.timeframe <> '1Day'
          and n.bar_at < clock_timestamp() - make_interval(days => (v_config #>> '{retention,bars_days}')::int)
        limit v_limit);
    get diagnostics v_bars = row_count;
    return jsonb_build_object('decisions', v_decisions, 'order_events', v_events, 'bars', v_bars,
        'alerts', private.prune_alerts(clock_timestamp() - make_interval(days => (v_config #>> '{retention,alerts_days}')::int), v_limit));
end;
$$;
revoke execute on function public.prune_history(text, bigint, int) from public, anon, authenticated;
grant execute on function public.prune_history(text, bigint, int) to service_role;
comment on function public.prune_history(text, bigint, int) is
    'Remove decisions, order events, intraday bars and past alerts that are older than the configuration keeps them. Engine only.';
