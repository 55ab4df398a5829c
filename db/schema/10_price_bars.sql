-- Price bars: what the engine fetched. Pages and notebooks draw from here, since only the engine
-- holds the broker's keys.

create table public.price_bars (
    symbol    text not null,
    timeframe text not null,
    bar_at    timestamptz not null,              -- the bar's start, market time
    open      numeric(18, 6) not null,
    high      numeric(18, 6) not null,
    low       numeric(18, 6) not null,
    close     numeric(18, 6) not null,
    volume    numeric(24, 6) not null,
    primary key (symbol, timeframe, bar_at),
    check (low <= least(open, close) and high >= greatest(open, close))
);
create index price_bars_newest on public.price_bars (symbol, bar_at desc);
comment on table public.price_bars is 'Bars as fetched from the broker, by the start of the bar.';

alter table public.price_bars enable row level security;
revoke all on public.price_bars from anon, authenticated, service_role;
grant select on public.price_bars to authenticated, service_role;
create policy "members read bars"
    on public.price_bars for select to authenticated
    using ((select private.caller_role()) is not null);

-- Keep bars; the same bar again replaces the earlier one. Called by: the engine.
-- Errors: LEASE_LOST.
create function public.record_bars(p_shard text, p_token bigint, p_bars jsonb)
    returns int
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_count int;
begin
    perform private.check_lease(p_shard, p_token);
    if exists (select 1 from jsonb_to_recordset(p_bars) as n (symbol text, timeframe text, bar_at timestamptz, open numeric, high numeric,
                                                              low numeric, close numeric, volume numeric)
               where (num_nulls(n.open, n.high, n.low, n.close, n.volume) = 0 and length(n.symbol) between 1 and 20 and n.timeframe in ('1Min', '5Min', '15Min', '30Min', '1Hour', '1Day')
                      and isfinite(n.bar_at) and n.low > 0 and n.low <= least(n.open, n.close) and n.high >= greatest(n.open, n.close)
                      and n.high < 1e9 and n.volume >= 0 and n.volume < 1e15) is not true) then
        perform private.fail(422, 'INVALID', 'A bar needs symbol, timeframe, bar_at, prices with low <= open, close <= high, and a volume.');
    end if;
    insert into public.price_bars as b (symbol, timeframe, bar_at, open, high, low, close, volume)
    select distinct on (n.symbol, n.timeframe, n.bar_at) n.symbol, n.timeframe, n.bar_at, n.open, n.high, n.low, n.close, n.volume
    from jsonb_to_recordset(p_bars) as n (symbol text, timeframe text, bar_at timestamptz, open numeric, high numeric,
                                          low numeric, close numeric, volume numeric)
    on conflict (symbol, timeframe, bar_at) do update
        set open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume
        where (b.open, b.high, b.low, b.close, b.volume)
              is distinct from (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;
revoke execute on function public.record_bars(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.record_bars(text, bigint, jsonb) to service_role;
comment on function public.record_bars(text, bigint, jsonb) is 'Keep fetched bars. Engine only.';
