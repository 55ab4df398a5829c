-- Equity: what each profile was worth, at market time.

create table public.equity_snapshots (
    profile_id     uuid not null references public.profiles (id),
    market_at      timestamptz not null,
    owner_id       uuid not null,
    session_date   date not null,
    equity_usd     numeric(24, 6) not null,
    cash_usd       numeric(24, 6) not null,
    exposure_usd   numeric(24, 6) not null,
    realized_usd   numeric(24, 6) not null,
    unrealized_usd numeric(24, 6) not null,
    recorded_at    timestamptz not null default now(),
    primary key (profile_id, market_at)
);
create index equity_snapshots_session on public.equity_snapshots (profile_id, session_date, market_at desc);
create index equity_snapshots_recorded on public.equity_snapshots (recorded_at);
create index equity_snapshots_owner on public.equity_snapshots (owner_id, session_date);
comment on table public.equity_snapshots is 'Equity of a profile at a market time: capital plus realized plus unrealized profit.';

-- The last snapshot of each session, kept up with each snapshot so that no page has to group them.
create table public.equity_daily (
    session_date   date not null,
    profile_id     uuid not null references public.profiles (id),
    owner_id       uuid not null,
    market_at      timestamptz not null,
    equity_usd     numeric(24, 6) not null,
    cash_usd       numeric(24, 6) not null,
    exposure_usd   numeric(24, 6) not null,
    realized_usd   numeric(24, 6) not null,
    unrealized_usd numeric(24, 6) not null,
    primary key (session_date, profile_id)
);
create index equity_daily_profile on public.equity_daily (profile_id, session_date);
create index equity_daily_owner on public.equity_daily (owner_id, session_date);
comment on table public.equity_daily is 'The last equity snapshot of each session and profile.';

-- The same, added up over an owner's profiles as each shard's engine notes them: what a page draws.
create table public.equity_daily_totals (
    session_date   date not null,
    owner_id       uuid not null,
    shard          text not null,
    market_at      timestamptz not null,
    equity_usd     numeric(24, 6) not null,
    cash_usd       numeric(24, 6) not null,
    exposure_usd   numeric(24, 6) not null,
    realized_usd   numeric(24, 6) not null,
    unrealized_usd numeric(24, 6) not null,
    profiles       int not null,
    primary key (owner_id, session_date, shard)
);
create index equity_daily_totals_session on public.equity_daily_totals (session_date);
comment on table public.equity_daily_totals is 'The last equity of each session, summed over an owner''s profiles in a shard.';

create view public.equity_curve with (security_invoker = true) as
select d.session_date, max(d.market_at) as market_at, sum(d.equity_usd) as equity_usd, sum(d.cash_usd) as cash_usd,
       sum(d.exposure_usd) as exposure_usd, sum(d.realized_usd) as realized_usd,
       sum(d.unrealized_usd) as unrealized_usd, sum(d.profiles) as profiles
from public.equity_daily_totals d
group by d.session_date;
comment on view public.equity_curve is 'Equity per session, summed over the profiles that the caller may see.';

alter table public.equity_snapshots enable row level security;
alter table public.equity_daily enable row level security;
alter table public.equity_daily_totals enable row level security;
revoke all on public.equity_snapshots, public.equity_daily, public.equity_daily_totals, public.equity_curve
    from anon, authenticated, service_role;
grant select on public.equity_snapshots, public.equity_daily, public.equity_daily_totals, public.equity_curve
    to authenticated, service_role;
create policy "owners and staff read equity"
    on public.equity_snapshots for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));
create policy "owners and staff read daily equity"
    on public.equity_daily for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

create policy "owners and staff read daily totals"
    on public.equity_daily_totals for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- What a profile is worth now: capital plus realized profit plus the marks of its positions, in USD.
create function private.equity_of(c public.profile_capital)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    select c.capital_usd + c.realized_usd + coalesce(
        (select sum(n.unrealized_pnl_usd) from public.positions n where n.profile_id = c.profile_id), 0);
$$;

-- How far a profile's equity lies below its peak: a fraction from 0 to 1.
create function private.drawdown_of(c public.profile_capital)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    select greatest(0, round(1 - private.equity_of(c) / nullif(greatest(coalesce(c.peak_equity_usd, c.capital_usd), 0), 0), 6));
$$;

-- Note the marks of open positions and what protects them. Called by: the engine's position monitor.
create function public.record_marks(p_shard text, p_token bigint, p_marks jsonb)
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
    if exists (select 1 from jsonb_to_recordset(p_marks) as m (trade_id uuid, mark_price numeric, stop_price numeric,
                                                               take_profit_price numeric, protected_qty numeric)
               where (m.mark_price between 0 and 1e9 and coalesce(m.stop_price, 1) between 0 and 1e9
                      and coalesce(m.take_profit_price, 1) between 0 and 1e9 and coalesce(m.protected_qty, 0) between 0 and 1e15) is not true) then
        perform private.fail(422, 'INVALID', 'A mark needs a trade, a price, and numbers where it names stop, target and protected quantity.');
    end if;
    perform 1 from public.profile_capital c
      where c.profile_id in (select n.profile_id from jsonb_to_recordset(p_marks) as m (trade_id uuid)
                             join public.positions n on n.trade_id = m.trade_id)
      order by c.profile_id for update;
    update public.positions n
       set mark_price = m.mark_price,
           unrealized_pnl_usd = (m.mark_price - n.avg_entry_price) * n.qty * case n.side when 'long' then 1 else -1 end,
           stop_price = coalesce(m.stop_price, n.stop_price),
           take_profit_price = coalesce(m.take_profit_price, n.take_profit_price),
           protected_qty = coalesce(m.protected_qty, n.protected_qty), marked_at = m.market_at, updated_at = clock_timestamp()
      from jsonb_to_recordset(p_marks) as m (trade_id uuid, mark_price numeric, stop_price numeric,
                                             take_profit_price numeric, protected_qty numeric, market_at timestamptz)
     where n.trade_id = m.trade_id and m.mark_price > 0
       and n.profile_id in (select f.id from public.profiles f where f.shard = p_shard);
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

-- Note the equity of every profile of the shard from its capital and its positions' marks.
-- Called by: the engine. Errors: LEASE_LOST.
create function public.record_equity(p_shard text, p_token bigint, p_market_at timestamptz, p_session_date date)
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
    if not coalesce(isfinite(p_market_at) and isfinite(p_session_date), false) then
        perform private.fail(422, 'INVALID', 'Equity is noted at a market time and for a session''s date.');
    end if;
    perform 1 from public.profile_capital c
      where c.profile_id in (select f.id from public.profiles f where f.shard = p_shard)
      order by c.profile_id for update;
    with now_worth as (
        select f.id, f.owner_id, c.capital_usd, c.realized_usd,
               coalesce(sum(n.qty * coalesce(n.mark_price, n.avg_entry_price)
                            * case n.side when 'long' then 1 else -1 end), 0) as net_value,
               coalesce(sum(n.qty * coalesce(n.mark_price, n.avg_entry_price)), 0) as exposure,
               coalesce(sum(n.unrealized_pnl_usd), 0) as unrealized
        from public.profiles f
        join public.profile_capital c on c.profile_id = f.id
        left join public.positions n on n.profile_id = f.id
        where f.shard = p_shard
        group by f.id, c.profile_id
    ), noted as (
        insert into public.equity_snapshots as s (profile_id, market_at, owner_id, session_date, equity_usd, cash_usd,
                                                  exposure_usd, realized_usd, unrealized_usd)
        select w.id, p_market_at, w.owner_id, p_session_date, w.capital_usd + w.realized_usd + w.unrealized,
               w.capital_usd + w.realized_usd + w.unrealized - w.net_value, w.exposure, w.realized_usd, w.unrealized
        from now_worth w
        on conflict (profile_id, market_at) do update
            set equity_usd = excluded.equity_usd, cash_usd = excluded.cash_usd, exposure_usd = excluded.exposure_usd,
                realized_usd = excluded.realized_usd, unrealized_usd = excluded.unrealized_usd
        returning s.*
    ), peaks as (
        update public.profile_capital c
           set peak_equity_usd = greatest(coalesce(c.peak_equity_usd, c.capital_usd), n.equity_usd)
          from noted n
         where c.profile_id = n.profile_id
           and greatest(coalesce(c.peak_equity_usd, c.capital_usd), n.equity_usd) is distinct from c.peak_equity_usd
    ), totals as (
        insert into public.equity_daily_totals as t (session_date, owner_id, shard, market_at, equity_usd, cash_usd, exposure_usd,
                                                     realized_usd, unrealized_usd, profiles)
        select n.session_date, n.owner_id, p_shard, n.market_at, sum(n.equity_usd), sum(n.cash_usd), sum(n.exposure_usd),
               sum(n.realized_usd), sum(n.unrealized_usd), count(*)
        from noted n group by n.session_date, n.owner_id, n.market_at
        on conflict (owner_id, session_date, shard) do update
            set market_at = excluded.market_at, equity_usd = excluded.equity_usd, cash_usd = excluded.cash_usd,
                exposure_usd = excluded.exposure_usd, realized_usd = excluded.realized_usd,
                unrealized_usd = excluded.unrealized_usd, profiles = excluded.profiles
            where t.market_at <= excluded.market_at
    )
    insert into public.equity_daily as d (session_date, profile_id, owner_id, market_at, equity_usd, cash_usd,
                                          exposure_usd, realized_usd, unrealized_usd)
    select n.session_date, n.profile_id, n.owner_id, n.market_at, n.equity_usd, n.cash_usd, n.exposure_usd,
           n.realized_usd, n.unrealized_usd from noted n
    on conflict (session_date, profile_id) do update
        set market_at = excluded.market_at, equity_usd = excluded.equity_usd, cash_usd = excluded.cash_usd,
            exposure_usd = excluded.exposure_usd, realized_usd = excluded.realized_usd,
            unrealized_usd = excluded.unrealized_usd
        where d.market_at <= excluded.market_at;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;
revoke execute on function public.record_marks(text, bigint, jsonb) from public, anon, authenticated;
revoke execute on function public.record_equity(text, bigint, timestamptz, date) from public, anon, authenticated;
grant execute on function public.record_marks(text, bigint, jsonb) to service_role;
grant execute on function public.record_equity(text, bigint, timestamptz, date) to service_role;
comment on function public.record_marks(text, bigint, jsonb) is 'Note marks and protection of open positions. Engine only.';
comment on function public.record_equity(text, bigint, timestamptz, date) is 'Note each profile''s equity. Engine only.';
