-- Fills, trades, positions: what the broker did with the orders. Fills are facts; trades and
-- positions are sums over them and can be recomputed from fills alone.

create table public.fills (
    id             bigint generated always as identity primary key,
    order_id       uuid not null references public.orders (id),
    trade_id       uuid not null,
    owner_id       uuid not null,
    profile_id     uuid not null references public.profiles (id),
    symbol         text not null,
    side           public.order_side not null,
    purpose        public.order_purpose not null,
    qty            numeric(24, 9) not null check (qty > 0),
    -- Implied by the broker's running averages; kept fine enough that notionals come out exact.
    price          numeric(38, 18) not null check (price > 0),
    notional_usd   numeric(28, 9) generated always as (round(qty * price, 9)) stored,
    -- The order's filled quantity after this fill: the same fill, told twice, lands on the same key.
    cumulative_qty numeric(24, 9) not null,
    executed_at    timestamptz not null,         -- market time
    recorded_at    timestamptz not null default now(),
    unique (order_id, cumulative_qty)
);
create index fills_trade on public.fills (trade_id);
create index fills_owner on public.fills (owner_id, executed_at desc);
create index fills_profile on public.fills (profile_id, executed_at desc);
create index fills_recorded on public.fills using brin (recorded_at);
comment on table public.fills is 'What the broker executed; append-only.';
create trigger fills_is_append_only
    before update or delete on public.fills
    for each statement execute function private.refuse_change();

create table public.trades (
    id                 uuid primary key,         -- the entry order's id
    owner_id           uuid not null references public.members (user_id),
    profile_id         uuid not null references public.profiles (id),
    symbol             text not null,
    position_side      public.position_side not null,
    qty_entered        numeric(24, 9) not null default 0,
    entry_notional_usd numeric(28, 9) not null default 0,
    qty_exited         numeric(24, 9) not null default 0,
    exit_notional_usd  numeric(28, 9) not null default 0,
    realized_pnl_usd   numeric(28, 9) not null default 0,
    exit_reason        text,
    opened_at          timestamptz not null,     -- market time
    closed_at          timestamptz,              -- market time; NULL: open
    recorded_at        timestamptz not null default now()
);
create index trades_owner on public.trades (owner_id, closed_at desc);
create index trades_profile on public.trades (profile_id, closed_at desc, id);
create index trades_profile_symbol on public.trades (profile_id, symbol);
create index trades_closed on public.trades (closed_at desc);
comment on table public.trades is 'A round trip: what one entry order bought or sold, and how it was closed.';

create table public.positions (
    trade_id           uuid primary key references public.trades (id),
    owner_id           uuid not null references public.members (user_id),
    profile_id         uuid not null references public.profiles (id),
    symbol             text not null,
    side               public.position_side not null,
    qty                numeric(24, 9) not null check (qty > 0),
    avg_entry_price    numeric(24, 9) not null,
    cost_usd           numeric(28, 9) not null,
    mark_price         numeric(18, 6),
    unrealized_pnl_usd numeric(28, 9),
    stop_price         numeric(18, 6),
    take_profit_price  numeric(18, 6),
    protected_qty      numeric(24, 9) not null default 0,
    opened_at          timestamptz not null,     -- market time
    marked_at          timestamptz,              -- market time
    updated_at         timestamptz not null default now()
);
create index positions_owner on public.positions (owner_id);
create index positions_profile on public.positions (profile_id, symbol);
comment on table public.positions is 'Open quantity per trade, with its protection and last mark.';

-- Splits of shares: the second kind of fact, beside fills, that a position is the sum of.
create table public.splits (
    id             bigint generated always as identity primary key,
    broker_account text not null,
    symbol         text not null,
    ratio          numeric(18, 9) not null check (ratio > 0 and ratio <> 1),  -- new shares for an old one
    effective_at   timestamptz not null,         -- market time: fills before it were in old shares
    source         text not null default '',
    recorded_at    timestamptz not null default now(),
    unique (broker_account, symbol, effective_at)
);
comment on table public.splits is 'Splits of shares that were held, as applied to our books; append-only.';
create trigger splits_is_append_only
    before update or delete on public.splits
    for each statement execute function private.refuse_change();

create view public.trade_history with (security_invoker = true) as
select t.*, p.name as profile_name, p.strategy,
       t.entry_notional_usd / nullif(t.qty_entered, 0) as entry_price,
       t.exit_notional_usd / nullif(t.qty_exited, 0) as exit_price,
       t.realized_pnl_usd / nullif(t.entry_notional_usd, 0) as return_pct,
       t.closed_at - t.opened_at as holding
from public.trades t join public.profiles p on p.id = t.profile_id
where t.closed_at is not null;
comment on view public.trade_history is 'Closed trades; return_pct is a fraction of the entry notional.';

alter table public.fills enable row level security;
alter table public.trades enable row level security;
alter table public.positions enable row level security;
alter table public.splits enable row level security;
revoke all on public.fills, public.trades, public.positions, public.trade_history from anon, authenticated, service_role;
grant select on public.fills, public.trades, public.positions, public.trade_history to authenticated, service_role;
revoke all on public.splits from anon, authenticated, service_role;
grant select on public.splits to authenticated, service_role;
create policy "members read the splits"
    on public.splits for select to authenticated using ((select private.caller_role()) is not null);
create policy "owners and staff read fills"
    on public.fills for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));
create policy "owners and staff read trades"
    on public.trades for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));
create policy "owners and staff read positions"
    on public.positions for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));

-- What an order is filled with by now, as the broker tells it.
create type private.told_fill as (
    order_id   uuid,
    filled_qty numeric,
    avg_price  numeric,
    at         timestamptz                       -- market time
);

-- Book what orders were filled with beyond what is known, at the prices that the averages imply.
-- The caller holds the profiles' capital rows, and the orders are as they were before they are updated.
create function private.book_fills(p_told private.told_fill[])
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_trades uuid[];
begin
    with told as materialized (
        select o.*, t.filled_qty as told_qty, t.avg_price as told_price, t.at, t.place
        from unnest(p_told) with ordinality t (order_id, filled_qty, avg_price, at, place) join public.orders o on o.id = t.order_id
    ), noted as (
        insert into public.fills (order_id, trade_id, owner_id, profile_id, symbol, side, purpose, qty, price, cumulative_qty, executed_at)
        select t.id, t.trade_id, t.owner_id, t.profile_id, t.symbol, t.side, t.purpose, t.told_qty - t.filled_qty,
               case when f.price > 0 then f.price else t.told_price end,  -- else the broker has corrected what was filled before
               t.told_qty, t.at
        from told t
        cross join lateral (select round((t.told_qty * t.told_price - t.filled_qty * coalesce(t.filled_avg_price, 0))
                                         / nullif(t.told_qty - t.filled_qty, 0), 18) as price) f
        order by t.place
    ), opened as (
        insert into public.trades (id, owner_id, profile_id, symbol, position_side, opened_at)
        select t.trade_id, t.owner_id, t.profile_id, t.symbol, t.position_side, t.at from told t where t.purpose = 'entry'
        on conflict (id) do nothing
    )
    select array_agg(distinct t.trade_id) into v_trades from told t;
    perform private.restate_trades(v_trades);
end;
$$;

-- Bring trades, their positions and their profiles' capital in line with their fills, counted in shares of today. An
-- exit may be told before its entry: it counts once the entry has made the trade.
create function private.restate_trades(p_ids uuid[])
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
begin
    with restated as materialized (
        select s.*, s.qty_entered - s.qty_exited as open_qty,
               greatest(round(s.entry_notional_usd * (s.qty_entered - s.qty_exited) / s.qty_entered, 9), 0) as cost_usd,
               t.realized_pnl_usd as pnl_before_usd, coalesce(p.cost_usd, 0) as cost_before_usd,
               o.stop_loss_price, o.take_profit_price
        from private.sums_of_fills(p_ids) s
        join public.trades t on t.id = s.id
        join public.orders o on o.id = s.id
        left join public.positions p on p.trade_id = s.id
    ), of_capital as (
        update public.profile_capital c
           set used_usd = c.used_usd + d.used_usd, realized_usd = c.realized_usd + d.realized_usd, updated_at = clock_timestamp()
          from (select r.profile_id, sum(r.cost_usd - r.cost_before_usd) as used_usd,
                       sum(r.realized_pnl_usd - r.pnl_before_usd) as realized_usd
                from restated r group by r.profile_id) d
         where c.profile_id = d.profile_id
    ), of_trades as (
        update public.trades n
           set qty_entered = r.qty_entered, entry_notional_usd = r.entry_notional_usd, qty_exited = r.qty_exited,
               exit_notional_usd = r.exit_notional_usd, realized_pnl_usd = r.realized_pnl_usd, exit_reason = r.exit_reason,
               opened_at = r.opened_at, closed_at = r.closed_at
          from restated r
         where n.id = r.id
    ), closed as (
        delete from public.positions p using restated r where p.trade_id = r.id and r.open_qty <= 0
    )
    insert into public.positions as p (trade_id, owner_id, profile_id, symbol, side, qty, avg_entry_price, cost_usd, stop_price,
                                       take_profit_price, opened_at)
    select r.id, r.owner_id, r.profile_id, r.symbol, r.position_side, r.open_qty, r.entry_notional_usd / r.qty_entered, r.cost_usd,
           r.stop_loss_price, r.take_profit_price, r.opened_at
    from restated r where r.open_qty > 0
    on conflict (trade_id) do update
        set qty = excluded.qty, avg_entry_price = excluded.avg_entry_price, cost_usd = excluded.cost_usd,
            opened_at = excluded.opened_at, updated_at = clock_timestamp();
end;
$$;

-- Trades as their fills and the splits since them tell them.
create function private.sums_of_fills(p_ids uuid[])
    returns table (id uuid, owner_id uuid, profile_id uuid, symbol text, position_side public.position_side, qty_entered numeric,
                   entry_notional_usd numeric, qty_exited numeric, exit_notional_usd numeric, realized_pnl_usd numeric,
                   exit_reason text, opened_at timestamptz, closed_at timestamptz)
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    return query
        select t.id, t.owner_id, t.profile_id, t.symbol, t.position_side, f.qty_entered, f.entry_notional_usd, f.qty_exited,
               f.exit_notional_usd,
               round((f.exit_notional_usd - f.entry_notional_usd * f.qty_exited / f.qty_entered)
                     * case t.position_side when 'long' then 1 else -1 end, 9),
               case when f.has_exits then (
                   select coalesce(o.exit_reason, n.purpose::text)
                   from public.fills n join public.orders o on o.id = n.order_id
                   where n.trade_id = t.id and n.purpose <> 'entry' order by n.id desc limit 1) end,
               f.opened_at, case when f.qty_exited >= f.qty_entered then f.last_at end
        from public.trades t
        cross join lateral (
            select round(coalesce(sum(n.qty * n.factor) filter (where n.purpose = 'entry'), 0), 9) as qty_entered,
                   coalesce(sum(n.notional_usd) filter (where n.purpose = 'entry'), 0) as entry_notional_usd,
                   round(coalesce(sum(n.qty * n.factor) filter (where n.purpose <> 'entry'), 0), 9) as qty_exited,
                   coalesce(sum(n.notional_usd) filter (where n.purpose <> 'entry'), 0) as exit_notional_usd,
                   min(n.executed_at) filter (where n.purpose = 'entry') as opened_at, max(n.executed_at) as last_at,
                   coalesce(bool_or(n.purpose <> 'entry'), false) as has_exits
            from (select d.*, case when exists (select from public.splits) then
                                       private.split_factor(a.broker_account, d.symbol, d.executed_at) else 1 end as factor
                  from public.fills d join public.profiles a on a.id = d.profile_id where d.trade_id = t.id) n) f
        where t.id = any (p_ids);
end;
$$;

-- How many new shares one share of a symbol has become since a moment.
create function private.split_factor(p_account text, p_symbol text, p_since timestamptz)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    select round(coalesce(exp(sum(ln(s.ratio))), 1), 9) from public.splits s
    where s.broker_account = p_account and s.symbol = p_symbol and s.effective_at > p_since;
$$;

-- Note a split of shares and restate the open trades that were entered before it, of every shard on the
-- account: fills stay what they were, their sums are counted in new shares. It is noted only if our books then
-- say what the broker holds. Called by: the engine. Errors: LEASE_LOST, INVALID.
create function public.record_split(p_shard text, p_token bigint, p_symbol text, p_ratio numeric, p_effective_at timestamptz,
                                    p_expected_qty numeric, p_source text default '')
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_account text := private.account_of(p_shard);
    v_qty numeric;
begin
    perform private.check_lease(p_shard, p_token);
    if not coalesce(p_ratio > 1e-6 and round(p_ratio, 9) <> 1 and p_ratio < 1e6, false) or p_effective_at is null or p_symbol is null or p_expected_qty is null then
        perform private.fail(422, 'INVALID', 'A split needs a symbol, a ratio above 0 other than 1, the time it took effect and the quantity now held.');
    end if;
    perform private.lock_controls(p_exclusive => false);
    perform 1 from public.profile_capital c
      where c.profile_id in (select f.id from public.profiles f where f.broker_account = v_account) order by c.profile_id for update;
    if exists (select 1 from public.splits s where s.broker_account = v_account and s.symbol = p_symbol and s.effective_at = p_effective_at) then
        return false;
    end if;
    select coalesce(sum(private.qty_after_split(n.trade_id, p_ratio, p_effective_at) * case n.side when 'long' then 1 else -1 end), 0) into v_qty
      from public.positions n join public.profiles f on f.id = n.profile_id
     where f.broker_account = v_account and n.symbol = p_symbol;
    if v_qty <> p_expected_qty then
        return false;
    end if;
    insert into public.splits (broker_account, symbol, ratio, effective_at, source)
    values (v_account, p_symbol, p_ratio, p_effective_at, left(coalesce(p_source, ''), 200));
    perform private.restate_trades(array(
        select n.trade_id from public.positions n join public.profiles f on f.id = n.profile_id
        where f.broker_account = v_account and n.symbol = p_symbol));
    -- Where an order rests at the broker, the broker has divided its price, and the position follows it.
    update public.positions n
       set stop_price = case when private.rests(n.trade_id, 'stop_loss') then n.stop_price else round(n.stop_price / p_ratio, 2) end,
           take_profit_price = case when private.rests(n.trade_id, 'take_profit') then n.take_profit_price
                                    else round(n.take_profit_price / p_ratio, 2) end,
           mark_price = round(n.mark_price / p_ratio, 6)
      from public.profiles f
     where f.id = n.profile_id and f.broker_account = v_account and n.symbol = p_symbol and n.opened_at < p_effective_at;
    perform private.audit('record_split', 'symbol:' || p_symbol, 'done', p_source,
                          jsonb_build_object('ratio', p_ratio, 'effective_at', p_effective_at, 'account', v_account));
    return true;
end;
$$;

create function private.rests(p_trade_id uuid, p_purpose public.order_purpose)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select exists (select 1 from public.orders o
                   where o.trade_id = p_trade_id and o.purpose = p_purpose and o.state in ('working', 'partially_filled'));
$$;

-- A trade's open quantity once its fills before a moment are counted in new shares.
create function private.qty_after_split(p_trade_id uuid, p_ratio numeric, p_at timestamptz)
    returns numeric
    language sql
    stable
    set search_path = ''
as $$
    select t.qty_entered - t.qty_exited + (p_ratio - 1) * coalesce(
        (select sum(case f.purpose when 'entry' then f.qty else -f.qty end
                    * private.split_factor(o.broker_account, f.symbol, f.executed_at))
           from public.fills f where f.trade_id = t.id and f.executed_at < p_at), 0)
    from public.trades t join public.profiles o on o.id = t.profile_id where t.id = p_trade_id;
$$;

revoke execute on function public.record_split(text, bigint, text, numeric, timestamptz, numeric, text) from public, anon, authenticated;
grant execute on function public.record_split(text, bigint, text, numeric, timestamptz, numeric, text) to service_role;
comment on function public.record_split(text, bigint, text, numeric, timestamptz, numeric, text) is
    'Note a split of shares that were held and restate the trades that hold them. Engine only.';

-- How many of the profile's last trades in a row lost money, counted up to p_max among those closed after
-- p_since (market time).
create function private.loss_streak(p_profile_id uuid, p_max int, p_since timestamptz)
    returns int
    language sql
    stable
    set search_path = ''
as $$
    select count(*)::int
    from (select bool_and(t.realized_pnl_usd < 0) over (order by t.closed_at desc, t.id) as losing
          from (select n.id, n.realized_pnl_usd, n.closed_at from public.trades n
                where n.profile_id = p_profile_id and n.closed_at > p_since
                order by n.closed_at desc, n.id limit p_max) t) s
    where s.losing;
$$;
