-- Closed trades by month: what the figures of performance are added up from, kept with each trade that closes, so
-- that no page has to group the trades themselves.

create table public.trade_months (
    profile_id    uuid not null references public.profiles (id),
    month         date not null check (extract(day from month) = 1),  -- in which it closed, on New York's calendar
    symbol        text not null,
    position_side public.position_side not null,
    exit_reason   text not null,
    owner_id      uuid not null,
    trades        int not null,
    wins          int not null,
    losses        int not null,
    gains_usd     numeric(28, 9) not null,
    losses_usd    numeric(28, 9) not null,       -- 0 or more
    pnl_squared   numeric(56, 18) not null,      -- for the spread of results
    volume_usd    numeric(28, 9) not null,       -- bought plus sold
    holding_s     numeric(20, 6) not null,
    -- How many trades returned what: below -10 %, forty steps of 0.5 %, 10 % and more.
    return_bins   int[] not null check (cardinality(return_bins) = 42),
    primary key (profile_id, month, symbol, position_side, exit_reason)
);
create index trade_months_owner on public.trade_months (owner_id, month);
create index trade_months_month on public.trade_months (month);
comment on table public.trade_months is 'Closed trades added up by month, profile, symbol, side and what closed them.';

alter table public.trade_months enable row level security;
revoke all on public.trade_months from anon, authenticated, service_role;
grant select on public.trade_months to authenticated, service_role;
create policy "owners and staff read trades by month"
    on public.trade_months for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- One closed trade as a line of its month; p_sign -1 takes it back.
create function private.trade_line(t public.trades, p_sign int)
    returns public.trade_months
    language sql
    stable
    set search_path = ''
as $$
    select t.profile_id, date_trunc('month', t.closed_at at time zone 'America/New_York')::date, t.symbol, t.position_side,
           coalesce(t.exit_reason, 'unknown'), t.owner_id, p_sign, p_sign * (t.realized_pnl_usd > 0)::int,
           p_sign * (t.realized_pnl_usd < 0)::int, p_sign * greatest(t.realized_pnl_usd, 0), p_sign * greatest(-t.realized_pnl_usd, 0),
           p_sign * t.realized_pnl_usd * t.realized_pnl_usd, p_sign * (t.entry_notional_usd + t.exit_notional_usd),
           p_sign * extract(epoch from t.closed_at - t.opened_at),
           array(select case when n = width_bucket(coalesce(t.realized_pnl_usd / nullif(t.entry_notional_usd, 0), 0), -0.10, 0.10, 40)
                             then p_sign else 0 end from generate_series(0, 41) n);
$$;

-- Add one line to its month. The caller holds the profile's capital row, so no two add to one line at a time.
create function private.add_trade_line(l public.trade_months)
    returns void
    language sql
    volatile
    set search_path = ''
as $$
    insert into public.trade_months as m values (l.*)
    on conflict (profile_id, month, symbol, position_side, exit_reason) do update
        set trades = m.trades + excluded.trades, wins = m.wins + excluded.wins, losses = m.losses + excluded.losses,
            gains_usd = m.gains_usd + excluded.gains_usd, losses_usd = m.losses_usd + excluded.losses_usd,
            pnl_squared = m.pnl_squared + excluded.pnl_squared, volume_usd = m.volume_usd + excluded.volume_usd,
            holding_s = m.holding_s + excluded.holding_s,
            return_bins = array(select a + b from unnest(m.return_bins, excluded.return_bins) with ordinality as u (a, b, n) order by n);
$$;

-- A trade that closes enters its month; one that opens again, or is restated after it closed, leaves it first.
create function private.roll_trade_up()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    if old.closed_at is not null then
        perform private.add_trade_line(private.trade_line(old, -1));
    end if;
    if new.closed_at is not null then
        perform private.add_trade_line(private.trade_line(new, 1));
    end if;
    return null;
end;
$$;
create trigger trades_roll_up_by_month
    after update on public.trades
    for each row
    when (old.closed_at is not null or new.closed_at is not null)
    execute function private.roll_trade_up();

-- Add the months up anew from the trades themselves; answers how many lines there are.
create function private.rebuild_trade_months()
    returns bigint
    language plpgsql
    volatile
    set search_path = ''
as $$
begin
    delete from public.trade_months;
    insert into public.trade_months
    select l.profile_id, l.month, l.symbol, l.position_side, l.exit_reason, l.owner_id, sum(l.trades), sum(l.wins), sum(l.losses),
           sum(l.gains_usd), sum(l.losses_usd), sum(l.pnl_squared), sum(l.volume_usd), sum(l.holding_s),
           array(select count(*) filter (where b.bin = n) from unnest(array_agg(array_position(l.return_bins, 1))) as b (bin), generate_series(1, 42) n
                 group by n order by n)
    from public.trades t cross join lateral private.trade_line(t, 1) l
    where t.closed_at is not null
    group by l.profile_id, l.month, l.symbol, l.position_side, l.exit_reason, l.owner_id;
    return (select count(*) from public.trade_months);
end;
$$;
revoke execute on function private.trade_line(public.trades, int) from public, anon, authenticated;
revoke execute on function private.add_trade_line(public.trade_months) from public, anon, authenticated;
revoke execute on function private.rebuild_trade_months() from public, anon, authenticated;
select private.rebuild_trade_months();

-- The closed trades that the caller sees, added up by several dimensions at once; NULL filters want all.
-- p_from and p_until are first days of months, p_until is not included. `dimension` is all, month, profile,
-- strategy, symbol, side or exit_reason; `bins` are given for all only.
-- Called by: any member. Errors: FORBIDDEN.
create function public.trade_statistics(p_from date default null, p_until date default null, p_profile_ids uuid[] default null,
                                        p_symbols text[] default null, p_sides text[] default null, p_exit_reasons text[] default null)
    returns table (dimension text, key text, trades bigint, wins bigint, losses bigint, gains_usd numeric, losses_usd numeric,
                   pnl_squared numeric, volume_usd numeric, holding_s numeric, bins int[])
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    if private.caller_role() is null and not private.is_engine() then
        perform private.fail(403, 'FORBIDDEN', 'You are signed in, but not a member of this installation.', 'Ask an admin to add you.');
    end if;
    return query
        with wanted as materialized (
            select m.*, p.strategy from public.trade_months m join public.profiles p on p.id = m.profile_id
            where m.trades > 0 and (m.owner_id = (select auth.uid()) or (select private.is_staff()) or (select private.is_engine()))
              and m.month >= coalesce(p_from, '-infinity') and m.month < coalesce(p_until, 'infinity')
              and (p_profile_ids is null or m.profile_id = any (p_profile_ids))
              and (p_symbols is null or m.symbol = any (p_symbols))
              and (p_sides is null or m.position_side::text = any (p_sides))
              and (p_exit_reasons is null or m.exit_reason = any (p_exit_reasons)))
        select case when grouping(w.month) = 0 then 'month' when grouping(w.profile_id) = 0 then 'profile'
                    when grouping(w.strategy) = 0 then 'strategy' when grouping(w.symbol) = 0 then 'symbol'
                    when grouping(w.position_side) = 0 then 'side' when grouping(w.exit_reason) = 0 then 'exit_reason' else 'all' end,
               coalesce(w.month::text, w.profile_id::text, w.strategy, w.symbol, w.position_side::text, w.exit_reason, ''),
               sum(w.trades), sum(w.wins), sum(w.losses), sum(w.gains_usd), sum(w.losses_usd), sum(w.pnl_squared),
               sum(w.volume_usd), sum(w.holding_s),
               case when grouping(w.month, w.profile_id, w.strategy, w.symbol, w.position_side, w.exit_reason) = 63
                    -- Written out: adding element by element in a loop takes five times as long.
                    then (select array[sum(a.return_bins[1]), sum(a.return_bins[2]), sum(a.return_bins[3]), sum(a.return_bins[4]), sum(a.return_bins[5]),
                         sum(a.return_bins[6]), sum(a.return_bins[7]), sum(a.return_bins[8]), sum(a.return_bins[9]), sum(a.return_bins[10]),
                         sum(a.return_bins[11]), sum(a.return_bins[12]), sum(a.return_bins[13]), sum(a.return_bins[14]), sum(a.return_bins[15]),
                         sum(a.return_bins[16]), sum(a.return_bins[17]), sum(a.return_bins[18]), sum(a.return_bins[19]), sum(a.return_bins[20]),
                         sum(a.return_bins[21]), sum(a.return_bins[22]), sum(a.return_bins[23]), sum(a.return_bins[24]), sum(a.return_bins[25]),
                         sum(a.return_bins[26]), sum(a.return_bins[27]), sum(a.return_bins[28]), sum(a.return_bins[29]), sum(a.return_bins[30]),
                         sum(a.return_bins[31]), sum(a.return_bins[32]), sum(a.return_bins[33]), sum(a.return_bins[34]), sum(a.return_bins[35]),
                         sum(a.return_bins[36]), sum(a.return_bins[37]), sum(a.return_bins[38]), sum(a.return_bins[39]), sum(a.return_bins[40]),
                         sum(a.return_bins[41]), sum(a.return_bins[42])]::int[] from wanted a) end
        from wanted w
        group by grouping sets ((), (w.month), (w.profile_id), (w.strategy), (w.symbol), (w.position_side), (w.exit_reason))
        having sum(w.trades) > 0;
end;
$$;
revoke execute on function public.trade_statistics(date, date, uuid[], text[], text[], text[]) from public, anon;
grant execute on function public.trade_statistics(date, date, uuid[], text[], text[], text[]) to authenticated, service_role;
comment on function public.trade_statistics(date, date, uuid[], text[], text[], text[]) is
    'The caller''s closed trades added up by month, profile, strategy, symbol, side and what closed them. Any member.';

-- Where moments of the database's clock lie on the market's: the first snapshot of equity at or after each, and the
-- last one at or before it, of those that the caller sees. Called by: any member. Errors: FORBIDDEN.
create function public.market_times(p_moments timestamptz[])
    returns table (moment timestamptz, first_after timestamptz, last_before timestamptz)
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
declare
    v_all boolean := private.is_staff() or private.is_engine();
begin
    if private.caller_role() is null and not private.is_engine() then
        perform private.fail(403, 'FORBIDDEN', 'You are signed in, but not a member of this installation.', 'Ask an admin to add you.');
    end if;
    return query
        select n.moment,
               (select s.market_at from public.equity_snapshots s where s.recorded_at >= n.moment and (v_all or s.owner_id = auth.uid())
                order by s.recorded_at limit 1),
               (select s.market_at from public.equity_snapshots s where s.recorded_at <= n.moment and (v_all or s.owner_id = auth.uid())
                order by s.recorded_at desc limit 1)
        from (select distinct u.moment from unnest(p_moments[1:200]) as u (moment) where u.moment is not null) n;
end;
$$;
revoke execute on function public.market_times(timestamptz[]) from public, anon;
grant execute on function public.market_times(timestamptz[]) to authenticated, service_role;
comment on function public.market_times(timestamptz[]) is
    'Where moments of the database''s clock lie on the market''s, by the snapshots of equity. Any member.';
