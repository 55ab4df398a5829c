-- The exchange's ledger. Money and quantities are decimal text, times are UTC text that sorts.

create table if not exists state (
    id                  integer primary key check (id = 1),
    ledger_id           text    not null,   -- order and fill ids are derived from it
    seed                integer not null,
    first_session       integer not null,
    session             integer not null,
    tick                integer not null,
    stamp               text    not null,   -- time of the last event; every event gets its own
    next_seq            integer not null,   -- one sequence for orders, fills and splits
    mode                text    not null check (mode in ('stepping', 'running')),
    seconds_per_session real    not null check (seconds_per_session > 0),
    account_id          text    not null,
    created_at          text    not null,
    cash                text    not null,
    last_equity         text    not null,
    settings            text    not null,
    after               integer not null default 0,  -- ticks walked outside of regular hours
    controls            text    not null default '{}',
    opening_cash        text    not null default '100000'
) strict;

create table if not exists orders (
    id              text primary key,
    seq             integer not null unique,
    client_order_id text    not null unique,
    symbol          text    not null,
    side            text    not null,
    type            text    not null,
    time_in_force   text    not null,
    order_class     text    not null,
    intent          text    not null,
    qty             text    not null,
    status          text    not null,
    submitted_at    text    not null unique,
    updated_at      text    not null,
    limit_price     text,
    stop_price      text,
    parent_id       text references orders (id) deferrable initially deferred,
    leg             text,
    active          integer not null,
    triggered       integer not null,
    extended_hours  integer not null,
    filled_qty      text    not null,
    filled_value    text    not null,
    filled_at       text,
    canceled_at     text,
    expired_at      text,
    expires_at      text,
    replaced_at     text,
    replaced_by     text,
    replaces        text,
    notional        text,
    trail_price     text,
    trail_percent   text,
    hwm             text,
    awaits          text,
    due             integer,
    failed_at       text
) strict;

create index if not exists orders_by_parent on orders (parent_id) where parent_id is not null;
drop index if exists orders_open;
create index if not exists orders_live on orders (seq)
    where status not in ('filled', 'canceled', 'expired', 'replaced', 'rejected');

create table if not exists fills (
    seq          integer primary key,
    id           text not null unique,
    order_id     text not null references orders (id),
    symbol       text not null,
    side         text not null,
    qty          text not null,
    price        text not null,
    amount       text not null,
    at           text not null,
    cum_qty      text not null,
    leaves_qty   text not null,
    order_status text not null,
    fee          text not null default '0'
) strict;

create index if not exists fills_by_order on fills (order_id);

create table if not exists splits (
    seq    integer primary key,
    symbol text    not null,
    ratio  integer not null,
    at     text    not null
) strict;

create table if not exists positions (
    symbol      text primary key,
    qty         text not null,
    avg_price   text not null,
    lots        text not null default '[]',
    opened_qty  text not null default '0',
    opened_cost text not null default '0',
    closed_qty  text not null default '0'
) strict;

create table if not exists shocks (
    symbol  text    not null,
    session integer not null,
    tick    integer not null,
    pct     text    not null
) strict;

-- When a symbol printed nothing; a halt that lasts has no end.
create table if not exists halts (
    symbol text not null,
    since  text not null,
    until  text,
    primary key (symbol, since)
) strict;

create table if not exists closes (
    session integer primary key,
    at      text not null,
    equity  text not null
) strict;

-- Further accounts, in the first one's ledger; each has a ledger file of its own.
create table if not exists accounts (
    key_id        text primary key,
    secret_digest text not null,
    cash          text not null
) strict;
