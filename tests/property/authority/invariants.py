"""What must hold after every step, as questions to the database. Each answers the rows that break it.

All of them go out as one prepared statement, so that a check costs a few milliseconds.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg

OPEN = "('awaiting_approval', 'ready', 'submitting', 'unknown', 'working', 'partially_filled')"
UNSENT = "('awaiting_approval', 'ready')"

# Orders that the broker made, or somebody at the broker: never asked for here, so no gate judged them and they begin
# at work. A leg has a parent, a replacement names the order of the same trade whose place it took, and the adoption
# of an external order is on record.
BORN_AT_BROKER = """(
    o.parent_id is not null
    or exists (select 1 from orders r where r.id = o.replaces_id and r.trade_id = o.trade_id and r.purpose = o.purpose)
    or exists (select 1 from audit_log g where g.action = 'adopt_order' and g.outcome = 'done'
               and g.detail ->> 'order_id' = o.id::text))"""

# In the order in which the first failure counts.
GATE = [
    "TRADING_HALTED",
    "TRADING_PAUSED",
    "MODE_DISABLED",
    "PROFILE_INACTIVE",
    "SYMBOL_LOCKED",
    "SIGNAL_STALE",
    "QUOTE_STALE",
    "ORDER_UNKNOWN",
    "RECONCILIATION_BREAK",
    "DUPLICATE_ORDER",
    "STAGED_SIZE",
    "ORDER_QTY_MAX",
    "ORDER_NOTIONAL_MAX",
    "PRICE_COLLAR",
    "OPEN_ORDERS_MAX",
    "POSITIONS_MAX",
    "POSITION_LIMIT",
    "SECTOR_EXPOSURE",
    "GROSS_EXPOSURE",
    "CAPITAL_INSUFFICIENT",
    "ORDER_RATE",
    "ORDER_RATE",
    "REPEATED_EXECUTION",
    "DAILY_LOSS",
    "DRAWDOWN",
    "LOSS_STREAK",
    "WASH_TRADE",
    "MARKET_CLOSED",
]

CHECKS = {
    # I1: a permit is never issued, and an entry never let through, between a restriction and its end.
    "I1 nothing is sent while its scope is restricted": """
        select o.id || ' ' || h.to_mode from orders o
        join trading_control_history h on h.to_mode <> 'RUNNING'
             and private.in_scope(h.scope, h.scope_key, o.profile_id, o.symbol)
             and o.submitted_at >= h.changed_at and o.submitted_at < coalesce(h.ended_at, 'infinity')
        where o.claimed_by is not null and (o.purpose = 'entry' or h.to_mode = 'HALTED')""",
    "I1 nothing is let through while its scope is restricted": """
        select o.id || ' ' || h.to_mode from orders o
        join trading_control_history h on h.to_mode <> 'RUNNING'
             and private.in_scope(h.scope, h.scope_key, o.profile_id, o.symbol)
             and o.ready_at >= h.changed_at and o.ready_at < coalesce(h.ended_at, 'infinity')
        where o.purpose = 'entry' and o.state not in ('denied', 'expired')""",
    "I1 a scope is quiesced exactly when no permit of it is open": """
        select c.scope || ':' || c.scope_key from trading_controls c
        where case when c.mode = 'RUNNING' then c.quiesced_at is not null
                   else (c.quiesced_at is null) = not exists (
                       select 1 from private.entries_in_flight(c.scope, c.scope_key)) end""",
    # A lockout lets nothing of its symbol through, and leaves nothing unsent.
    "a locked symbol lets no entry through": f"""
        select o.id || ' ' || l.id from orders o
        join symbol_lockouts l on l.ticker in (o.symbol, '*') and coalesce(l.side, o.position_side) = o.position_side
             and coalesce(l.profile_id, o.profile_id) = o.profile_id
        where o.purpose = 'entry' and (
            o.state not in ('denied', 'expired') and o.ready_at >= l.starts_at
                and o.ready_at < least(l.expires_at, coalesce(l.removed_at, 'infinity'))
            or o.state in {UNSENT} and l.removed_at is null
                and clock_timestamp() between l.starts_at and l.expires_at)""",
    # I4: every order has a trail of legal moves that leads to where it is.
    "I4 events form a legal path to the order's state": f"""
        select w.order_id || ' ' || coalesce(w.from_state::text, '-') || '>' || w.to_state from (
            select e.*, lag(e.to_state) over p as before, lead(e.id) over p as next, o.state
            from order_events e join orders o on o.id = e.order_id
                window p as (partition by e.order_id order by e.id)) w
        where w.from_state is distinct from w.before
           or w.from_state is null and w.to_state not in ('denied', 'awaiting_approval', 'ready') and not (
               w.to_state = 'working' and exists (select 1 from orders o where o.id = w.order_id and {BORN_AT_BROKER})
               -- With its permit from the start: the gate has let it through.
               or w.to_state = 'submitting' and exists (select 1 from decisions d join orders o on o.id = d.order_id
                   where d.order_id = w.order_id and d.outcome = 'ready' and o.permit_token is not null))
           or w.from_state <> w.to_state and not exists (select 1 from private.order_transitions t
                where t.from_state = w.from_state and t.to_state = w.to_state)
           or w.next is null and w.to_state <> w.state
        union all
        select o.id || ' has no event' from orders o
        where not exists (select 1 from order_events e where e.order_id = o.id)""",
    # I5: the sums are the rows, never negative, never above the capital.
    "I5 reserved and used are the sums of orders and positions": """
        select c.profile_id || ' ' || c.reserved_usd || '+' || c.used_usd from profile_capital c
        where c.reserved_usd <> (select coalesce(sum(o.reserved_usd), 0) from orders o
            where o.profile_id = c.profile_id)
           or c.used_usd <> (select coalesce(sum(n.cost_usd), 0) from positions n where n.profile_id = c.profile_id)""",
    "I5 reserved and used stay within the capital": """
        select c.profile_id || ' ' || c.reserved_usd || '+' || c.used_usd || '>' || c.capital_usd from profile_capital c
        where c.reserved_usd < 0 or c.used_usd < 0
           or c.reserved_usd + c.used_usd > c.capital_usd and c.profile_id <> all (%(lowered)s::uuid[])""",
    "I5 each order reserves what is left of it, and nothing once it has ended": f"""
        select o.id || ' ' || o.reserved_usd from orders o
        where o.reserved_usd <> 0 and (o.state not in {OPEN} or o.purpose <> 'entry')
           or o.state in {OPEN} and o.purpose = 'entry'
              and abs(o.reserved_usd - o.notional_usd * (o.qty - o.filled_qty) / o.qty) > 0.00001""",
    "I5 an owner's exposure stays within its limit": """
        select c.owner_id || ' ' || sum(c.reserved_usd + c.used_usd) from profile_capital c
        group by c.owner_id
        having sum(c.reserved_usd + c.used_usd) > %(gross)s * sum(c.capital_usd)
           and not bool_or(c.profile_id = any (%(lowered)s::uuid[]))""",
    # I6: one decision per approval, none after its expiry, and nothing runs on another one.
    "I6 an approval and its order agree": """
        select a.id || ' ' || a.status || ' ' || o.state from operator_approvals a join orders o on o.id = a.order_id
        where (a.status = 'pending') <> (o.state = 'awaiting_approval')
            or (a.status = 'pending') <> (a.decided_at is null)
           or (a.status = 'rejected') <> (o.state = 'approval_rejected')
           or (a.status = 'expired') <> (o.state = 'approval_expired')
           or (a.status = 'denied') <> (o.state = 'denied')
           or a.status not in ('approved', 'pending') and (o.submitted_at is not null or o.reserved_usd <> 0)
           or (select count(*) from order_events e where e.order_id = o.id and e.from_state = 'awaiting_approval'
               and e.to_state <> e.from_state) <> case a.status when 'pending' then 0 else 1 end""",
    "I6 nothing is decided after its expiry or by nobody": """
        select a.id || ' ' || a.status from operator_approvals a
        where a.status in ('approved', 'rejected', 'denied') and (a.decided_at >= a.expires_at or a.decided_by is null)
           or a.status = 'expired' and a.decided_at < a.expires_at""",
    "I6 each decision has its one audit row, of the same transaction": """
        select a.id || ' ' || a.status from operator_approvals a
        where (select count(*) from audit_log g where g.action = 'decide_approval' and g.outcome = 'done'
               and g.target = 'approval:' || a.id and g.xmin = a.xmin)
              <> case when a.status in ('approved', 'rejected', 'denied') then 1 else 0 end""",
    "I6 a released entry was judged twice": """
        select a.id::text from operator_approvals a
        where a.status in ('approved', 'denied')
          and (select count(*) from decision_log d where d.order_id = a.order_id) <> 2""",
    # I8: control and audit exist together, and the history is the state.
    "I8 each control event has its one audit row, of the same transaction": """
        select e.scope || ':' || e.scope_key || ' ' || e.version from trading_control_events e
        where (select count(*) from audit_log a where a.xmin = e.xmin and a.outcome = 'done'
               and a.action = case e.to_mode when 'RUNNING' then 'resume_trading' when 'PAUSED' then 'pause_trading'
                                             else 'halt_trading' end
               and a.target = e.scope || ':' || e.scope_key and (a.detail ->> 'version')::int = e.version
               and a.actor is not distinct from e.changed_by) <> 1
        union all
        select a.action || ' ' || a.target from audit_log a
        where a.outcome = 'done' and a.action in ('resume_trading', 'pause_trading', 'halt_trading')
          and not exists (select 1 from trading_control_events e where e.xmin = a.xmin
                          and a.target = e.scope || ':' || e.scope_key)""",
    "I8 each configuration and lockout has its one audit row, of the same transaction": """
        select 'config ' || r.version from risk_configs r where r.created_by is not null and (
            select count(*) from audit_log a where a.outcome = 'done' and a.action like '%%_config'
            and (a.detail ->> 'version')::int = r.version) <> 1
        union all
        select 'lockout ' || l.id from symbol_lockouts l where (
            select count(*) from audit_log a where a.outcome = 'done' and a.action like '%%_lockout'
            and (a.detail ->> 'id')::uuid = l.id) <> case when l.removed_at is null then 1 else 2 end""",
    "I8 the events of a control lead to its state": """
        select w.scope || ':' || w.scope_key || ' ' || w.version from (
            select e.*, lag(e.to_mode, 1, 'RUNNING') over p as before, lag(e.version) over p as version_before,
                   lag(e.schedule_id) over p as schedule_before, lead(e.id) over p as next
            from trading_control_events e window p as (partition by e.scope, e.scope_key order by e.id)) w
        left join trading_controls c on c.scope = w.scope and c.scope_key = w.scope_key
        where w.from_mode <> w.before
            -- The same mode again only where a schedule hands over, to a person or to another schedule.
            or w.to_mode = w.from_mode and w.schedule_before is null
            or w.version <> coalesce(w.version_before + 1, w.version)
           or w.next is null and (c.mode, c.version, c.changed_at) is distinct from (w.to_mode, w.version, w.changed_at)
        union all
        select c.scope || ':' || c.scope_key || ' without events' from trading_controls c
        where c.mode <> 'RUNNING' and not exists (
            select 1 from trading_control_events e where e.scope = c.scope and e.scope_key = c.scope_key)""",
    "I8 the audit log's new rows follow on the old ones": """
        select w.id::text from (
            select a.*, lag(a.hash, 1, sha256('')) over (partition by a.tenant order by a.id) as before,
                   lead(a.id) over (partition by a.tenant order by a.id) as next from audit_log a) w
        join private.audit_chain_heads h on h.tenant = w.tenant
        where w.prev_hash <> w.before or w.next is null and (h.hash <> w.hash
              or h.length <> (select count(*) from audit_log n where n.tenant = w.tenant))
        union all
        select a.id || ' hash' from audit_log a where a.id > %(audited)s
            and a.hash <> private.audit_hash(a.prev_hash, a)""",
    # I9: what is out was issued by the lease that counts.
    "I9 a permit carries the token of the lease that issued it": """
        select o.id || ' ' || o.permit_token from orders o left join engine_leases l on l.shard = o.shard
        where o.claimed_by is not null and (o.permit_token is null or o.permit_deadline <= o.submitted_at)
           or o.state = 'submitting' and o.submitted_at > %(since)s
              and (o.permit_token, o.claimed_by) is distinct from (l.token, l.holder)""",
    # The gate: every check, always in the one order, and the first failure is the answer.
    "the gate evaluates every check in order and answers the first that failed": """
        select d.order_id || ' ' || coalesce(d.code, '-') from decision_log d
        where d.id > %(decided)s and (
            jsonb_path_query_array(d.checks::jsonb, '$[*].name') <> to_jsonb(%(gate)s::text[])
            or d.code is distinct from (
                select case when f is null then null when f ->> 'limit' is null
                    then 'LIMIT_NOT_SET' else f ->> 'name' end
                from jsonb_path_query_first(d.checks::jsonb, '$[*] ? (@.passed == false)') f)
            or (d.code is null) = (d.outcome = 'denied'))""",
    "each entry was judged, and its first judgement is how it began": f"""
        select o.id || ' ' || coalesce(d.outcome::text, 'never') from orders o
        left join lateral (select n.* from decision_log n where n.order_id = o.id order by n.id limit 1) d on true
        join lateral (select e.* from order_events e where e.order_id = o.id order by e.id limit 1) b on true
        where o.purpose = 'entry'
          and d.outcome is distinct from case b.to_state when 'submitting' then 'ready' else b.to_state end
          and not (d.outcome is null and {BORN_AT_BROKER})""",
    # I12: orders, trades, positions and profit are sums over the fills.
    "I12 orders, trades and positions are the sums of their fills": """
        select 'order ' || o.id from orders o
        where o.filled_qty <> (select coalesce(sum(f.qty), 0) from fills f where f.order_id = o.id)
        union all
        select 'trade ' || t.id from trades t
        join lateral (select coalesce(sum(f.qty) filter (where f.purpose = 'entry'), 0) as entered,
                             coalesce(sum(f.qty) filter (where f.purpose <> 'entry'), 0) as exited,
                             coalesce(sum(f.notional_usd) filter (where f.purpose = 'entry'), 0) as paid,
                             coalesce(sum(f.notional_usd) filter (where f.purpose <> 'entry'), 0) as received
                      from fills f where f.trade_id = t.id) s on true
        left join positions n on n.trade_id = t.id
        where (t.qty_entered, t.qty_exited, t.entry_notional_usd, t.exit_notional_usd)
              <> (s.entered, s.exited, s.paid, s.received)
           or coalesce(n.qty, 0) <> greatest(s.entered - s.exited, 0)
           or (n.trade_id is null) <> (t.closed_at is not null)
           or abs(t.realized_pnl_usd - (s.received - s.paid * s.exited / s.entered)
                  * case t.position_side when 'long' then 1 else -1 end) > 0.000001
        union all
        select 'profit of ' || c.profile_id from profile_capital c
        where c.realized_usd <> (select coalesce(sum(t.realized_pnl_usd), 0) from trades t
            where t.profile_id = c.profile_id)""",
    "a profile has one open entry per symbol and direction": f"""
        select o.profile_id || ' ' || o.symbol from orders o where o.purpose = 'entry' and o.state in {OPEN}
        group by o.profile_id, o.symbol, o.position_side having count(*) > 1""",
    "no two open entries of an account could trade with each other": f"""
        select b.id || ' ' || s.id from orders b join orders s on s.symbol = b.symbol and s.limit_price <= b.limit_price
        join profiles bf on bf.id = b.profile_id join profiles sf on sf.id = s.profile_id
        where b.side = 'buy' and s.side = 'sell' and b.purpose = 'entry' and s.purpose = 'entry'
          and bf.broker_account = sf.broker_account and %(wash)s
          and b.state in {OPEN} and s.state in {OPEN} and b.state <> 'awaiting_approval'
              and s.state <> 'awaiting_approval'""",
}

_ALL = " union all ".join(
    f"select '{name.replace(chr(39), chr(39) * 2)}' as name, c.detail from ({question}) c (detail)"
    for name, question in CHECKS.items()
)
_MARKS = """
    select clock_timestamp(), (select coalesce(max(id), 0) from audit_log), (select count(*) from audit_log),
           (select coalesce(max(id), 0) from decision_log),
           (select jsonb_build_object(
                'ready', count(*) filter (where o.state = 'ready'),
                'in flight', count(*) filter (where o.state in ('submitting', 'unknown')),
                'at broker', count(*) filter (where o.parent_id is null
                    and o.state in ('submitting', 'unknown', 'working', 'partially_filled')),
                'legs', count(*) filter (where o.parent_id is not null and o.state = 'working'),
                'pending', count(*) filter (where o.state = 'awaiting_approval')) from orders o)
           || (select jsonb_build_object('decided', count(*)) from operator_approvals a where a.status <> 'pending')
           || (select jsonb_build_object('positions', count(*)) from positions)
           || (select jsonb_build_object('locks', count(*)) from symbol_lockouts l where l.removed_at is null)
           || (select jsonb_build_object('restricted', count(*), 'ending', count(c.resume_at)) from trading_controls c
               where c.mode <> 'RUNNING')
"""


@dataclass
class Watch:
    """Asks all questions, and remembers how far the append-only tables were looked at."""

    connection: psycopg.Connection
    lowered: set[str] = field(default_factory=set)  # profiles whose capital was lowered below what is committed
    gross: Any = 1  # the highest gross limit that was in force
    wash: bool = True
    since: datetime | None = None
    audited: int = 0
    audit_rows: int = 0
    decided: int = 0
    have: dict[str, int] = field(default_factory=dict)  # how many there are of what rules act on

    def breaches(self) -> list[tuple[str, str]]:
        """Return (invariant, row) for everything that does not hold now."""
        arguments = {
            "lowered": sorted(self.lowered), "gross": self.gross, "wash": self.wash, "gate": list(GATE),
            "since": self.since or datetime.max.replace(tzinfo=UTC), "audited": self.audited, "decided": self.decided,
        }  # fmt: skip
        found = self.connection.execute(_ALL, arguments, prepare=True).fetchall()
        rows_before = self.audit_rows
        marks = self.connection.execute(_MARKS, prepare=True).fetchone()
        assert marks is not None
        self.since, self.audited, self.audit_rows, self.decided, self.have = marks
        if self.audit_rows < rows_before:
            found.append(("I8 the audit log never shrinks", f"{rows_before} > {self.audit_rows}"))
        return found
