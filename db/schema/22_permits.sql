-- Permits: the right to send one order until a deadline, and the broker's answers.

-- Issue permits: exits first, entries only while nothing in their scope is paused or halted, and to no engine
-- that is older than the schema. Called by: the engine. Errors: LEASE_LOST, ENGINE_OUTDATED.
create function public.claim_orders(p_shard text, p_token bigint, p_limit int default 50, p_purpose text default null)
    returns setof public.orders
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from what is told to the orders, one by one, however many orders there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_entry_ttl interval;
    v_permit_ttl interval;
    v_holder text;
    v_is_current boolean;
begin
    perform private.check_lease(p_shard, p_token);
    if not exists (select 1 from public.orders o where o.shard = p_shard and o.state in ('ready', 'awaiting_approval')) then
        return;
    end if;
    select make_interval(secs => coalesce((c.config #>> '{order_limits,entry_ttl_s}')::numeric, 60)::float8),
           make_interval(secs => coalesce((c.config #>> '{order_limits,permit_ttl_s}')::numeric, 10)::float8),
           (select l.holder from public.engine_leases l where l.shard = p_shard), private.engine_is_current(p_shard)
      into v_entry_ttl, v_permit_ttl, v_holder, v_is_current
    from private.active_risk_config() c;
    perform private.apply_due();
    perform private.lock_controls(p_exclusive => false);
    perform private.expire_waiting(p_shard, clock_timestamp() - v_entry_ttl);
    return query
        update public.orders o
           set state = 'submitting', claimed_by = v_holder, permit_token = p_token, submitted_at = clock_timestamp(),
               permit_deadline = clock_timestamp() + v_permit_ttl
         where o.id in (
            select r.id from public.orders r
             where r.shard = p_shard and r.state = 'ready'
               and (p_purpose is null or r.purpose::text = p_purpose)
               and private.effective_mode(r.profile_id, r.symbol)
                   < case r.purpose when 'entry' then 'PAUSED' else 'HALTED' end::public.control_mode
               and (r.purpose <> 'entry' or v_is_current)
             order by (r.purpose = 'entry'), r.created_at, r.id
             limit least(greatest(coalesce(p_limit, 50), 1), 500)
             for update skip locked)
        returning o.*;
    if not found and not v_is_current then
        perform private.refuse_outdated_engine(p_shard);
    end if;
end;
$$;

-- Our state for the broker's status. Statuses that end nothing, known or new, are working. `missing` is our own
-- word for what the broker has denied to know again and again.
create function private.state_of(p_status text, p_filled_qty numeric)
    returns public.order_state
    language sql
    immutable
as $$
    select case
        when p_status in ('filled', 'canceled', 'expired', 'rejected', 'replaced') then p_status::public.order_state
        when p_status = 'missing' then 'canceled'
        when p_filled_qty > 0 then 'partially_filled'
        else 'working' end;
$$;

-- What a word of the broker's changes about one of our orders.
create type private.order_change as (
    id              uuid,
    profile_id      uuid,
    word            jsonb,
    told_qty        numeric,                     -- filled by now
    told_at         timestamptz,                 -- market time
    has_filled      boolean,                     -- more than we knew
    release_usd     numeric,                     -- of what is reserved, for what has filled
    state           public.order_state,
    qty             numeric,
    limit_price     numeric,
    stop_price      numeric,
    has_moved       boolean,                     -- its prices did, and it still rests
    has_grown       boolean                      -- a protective order that asks for more than we knew
);

-- What the broker says about orders and we do not know yet; words that are older than what we know, and that say
-- nothing new, are left out. Locks the orders. Errors: INVALID, CONFLICT.
create function private.order_changes(p_ids uuid[], p_words jsonb[])
    returns private.order_change[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_changes private.order_change[];
    v_unsound text;
    v_taken text;
begin
    with told as (
        select o.id, o.profile_id, o.purpose, o.trade_id, o.state as old_state, o.qty as old_qty, o.filled_qty as old_filled_qty,
               o.limit_price as old_limit_price, o.stop_price as old_stop_price, o.reserved_usd, o.broker_order_id, o.broker_status,
               o.broker_updated_at, w.b, coalesce((w.b ->> 'filled_qty')::numeric, 0) as told_qty,
               (w.b ->> 'updated_at')::timestamptz as told_at, w.b ->> 'broker_order_id' as told_id, w.place,
               coalesce(private.price(w.b ->> 'limit_price'), o.limit_price) as limit_price,
               coalesce(private.price(w.b ->> 'stop_price'), o.stop_price) as stop_price,
               ((w.b ->> 'filled_qty')::numeric >= 0 and (w.b ->> 'filled_qty')::numeric < 1e15
                and ((w.b ->> 'filled_qty')::numeric = 0 or (w.b ->> 'filled_avg_price')::numeric between 1e-9 and 1e9)) is not false
               and (length(w.b ->> 'status') between 1 and 60) is true as is_sound
        from unnest(p_ids, p_words) with ordinality w (id, b, place)
        join public.orders o on o.id = w.id
        for update of o
    ), judged as (
        select t.*, t.told_qty > t.old_filled_qty as has_filled,
               case when private.is_terminal(t.old_state) then t.old_state
                    else private.state_of(t.b ->> 'status', greatest(t.told_qty, t.old_filled_qty)) end as state,
               -- The broker restates what rests there: after a split, beside a partly filled sibling, where a stop trails.
               case when t.purpose = 'entry' and greatest(t.told_qty, t.old_filled_qty) > 0 then t.old_qty  -- what is reserved goes by it
                    when g.has_grown then
                        -- After a split the position follows later, and until then nothing may look as if it covered too much.
                        greatest(t.old_qty, least(r.qty, (select n.qty from public.positions n where n.trade_id = t.trade_id)))
                    else r.qty end as qty, g.has_grown
        from told t
        cross join lateral (
            select greatest(coalesce(private.positive(t.b ->> 'qty'), t.old_qty), t.told_qty, t.old_filled_qty) as qty) r
        cross join lateral (select t.purpose in ('stop_loss', 'take_profit') and r.qty > t.old_qty as has_grown) g
        where not t.is_sound  -- is refused, however old it is
           or (t.told_at < t.broker_updated_at and t.told_qty <= t.old_filled_qty
               and not private.is_terminal(private.state_of(t.b ->> 'status', t.told_qty))) is not true
    )
    select min(j.id::text) filter (where not j.is_sound),
           min(j.told_id) filter (where j.broker_order_id is distinct from j.told_id and exists (
               select from public.orders x where x.broker_order_id = j.told_id and x.id <> j.id)),
           array_agg(row(j.id, j.profile_id, j.b, j.told_qty, j.told_at, j.has_filled,
                         case when not j.has_filled then 0 when j.told_qty >= j.old_qty then j.reserved_usd
                              else round(j.reserved_usd * (j.told_qty - j.old_filled_qty) / (j.old_qty - j.old_filled_qty), 9) end,
                         j.state, j.qty, j.limit_price, j.stop_price,
                         (j.limit_price, j.stop_price) is distinct from (j.old_limit_price, j.old_stop_price)
                         and not private.is_terminal(j.state), j.has_grown)::private.order_change order by j.place)
               -- What has ended stays as it ended; new are at most fills, or that it had been at the broker at all.
               filter (where (j.has_filled or not private.is_terminal(j.old_state) or j.broker_order_id is null)
                         and (j.state <> j.old_state or j.has_filled or j.broker_status is distinct from j.b ->> 'status'
                              or (j.qty, j.limit_price, j.stop_price) is distinct from (j.old_qty, j.old_limit_price, j.old_stop_price)
                              or j.id = private.as_uuid(j.b ->> 'client_order_id')
                                 and j.broker_order_id is distinct from coalesce(j.told_id, j.broker_order_id)))
      into v_unsound, v_taken, v_changes
    from judged j;
    if v_unsound is not null then
        perform private.fail(422, 'INVALID', format('The broker''s word on order %s has no status, or a filled quantity or price that is no number.', v_unsound));
    elsif v_taken is not null then
        perform private.fail(409, 'CONFLICT', format('The broker''s order %s is another order here already.', left(v_taken, 60)));
    end if;
    return coalesce(v_changes, '{}');
end;
$$;

-- Take over what the broker says about orders, each of them told of once: fills first, then the state; never backwards.
-- Answers which of them changed. The caller holds the profiles' capital rows.
create function private.apply_words(p_ids uuid[], p_words jsonb[])
    returns uuid[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_changes private.order_change[] := private.order_changes(p_ids, p_words);
    v_fills private.told_fill[];
    v_moved uuid[];
    v_have_grown boolean;
    v_changed uuid[];
    v_one_by_one uuid[] := '{}';
begin
    select array_agg(row(c.id, c.told_qty, (c.word ->> 'filled_avg_price')::numeric,
                         coalesce(c.told_at, clock_timestamp()))::private.told_fill) filter (where c.has_filled),
           array_agg(c.id) filter (where c.has_moved), bool_or(c.has_grown), coalesce(array_agg(c.id), '{}')
      into v_fills, v_moved, v_have_grown, v_changed
    from unnest(v_changes) c;
    if v_have_grown and cardinality(p_ids) > 1 then  -- how much it may cover goes by what is held at its turn
        for i in 1 .. cardinality(p_ids) loop
            v_one_by_one := v_one_by_one || private.apply_words(p_ids[i:i], p_words[i:i]);
        end loop;
        return v_one_by_one;
    end if;
    if v_fills is not null then
        perform private.book_fills(v_fills);
        update public.profile_capital p
           set reserved_usd = p.reserved_usd - c.release_usd
          from (select d.profile_id, sum(d.release_usd) as release_usd from unnest(v_changes) d
                where d.release_usd > 0 group by d.profile_id) c
         where p.profile_id = c.profile_id;
        if v_have_grown then
            v_changes := private.order_changes(p_ids, p_words);
        end if;
    end if;
    update public.orders u
       set state = c.state,
           -- Under our own id the broker's word holds; a leg goes by the broker's id from the start.
           broker_order_id = case when u.id = private.as_uuid(c.word ->> 'client_order_id')
                                  then coalesce(c.word ->> 'broker_order_id', u.broker_order_id)
                                  else coalesce(u.broker_order_id, c.word ->> 'broker_order_id') end,
           broker_status = c.word ->> 'status',
           broker_request_id = coalesce(c.word ->> 'request_id', u.broker_request_id),
           broker_updated_at = greatest(u.broker_updated_at, c.told_at),
           accepted_at = coalesce(u.accepted_at, clock_timestamp()),
           filled_qty = greatest(u.filled_qty, c.told_qty),
           -- Only with a fill: a later one is priced by the difference of the averages.
           filled_avg_price = case when c.has_filled then (c.word ->> 'filled_avg_price')::numeric else u.filled_avg_price end,
           qty = c.qty, limit_price = c.limit_price, stop_price = c.stop_price,
           reserved_usd = u.reserved_usd - c.release_usd,
           reason = coalesce(c.word ->> 'reason', u.reason)
      from unnest(v_changes) c
     where u.id = c.id;
    perform private.follow_leg(m.id) from unnest(v_moved) m (id);
    return v_changed;
end;
$$;

-- A protective order that was moved at the broker says where the position's stop or target is from now on.
create function private.follow_leg(p_order_id uuid)
    returns void
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    update public.positions n
       set stop_price = case o.purpose when 'stop_loss' then o.stop_price else n.stop_price end,
           take_profit_price = case o.purpose when 'take_profit' then o.limit_price else n.take_profit_price end
      from public.orders o
     where o.id = p_order_id and n.trade_id = o.trade_id and o.purpose in ('stop_loss', 'take_profit');
$$;

-- Make orders of the legs that are not known yet; answers the broker's ids of these.
create function private.make_legs(p_parents uuid[], p_legs jsonb[])
    returns text[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_new text[];
begin
    with made as (
        insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type,
            order_class, time_in_force, limit_price, stop_price, state, exit_reason, trade_id, parent_id,
            broker_order_id, broker_status, broker_updated_at, market_at, created_at, updated_at, submitted_at, accepted_at, replaces_id)
        select distinct on (l.leg ->> 'broker_order_id')
               coalesce(private.as_uuid(l.leg ->> 'broker_order_id'), gen_random_uuid()), o.owner_id, o.profile_id, o.shard, o.symbol,
               (l.leg ->> 'side')::public.order_side, o.position_side,
               case when l.leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end::public.order_purpose,
               private.positive(l.leg ->> 'qty'), l.leg ->> 'type', o.order_class, o.time_in_force,
               private.price(l.leg ->> 'limit_price'), private.price(l.leg ->> 'stop_price'), 'working'::public.order_state,
               case when l.leg ->> 'type' = 'limit' then 'take_profit' else 'stop_loss' end,
               o.trade_id, o.id, l.leg ->> 'broker_order_id', l.leg ->> 'status', (l.leg ->> 'updated_at')::timestamptz, o.market_at,
               clock_timestamp(), clock_timestamp(), o.submitted_at, clock_timestamp(),
               case when l.leg ->> 'replaces' is not null then
                   (select r.id from public.orders r where r.broker_order_id = l.leg ->> 'replaces') end
        from unnest(p_parents, p_legs) l (parent_id, leg) join public.orders o on o.id = l.parent_id
        where not exists (select from public.orders x where x.broker_order_id = l.leg ->> 'broker_order_id')
        returning broker_order_id)
    select coalesce(array_agg(m.broker_order_id), '{}') into v_new from made m;
    return v_new;
end;
$$;

-- Take over what the broker says about orders and about their legs, which become orders of their own the first time they
-- are seen. Each order is told of once. Answers what changed, and whose legs did. Errors: INVALID, CONFLICT.
create function private.apply_broker_orders(p_ids uuid[], p_words jsonb[])
    returns uuid[]
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_parents uuid[];
    v_legs jsonb[];
    v_places bigint[];                           -- of the words that tell of the legs
    v_unsound uuid[];
    v_have_moved boolean;                        -- some took another's place
    v_new text[];                                -- the broker's ids of the legs not seen before
    v_ids uuid[];
    v_words jsonb[];
    v_changed uuid[];
begin
    select array_agg(i.id), array_agg(l.value), array_agg(i.place), bool_or(l.value ->> 'replaces' is not null),
           array_agg(i.id) filter (where (private.positive(l.value ->> 'qty') > 0 and l.value ->> 'side' in ('buy', 'sell')
               and l.value ->> 'type' = any (private.order_types()) and l.value ->> 'broker_order_id' is not null) is not true)
      into v_parents, v_legs, v_places, v_have_moved, v_unsound
    from unnest(p_ids, p_words) with ordinality i (id, word, place),
         jsonb_array_elements(case jsonb_typeof(i.word -> 'legs') when 'array' then i.word -> 'legs' end) l;
    if v_legs is null then
        return private.apply_words(p_ids, p_words);
    elsif v_unsound is not null then
        perform private.fail(422, 'INVALID', format('A leg of order %s has no id, quantity, side or type that is known here.', v_unsound[1]));
    end if;
    v_new := private.make_legs(v_parents, v_legs);
    select array_agg(k.id order by k.place, k.leg_place), array_agg(k.word order by k.place, k.leg_place) into v_ids, v_words
    from (select i.id, i.word, i.place, 0 as leg_place from unnest(p_ids, p_words) with ordinality i (id, word, place)
          union all
          (select distinct on (o.id) o.id, l.leg, l.place, l.leg_place
           from unnest(v_legs, v_places) with ordinality l (leg, place, leg_place)
           join public.orders o on o.broker_order_id = l.leg ->> 'broker_order_id'
           where o.id not in (select unnest(p_ids))
             -- A new one was made of its word: there may be more in it.
             and (l.leg ->> 'broker_order_id' not in (select unnest(v_new)) or coalesce((l.leg ->> 'filled_qty')::numeric, 0) <> 0
                  or (length(l.leg ->> 'status') between 1 and 60) is not true
                  or private.state_of(l.leg ->> 'status', 0) <> 'working')
           order by o.id, l.leg_place desc)) k;
    v_changed := private.apply_words(v_ids, v_words);
    if v_have_moved then
        perform private.follow_leg(o.id) from unnest(v_legs) l (leg) join public.orders o on o.broker_order_id = l.leg ->> 'broker_order_id'
        where l.leg ->> 'replaces' is not null and l.leg ->> 'broker_order_id' = any (v_new);
    end if;
    return v_changed || array(
        select l.parent_id from unnest(v_parents, v_legs) l (parent_id, leg)
        join public.orders o on o.broker_order_id = l.leg ->> 'broker_order_id'
        where l.leg ->> 'broker_order_id' in (select unnest(v_new)) or o.id in (select unnest(v_changed)));
end;
$$;

-- Whether no order is told of by two of these words, nor as a leg or as the one that was replaced: only then can they be
-- taken over all at once.
create function private.are_apart(p_words jsonb[])
    returns boolean
    language sql
    immutable
    set search_path = ''
as $$
    select count(*) = count(distinct t.id)
    from (select distinct w.place, n.id
          from unnest(p_words) with ordinality w (b, place)
          cross join lateral (
              select x.id from unnest(array[w.b ->> 'client_order_id', w.b ->> 'broker_order_id', w.b ->> 'replaces']) x (id)
              union all
              select l.value ->> 'broker_order_id'
              from jsonb_array_elements(case jsonb_typeof(w.b -> 'legs') when 'array' then w.b -> 'legs' end) l) n
          where n.id is not null) t;
$$;

-- Whether one of these words tells, beside its order, of a leg that has grown: how much that may cover depends on the words
-- before it.
create function private.tell_of_growth(p_words jsonb[])
    returns boolean
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    return exists (
        select from unnest(p_words) w (b)
        cross join lateral jsonb_array_elements(case jsonb_typeof(w.b -> 'legs') when 'array' then w.b -> 'legs' end) l
        join public.orders o on o.broker_order_id = l.value ->> 'broker_order_id'
        where private.positive(l.value ->> 'qty') > o.qty);
end;
$$;

-- Lock the capital of every profile that a batch touches, in one order for all callers.
create function private.lock_capital_of(p_ids uuid[], p_broker_ids text[])
    returns void
    language sql
    volatile
    security definer
    set search_path = ''
as $$
    select 1 from public.profile_capital c
     where c.profile_id = any (array(
         select o.profile_id from public.orders o where o.id = any (p_ids)
         union
         select o.profile_id from public.orders o where o.broker_order_id = any (p_broker_ids)))
     order by c.profile_id for update;
$$;

-- Whether a word of the broker's says of an order no more than that it is there, under an id that nobody knows yet.
create function private.is_first_word(b jsonb)
    returns boolean
    language plpgsql
    stable
    set search_path = ''
as $$
begin
    return (length(b ->> 'status') between 1 and 60 and private.state_of(b ->> 'status', 0) = 'working'
            and coalesce(b ->> 'filled_qty', '0') = '0' and b ->> 'replaces' is null and b ->> 'broker_order_id' is not null
            and not exists (select from public.orders x where x.broker_order_id = b ->> 'broker_order_id')) is true;
end;
$$;

-- Take the short way with what nearly all words about sent orders say: the broker has them as they were sent, their legs rest
-- beside them, and nothing has filled. False when one says anything else: then nothing was done, and apply_broker_orders
-- comes to the same for these too. Each order is told of once. The caller holds the profiles' capital rows.
create function private.accept_sent(p_ids uuid[], p_words jsonb[], p_shard text)
    returns boolean
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_parents uuid[];
    v_legs jsonb[];
    v_are_plain boolean;
begin
    select bool_and((o.shard = p_shard and o.state = 'submitting' and o.broker_order_id is null and o.filled_qty = 0 and private.is_first_word(w.b)
                     and coalesce(private.positive(w.b ->> 'qty'), o.qty) = o.qty
                     and coalesce(private.price(w.b ->> 'limit_price'), o.limit_price) is not distinct from o.limit_price
                     and coalesce(private.price(w.b ->> 'stop_price'), o.stop_price) is not distinct from o.stop_price) is true)
      into v_are_plain
    from unnest(p_ids, p_words) w (id, b) left join public.orders o on o.id = w.id;
    if not v_are_plain then
        return false;
    end if;
    select array_agg(w.id), array_agg(l.value),
           bool_and((private.is_first_word(l.value) and private.positive(l.value ->> 'qty') > 0 and l.value ->> 'side' in ('buy', 'sell')
                     and l.value ->> 'type' = any (private.order_types())) is true)
           and count(*) = count(distinct l.value ->> 'broker_order_id')
           and bool_and(l.value ->> 'broker_order_id' <> w.b ->> 'broker_order_id')
      into v_parents, v_legs, v_are_plain
    from unnest(p_ids, p_words) w (id, b), jsonb_array_elements(case jsonb_typeof(w.b -> 'legs') when 'array' then w.b -> 'legs' end) l;
    if v_legs is not null and not v_are_plain then
        return false;
    end if;
    perform private.make_legs(v_parents, v_legs);
    update public.orders u
       set state = 'working', broker_order_id = w.b ->> 'broker_order_id', broker_status = w.b ->> 'status',
           broker_request_id = coalesce(w.b ->> 'request_id', u.broker_request_id),
           broker_updated_at = (w.b ->> 'updated_at')::timestamptz, accepted_at = clock_timestamp(),
           reason = coalesce(w.b ->> 'reason', u.reason)
      from unnest(p_ids, p_words) w (id, b)
     where u.id = w.id;
    return true;
end;
$$;

-- Record what came of sending orders; answers what each of them is now. The caller holds the profiles' capital rows.
-- Errors: NOT_FOUND, INVALID, CONFLICT.
create function private.apply_submissions(p_results jsonb[], p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_bad jsonb;
    v_is_known boolean;
    v_ids uuid[];
    v_words jsonb[];
    v_changed uuid[];
    v_answers jsonb := '[]';
begin
    select array_agg(private.as_uuid(r.p ->> 'id')), array_agg((r.p -> 'order') || jsonb_build_object('request_id', r.p ->> 'request_id'))
      into v_ids, v_words
    from unnest(p_results) r (p) where r.p ->> 'outcome' = 'accepted';
    if cardinality(p_results) > 1
       and (not private.are_apart(v_words) or (select count(distinct r.p ->> 'id') < count(*) from unnest(p_results) r (p))) then
        for i in 1 .. cardinality(p_results) loop
            v_answers := v_answers || private.apply_submissions(p_results[i:i], p_shard);
        end loop;
        return v_answers;
    elsif cardinality(v_ids) = cardinality(p_results) and private.accept_sent(v_ids, v_words, p_shard) then
        return (select jsonb_agg(jsonb_build_object('id', i.id, 'state', 'working') order by i.place)
                from unnest(v_ids) with ordinality i (id, place));
    end if;
    select r.p, o.id is not null into v_bad, v_is_known
    from unnest(p_results) with ordinality r (p, place)
    left join public.orders o on o.id = private.as_uuid(r.p ->> 'id') and o.shard = p_shard
    where o.id is null or coalesce(r.p ->> 'outcome', '') not in ('accepted', 'rejected', 'unknown', 'not_sent')
    order by r.place limit 1;
    if v_is_known then
        perform private.fail(422, 'INVALID', format('Outcome %L of order %s is not known.', v_bad ->> 'outcome', v_bad ->> 'id'));
    elsif found then
        perform private.fail(404, 'NOT_FOUND', format('Order %s does not exist in shard %s.', left(v_bad ->> 'id', 60), p_shard));
    end if;
    if v_ids is not null then
        v_changed := private.apply_broker_orders(v_ids, v_words);
    end if;
    if cardinality(v_ids) < cardinality(p_results) is not false or not v_ids <@ v_changed then
        update public.orders u
           set state = case when r.p ->> 'outcome' = 'accepted' then u.state
                            else case r.p ->> 'outcome' when 'rejected' then 'rejected' when 'unknown' then 'unknown'
                                 else case u.purpose when 'entry' then 'canceled' else 'ready' end end::public.order_state end,
               code = case when r.p ->> 'outcome' = 'accepted' then u.code else coalesce(r.p ->> 'code', u.code) end,
               reason = case when r.p ->> 'outcome' = 'accepted' then u.reason else coalesce(left(r.p ->> 'reason', 500), u.reason) end,
               broker_request_id = coalesce(r.p ->> 'request_id', u.broker_request_id)
          from unnest(p_results) r (p)
         where u.id = private.as_uuid(r.p ->> 'id')
           and case r.p ->> 'outcome' when 'accepted' then u.broker_request_id is distinct from coalesce(r.p ->> 'request_id', u.broker_request_id)
                    else u.state in ('submitting', 'unknown') end;
    end if;
    return (select jsonb_agg(jsonb_build_object('id', u.id, 'state', u.state) order by r.place)
            from unnest(p_results) with ordinality r (p, place) join public.orders u on u.id = private.as_uuid(r.p ->> 'id'));
end;
$$;

-- Record what came of sending. accepted: the broker's order; rejected: its definitive no; unknown: ambiguous;
-- not_sent: the permit is handed back. Called by: the engine. Errors: LEASE_LOST, NOT_FOUND, INVALID.
create function public.record_submission(p_shard text, p_token bigint, p_results jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from what is told to the orders, one by one, however many orders there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_results jsonb[];
    v_answers jsonb;
begin
    perform private.check_lease(p_shard, p_token);
    v_results := array(select e.value from jsonb_array_elements(p_results) e);
    perform private.lock_controls(p_exclusive => false);  -- a pause waits for this, or sees what it settles
    perform private.lock_capital_of(array(select private.as_uuid(r.p ->> 'id') from unnest(v_results) r (p)), '{}');
    v_answers := private.apply_submissions(v_results, p_shard);
    perform private.settle_quiescence();
    return coalesce(v_answers, '[]');
end;
$$;

-- An order that took the place of one of ours at the broker becomes an order of its own, with the same purpose,
-- trade and group. One that asks for more than was left, or than there is capital for, nobody has judged, and one
-- whose predecessor had been given up, or was to be cancelled, nobody wants: it is to be cancelled. NULL when something
-- else has taken its place here. The caller holds the profile's capital row.
create function private.take_place(o public.orders, b jsonb)
    returns uuid
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_id uuid := coalesce(private.as_uuid(b ->> 'broker_order_id'), gen_random_uuid());
    v_qty numeric := coalesce(private.positive(b ->> 'qty'), o.qty);
    v_notional numeric := round(v_qty * coalesce(private.price(b ->> 'limit_price'), o.limit_price, o.reference_price, 0), 6);
    v_fits boolean := o.purpose <> 'entry' and o.state = 'replaced';
begin
    if o.purpose = 'entry' and o.state = 'replaced' and o.cancel_requested_at is null and v_qty <= o.qty - o.filled_qty then
        update public.profile_capital c
           set reserved_usd = c.reserved_usd + v_notional, updated_at = clock_timestamp()
         where c.profile_id = o.profile_id and c.reserved_usd + c.used_usd + v_notional <= c.capital_usd;
        v_fits := found;
    end if;
    insert into public.orders (id, owner_id, profile_id, shard, symbol, side, position_side, purpose, qty, order_type, order_class,
        time_in_force, limit_price, stop_price, take_profit_price, stop_loss_price, reference_price, notional_usd, reserved_usd,
        state, reason, exit_reason, signal_id, trade_id, parent_id, broker_order_id, cancel_requested_at, market_at,
        submitted_at, accepted_at, replaces_id)
    values (v_id, o.owner_id, o.profile_id, o.shard, o.symbol, o.side, o.position_side, o.purpose, v_qty,
        case when b ->> 'type' = any (private.order_types()) then b ->> 'type' else o.order_type end, o.order_class, o.time_in_force,
        private.price(b ->> 'limit_price'), private.price(b ->> 'stop_price'), o.take_profit_price, o.stop_loss_price, o.reference_price,
        case when v_fits and o.purpose = 'entry' then v_notional else 0 end, case when v_fits and o.purpose = 'entry' then v_notional else 0 end,
        'working', case when v_fits then 'Took the place of another order at the broker.'
                        else 'Took the place of another order at the broker and was not allowed: it is cancelled.' end,
        o.exit_reason, o.signal_id, o.trade_id, o.parent_id, b ->> 'broker_order_id', case when not v_fits then clock_timestamp() end,
        o.market_at, clock_timestamp(), clock_timestamp(), o.id);
    perform private.follow_leg(v_id);
    return v_id;
exception when unique_violation then
    return null;
end;
$$;

-- Whether trading was not running in an order's scope at some moment since it ended on our side.
create function private.was_paused_since_end(o public.orders)
    returns boolean
    language sql
    stable
    set search_path = ''
as $$
    select exists (select 1 from public.trading_control_history h
                   where h.to_mode <> 'RUNNING' and private.in_scope(h.scope, h.scope_key, o.profile_id, o.symbol)
                     and coalesce(h.ended_at, 'infinity') > coalesce(o.ended_at, o.updated_at));
$$;

-- Put an order on record that lives, or has filled, at the broker although it was over here: in the transaction that
-- finds it, since the engine may die before it can say so. What became of it, its next reconciliation adds.
create function private.note_late(o public.orders, b jsonb, p_after_pause boolean)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_kind text := case when p_after_pause then 'ENTRY_AFTER_PAUSE' else 'LATE_ORDER' end;
    v_now timestamptz := clock_timestamp();
    v_run uuid := (select r.id from public.reconciliation_runs r where r.shard = o.shard order by r.finished_at desc limit 1);
begin
    if v_run is null then  -- the first one has not come to its end
        insert into public.reconciliation_runs (shard, kind, started_at, finished_at, orders_checked, positions_checked, findings)
        values (o.shard, 'incremental', v_now, v_now, 1, 0, 1)
        returning id into v_run;
    end if;
    insert into public.reconciliation_findings (run_id, shard, key, kind, symbol, detail, status, first_seen_at, last_seen_at,
                                                severity, action, advice)
    values (v_run, o.shard, v_kind || ':' || coalesce(b ->> 'client_order_id', o.id::text), v_kind, o.symbol,
            jsonb_build_object('broker_order_id', b ->> 'broker_order_id', 'status', b ->> 'status', 'filled_qty', o.filled_qty::text),
            'open', v_now, v_now, 'critical',
            case when private.is_terminal(private.state_of(b ->> 'status', 0)) then 'It had ended; what it filled was booked and is looked after.'
                 else 'It is being cancelled at the broker.' end,
            'Look at the account: is it cancelled, and what has filled protected?')
    on conflict (shard, key) where status = 'open' do nothing;
end;
$$;

-- A word of the broker's beside the order that it tells of, as we have it; NULL when there is none.
create type private.told_order as (
    place int,
    word  jsonb,
    known public.orders
);

-- Find the orders that words of the broker's tell of, by our id or by the broker's.
create function private.orders_told_of(p_words jsonb[])
    returns private.told_order[]
    language plpgsql
    stable
    security definer
    set search_path = ''
as $$
begin
    return array(
        select row(w.place, w.b, (
            select o from public.orders o
            where o.id = private.as_uuid(w.b ->> 'client_order_id') or o.broker_order_id = w.b ->> 'broker_order_id'
            order by (o.broker_order_id = w.b ->> 'broker_order_id') is true desc limit 1))::private.told_order
        from unnest(p_words) with ordinality w (b, place) order by w.place);
end;
$$;

-- Whether an order that had ended on our side lives at the broker, and the engine has to cancel it, or has filled after
-- its end. What the broker itself has ended does not live again: a word that says so is an old one. `p_old`: the order
-- as it was, or the one whose place it took.
create function private.is_late(p_old public.orders, p_order public.orders, p_filled_before numeric, b jsonb)
    returns boolean
    language sql
    immutable
    set search_path = ''
as $$
    select private.is_terminal(p_old.state) and p_old.state not in ('filled', 'replaced')
       and (not private.is_terminal(private.state_of(b ->> 'status', 0))
            and (p_old.id = p_order.id and p_old.broker_status in ('filled', 'canceled', 'expired', 'rejected')) is not true
            or p_order.filled_qty > p_filled_before);
$$;

-- Take over what the broker says about orders; answers what became of each. The caller holds the profiles' capital rows.
create function private.apply_updates(p_words jsonb[], p_shard text)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
as $$
declare
    v_told private.told_order[] := private.orders_told_of(p_words);
    t private.told_order;
    v_old public.orders;                         -- the one whose place the only word's order took
    v_was public.orders;
    v_now public.orders;
    v_ids uuid[];
    v_words jsonb[];
    v_have_ended boolean;                        -- some had ended here before
    v_changed uuid[];
    v_late uuid[];
    v_after_pause uuid[];
    v_answers jsonb := '[]';
begin
    if cardinality(p_words) > 1
       and (not private.are_apart(p_words) or private.tell_of_growth(p_words)
            or (select count(distinct (k.known).id) < count((k.known).id)
                       or bool_or((k.known).id is null and k.word ->> 'replaces' is not null
                                  or (k.known).purpose <> 'entry' and private.positive(k.word ->> 'qty') > (k.known).qty)
                from unnest(v_told) k)) then
        for i in 1 .. cardinality(p_words) loop
            v_answers := v_answers || private.apply_updates(p_words[i:i], p_shard);
        end loop;
        return v_answers;
    end if;
    t := v_told[1];
    if (t.known).id is null and t.word ->> 'replaces' is not null then
        select o.* into v_old from public.orders o where o.broker_order_id = t.word ->> 'replaces';
        if v_old.shard = p_shard and not private.is_terminal(v_old.state) then
            -- Its predecessor is not known to be over: that one is looked up first.
            return jsonb_build_array(jsonb_build_object('id', null, 'client_order_id', t.word ->> 'client_order_id', 'state', null,
                                                        'changed', false, 'deferred', true));
        elsif v_old.shard = p_shard then
            v_ids := array[private.take_place(v_old, t.word)];
            t.known := (select o from public.orders o where o.id = v_ids[1]);
        else
            t.known := v_old;
        end if;
        v_told := array[t];
    end if;
    select array_agg((k.known).id), array_agg(k.word), bool_or(private.is_terminal(coalesce(v_old.state, (k.known).state)))
      into v_ids, v_words, v_have_ended
    from unnest(v_told) k where (k.known).shard = p_shard;
    if v_ids is not null then
        v_changed := private.apply_broker_orders(v_ids, v_words);
    end if;
    if v_have_ended then
        for t in select k.* from unnest(v_told) k
                 where (k.known).shard = p_shard and private.is_terminal(coalesce(v_old.state, (k.known).state)) loop
            v_was := case when v_old.id is null then t.known else v_old end;
            select o.* into v_now from public.orders o where o.id = (t.known).id;
            if private.is_late(v_was, v_now, (t.known).filled_qty, t.word) then
                v_late := v_late || v_now.id;
                if v_now.purpose = 'entry' and private.was_paused_since_end(v_was) then
                    v_after_pause := v_after_pause || v_now.id;
                end if;
                perform private.note_late(v_now, t.word, v_now.id = any (v_after_pause));
            end if;
        end loop;
    end if;
    return (
        select jsonb_agg(case
            when (k.known).id is null then
                jsonb_build_object('id', null, 'client_order_id', k.word ->> 'client_order_id', 'state', null, 'changed', false)
            when (k.known).shard <> p_shard then  -- another engine's in the same account: known, and that engine's to record
                jsonb_build_object('id', (k.known).id, 'state', (k.known).state, 'changed', false, 'late', false)
            else jsonb_build_object('id', o.id, 'state', o.state, 'changed', o.id in (select unnest(v_changed)),
                                    'late', coalesce(o.id = any (v_late), false),
                                    'after_pause', coalesce(o.id = any (v_after_pause), false)) end order by k.place)
        from unnest(v_told) k left join public.orders o on o.id = (k.known).id);
end;
$$;

-- Take over the broker's view of orders; sent twice or out of order it changes nothing more.
-- Called by: the engine. Errors: LEASE_LOST.
create function public.record_order_updates(p_shard text, p_token bigint, p_updates jsonb)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = ''
    set plan_cache_mode = force_generic_plan  -- to plan afresh costs more than to run
    set enable_seqscan = off  -- from what is told to the orders, one by one, however many orders there are
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    v_words jsonb[];
    v_answers jsonb;
begin
    perform private.check_lease(p_shard, p_token);
    v_words := array(select e.value from jsonb_array_elements(p_updates) e);
    perform private.lock_controls(p_exclusive => false);  -- a pause waits for this, or sees what it settles
    perform private.lock_capital_of(
        array(select private.as_uuid(w.b ->> 'client_order_id') from unnest(v_words) w (b)),
        array(select r.id from unnest(v_words) w (b)
              cross join lateral (values (w.b ->> 'broker_order_id'), (w.b ->> 'replaces')) r (id)));
    v_answers := private.apply_updates(v_words, p_shard);
    perform private.settle_quiescence();
    return coalesce(v_answers, '[]');
end;
$$;

revoke execute on function public.claim_orders(text, bigint, int, text) from public, anon, authenticated;
revoke execute on function public.record_submission(text, bigint, jsonb) from public, anon, authenticated;
revoke execute on function public.record_order_updates(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.claim_orders(text, bigint, int, text) to service_role;
grant execute on function public.record_submission(text, bigint, jsonb) to service_role;
grant execute on function public.record_order_updates(text, bigint, jsonb) to service_role;
comment on function public.claim_orders(text, bigint, int, text) is 'Issue permits to send; entries only while RUNNING. Engine only.';
comment on function public.record_submission(text, bigint, jsonb) is 'Record what came of sending each order. Engine only.';
comment on function public.record_order_updates(text, bigint, jsonb) is 'Take over the broker''s view, monotone and idempotent. Engine only.';
