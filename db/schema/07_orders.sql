-- Orders: one row per intent, from the gate's answer to its end. The row's id is the client order
-- id at the broker, so one intent is at most one broker order. Legs that the broker makes itself
-- carry the broker's id.

-- What holds for the figures of every order. One function, because each statement that writes reads the text of
-- every condition anew, and that cost a twentieth of the gate.
create function private.is_sound_order(p_type text, p_class text, p_qty numeric, p_reserved_usd numeric, p_limit_price numeric,
                                       p_stop_price numeric, p_take_profit_price numeric, p_stop_loss_price numeric)
    returns boolean
    language plpgsql
    immutable
    set search_path = ''
as $$
begin
    return p_type in ('market', 'limit', 'stop', 'stop_limit', 'trailing_stop') and p_class in ('simple', 'bracket', 'oco', 'oto')
       and p_qty > 0 and p_qty <> 'NaN' and p_reserved_usd >= 0
       and (p_limit_price > 0) is not false and (p_stop_price > 0) is not false
       and (p_take_profit_price > 0) is not false and (p_stop_loss_price > 0) is not false;
end;
$$;

create table public.orders (
    id                  uuid primary key,
    owner_id            uuid not null,           -- the profile's owner, copied for row-level security
    profile_id          uuid not null references public.profiles (id),
    shard               text not null,
    symbol              text not null,
    side                public.order_side not null,
    position_side       public.position_side not null,
    purpose             public.order_purpose not null,
    qty                 numeric(24, 9) not null,
    order_type          text not null,
    order_class         text not null default 'simple',
    time_in_force       text not null default 'gtc',
    limit_price         numeric(18, 6),
    stop_price          numeric(18, 6),
    take_profit_price   numeric(18, 6),
    stop_loss_price     numeric(18, 6),
    reference_price     numeric(18, 6),
    notional_usd        numeric(24, 6),
    reserved_usd        numeric(24, 9) not null default 0,
    state               public.order_state not null,
    code                text,                    -- the gate's denial code or the broker's reject code
    reason              text,
    exit_reason         text,
    signal_id           uuid,                    -- written by the same statement as the order
    trade_id            uuid,
    parent_id           uuid references public.orders (id),
    permit_deadline     timestamptz,
    permit_token        bigint,
    claimed_by          text,
    broker_order_id     text,
    broker_status       text,                    -- raw, never normalised away
    broker_request_id   text,
    filled_qty          numeric(24, 9) not null default 0,
    filled_avg_price    numeric(24, 9),
    cancel_requested_at timestamptz,
    market_at           timestamptz,             -- when it was decided, market time
    broker_updated_at   timestamptz,             -- market time
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    submitted_at        timestamptz,
    accepted_at         timestamptz,
    ended_at            timestamptz,
    ready_at            timestamptz,             -- when it might be sent: let through by the gate, or released by a person
    replaces_id         uuid references public.orders (id), -- the order whose place it took at the broker
    replaces_broker_id  text,                    -- the resting order whose place it is to take when it is sent
    constraint orders_are_sound check (private.is_sound_order(order_type, order_class, qty, reserved_usd, limit_price, stop_price,
                                                              take_profit_price, stop_loss_price))
);
comment on table public.orders is 'One row per order intent, from the gate''s answer to its end.';

create unique index orders_broker_order_id on public.orders (broker_order_id) where broker_order_id is not null;
-- One open entry per strategy and symbol.
create unique index orders_one_open_entry on public.orders (profile_id, symbol, position_side)
    where purpose = 'entry' and state in ('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled');
-- Exit locks are per trade, not per symbol.
create unique index orders_one_open_exit on public.orders (trade_id)
    where purpose = 'exit' and state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled');
create index orders_waiting on public.orders (shard, created_at) where state in ('ready', 'awaiting_approval');
create index orders_in_flight on public.orders (profile_id, symbol)
    where purpose = 'entry' and state in ('submitting', 'unknown');
-- What an owner's entries keep reserved, for the limits on exposure: what has ended keeps nothing.
create index orders_reserved on public.orders (owner_id, symbol) where reserved_usd > 0;
-- What could trade with an order of ours on the other side.
create index orders_crossable on public.orders (symbol, side, limit_price)
    where order_type in ('limit', 'market') and state in ('ready', 'submitting', 'unknown', 'working', 'partially_filled');
-- How many entries a profile has made lately, in market time.
create index orders_entry_rate on public.orders (profile_id, market_at desc) where purpose = 'entry' and state <> 'denied';
-- Row-level security keeps a state out of an index's condition, but not out of a partial index's predicate.
create index orders_open_created on public.orders (created_at desc, id)
    where state in ('ready', 'awaiting_approval', 'submitting', 'unknown', 'working', 'partially_filled');
create index orders_failed_created on public.orders (created_at desc, id)
    where state in ('rejected', 'expired', 'replaced', 'approval_rejected', 'approval_expired');
create index orders_unknown on public.orders (symbol) where state = 'unknown';
create index orders_owner_created on public.orders (owner_id, created_at desc, id);
create index orders_created on public.orders (created_at desc, id);
create index orders_profile_created on public.orders (profile_id, created_at desc, id);
create index orders_trade on public.orders (trade_id) where purpose <> 'entry';
create index orders_parent on public.orders (parent_id) where parent_id is not null;
create index orders_replaces on public.orders (replaces_id) where replaces_id is not null;

-- The legal moves; anything else raises.
create table private.order_transitions (
    from_state public.order_state not null,
    to_state   public.order_state not null,
    primary key (from_state, to_state)
);
insert into private.order_transitions (from_state, to_state)
select t.from_state::public.order_state, unnest(t.to_states)::public.order_state
from (values
    ('awaiting_approval', array['ready', 'approval_rejected', 'approval_expired', 'canceled', 'denied']),
    -- An exit that was handed back is ready again; the broker may have got it after all.
    ('ready',             array['submitting', 'canceled', 'expired', 'denied', 'working', 'partially_filled', 'filled', 'rejected']),
    ('submitting',        array['unknown', 'working', 'partially_filled', 'filled', 'rejected', 'canceled', 'expired', 'ready']),
    ('unknown',           array['working', 'partially_filled', 'filled', 'rejected', 'canceled', 'expired', 'replaced', 'ready']),
    ('working',           array['partially_filled', 'filled', 'canceled', 'expired', 'rejected', 'replaced']),
    ('partially_filled',  array['filled', 'canceled', 'expired', 'replaced'])
) as t (from_state, to_states);
-- Rare words of the broker's: replaced by hand before we knew it was there, refused after a part had filled.
insert into private.order_transitions (from_state, to_state)
values ('ready', 'replaced'), ('submitting', 'replaced'), ('partially_filled', 'rejected');

-- The types of orders that the table takes; the broker may know others.
create function private.order_types()
    returns text[]
    language sql
    immutable
as $$
    select array['market', 'limit', 'stop', 'stop_limit', 'trailing_stop'];
$$;

create table public.order_events (
    id            bigint generated always as identity primary key,
    order_id      uuid not null,                 -- written by the order's own trigger
    owner_id      uuid not null,
    from_state    public.order_state,
    to_state      public.order_state not null,
    broker_status text,
    reason        text,
    at            timestamptz not null
);
create index order_events_order on public.order_events (order_id, id);
create index order_events_owner on public.order_events (owner_id, id desc);
create index order_events_at on public.order_events using brin (at);
comment on table public.order_events is 'Every change of an order''s state, written by trigger, append-only.';
create trigger order_events_is_append_only
    before update or delete on public.order_events
    for each statement execute function private.refuse_change();

-- Hold an order to the state machine and give its reserved capital back exactly once: when it ends.
create function private.guard_order_change()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    new.updated_at := clock_timestamp();
    if new.state <> old.state then
        if not exists (select 1 from private.order_transitions t
                       where t.from_state = old.state and t.to_state = new.state) then
            perform private.fail(409, 'ILLEGAL_TRANSITION',
                format('Order %s cannot go from %s to %s.', old.id, old.state, new.state));
        end if;
        if private.is_terminal(new.state) then
            new.ended_at := clock_timestamp();
            if new.reserved_usd > 0 then
                update public.profile_capital c
                   set reserved_usd = c.reserved_usd - new.reserved_usd, updated_at = clock_timestamp()
                 where c.profile_id = new.profile_id;
                new.reserved_usd := 0;
            end if;
        end if;
    end if;
    if new.filled_qty < old.filled_qty then
        perform private.fail(409, 'ILLEGAL_TRANSITION', format('The filled quantity of order %s cannot fall.', old.id));
    end if;
    return new;
end;
$$;
create trigger orders_keep_to_the_state_machine
    before update on public.orders
    for each row execute function private.guard_order_change();

create function private.note_new_orders()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    insert into public.order_events (order_id, owner_id, to_state, broker_status, reason, at)
    select n.id, n.owner_id, n.state, n.broker_status, coalesce(n.code || ': ', '') || n.reason, clock_timestamp()
    from new_orders n;
    return null;
end;
$$;
create trigger orders_note_their_start
    after insert on public.orders referencing new table as new_orders
    for each statement execute function private.note_new_orders();

create function private.note_order_change()
    returns trigger
    language plpgsql
    security definer
    set search_path = ''
as $$
begin
    insert into public.order_events (order_id, owner_id, from_state, to_state, broker_status, reason, at)
    values (new.id, new.owner_id, old.state, new.state, new.broker_status, new.reason, clock_timestamp());
    return null;
end;
$$;
create trigger orders_note_their_changes
    after update on public.orders
    for each row
    when (old.state <> new.state or old.broker_status is distinct from new.broker_status
          or old.filled_qty <> new.filled_qty)
    execute function private.note_order_change();

alter table public.orders enable row level security;
alter table public.order_events enable row level security;
revoke all on public.orders, public.order_events from anon, authenticated, service_role;
grant select on public.orders, public.order_events to authenticated, service_role;
create policy "owners and staff read orders"
    on public.orders for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));
create policy "owners and staff read order events"
    on public.order_events for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));
