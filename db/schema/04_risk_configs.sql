-- Risk configuration: one active version of a JSON document. A limit that is not set blocks.

create table public.risk_configs (
    version          int primary key generated always as identity,
    config           jsonb not null check (jsonb_typeof(config) = 'object'),
    active           boolean not null default true,
    created_by       uuid references public.members (user_id),
    created_by_email text not null default 'installation',
    reason           text not null default '',
    created_at       timestamptz not null default now()
);
create unique index risk_configs_one_active on public.risk_configs (active) where active;
create index risk_configs_created_by on public.risk_configs (created_by);
comment on table public.risk_configs is 'Versions of the portfolio''s risk configuration; exactly one is active.';

alter table public.risk_configs enable row level security;
revoke all on public.risk_configs from anon, authenticated, service_role;
grant select on public.risk_configs to authenticated, service_role;
create policy "members read the risk configuration"
    on public.risk_configs for select to authenticated
    using ((select private.caller_role()) is not null);

-- The shipped default sets every limit that the gate checks.
insert into public.risk_configs (config, reason) values ('{
    "order_limits": {
        "qty_max": "10000",
        "notional_max_usd": "25000",
        "price_collar_pct": "0.05",
        "entry_ttl_s": 60,
        "permit_ttl_s": 10
    },
    "position_limits": {
        "positions_max": 10,
        "open_orders_max": 20,
        "position_notional_max_usd": "25000"
    },
    "operator_approval": {
        "auto_approve_paper": true,
        "require_approval_for_live": true,
        "approval_timeout_minutes": 15
    }
}', 'Shipped default');

create function private.risk_config()
    returns public.risk_configs
    language sql
    stable
    security definer
    set search_path = ''
as $$
    select r from public.risk_configs r where r.active;
$$;

-- live -> require_approval_for_live; paper -> not auto_approve_paper; disabled -> never, the gate
-- blocks it upstream. A missing key takes the shipped default.
create function private.requires_approval(p_config jsonb, p_mode public.trading_mode)
    returns boolean
    language sql
    immutable
as $$
    select case p_mode
        when 'live' then coalesce((p_config #>> '{operator_approval,require_approval_for_live}')::boolean, true)
        when 'paper' then not coalesce((p_config #>> '{operator_approval,auto_approve_paper}')::boolean, true)
        else false
    end;
$$;
