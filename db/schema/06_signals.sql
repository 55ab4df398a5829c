-- Signals: what a strategy wanted, and on which bar. Written by the gate with its decision.

create table public.signals (
    id         uuid primary key default gen_random_uuid(),
    owner_id   uuid not null,
    profile_id uuid not null,                    -- written with the order, which refers to the profile
    symbol     text not null,
    side       public.order_side not null,
    strategy   text not null,
    strength   numeric,
    bar_at     timestamptz,                      -- the bar it was seen on, market time
    detail     jsonb not null default '{}',
    market_at  timestamptz,
    created_at timestamptz not null default now()
);
create index signals_owner on public.signals (owner_id, created_at desc);
create index signals_profile on public.signals (profile_id, created_at desc);
comment on table public.signals is 'What a strategy wanted, and on which bar.';

alter table public.signals enable row level security;
revoke all on public.signals from anon, authenticated, service_role;
grant select on public.signals to authenticated, service_role;
create policy "owners and staff read signals"
    on public.signals for select to authenticated
    using (owner_id = (select private.caller_id()) or (select private.is_staff()));
