-- The rules of Supabase's database linter that a catalogue can answer, and some of our own; one row per finding.
-- The API exposes the schema `public` to the roles anon, authenticated and service_role.

with relations as (
    select c.oid, c.relname::text as name, c.relkind, c.relrowsecurity, c.reloptions,
           has_table_privilege('anon', c.oid, 'select') or has_any_column_privilege('anon', c.oid, 'select') as anon_reads,
           has_table_privilege('authenticated', c.oid, 'select') or has_any_column_privilege('authenticated', c.oid, 'select') as user_reads
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
), tables as (
    select * from relations where relkind in ('r', 'p')
), policies as (
    select p.tablename::text as name, p.policyname, p.permissive, p.cmd, p.roles, coalesce(p.qual, '') || ' ' || coalesce(p.with_check, '') as rule,
           p.qual, p.with_check
    from pg_policies p where p.schemaname = 'public'
), routines as (
    select p.oid, p.oid::regprocedure::text as name, n.nspname, p.prosecdef, p.proconfig, p.proowner
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('public', 'private') and p.prokind in ('f', 'p')
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
), references_out as (
    select k.oid, k.conrelid, k.confrelid, k.conname, k.conkey, k.confkey, r.relname::text as name
    from pg_constraint k join pg_class r on r.oid = k.conrelid
    where k.contype = 'f' and r.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
)
select 'unindexed_foreign_keys' as rule, f.name || '.' || f.conname as object
from references_out f
where not exists (
    select from pg_index i
    where i.indrelid = f.conrelid and i.indisvalid
      and (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey
      and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) ~ '^\(\w+ IS NOT NULL\)$'))

union all
select 'auth_users_exposed', r.name
from relations r
where r.relkind in ('v', 'm') and (r.anon_reads or r.user_reads)
  and exists (select from pg_depend d join pg_rewrite w on w.oid = d.objid
              where w.ev_class = r.oid and d.refobjid = to_regclass('auth.users'))

union all
-- A function of the caller, in a policy, is called once per row unless it stands in a sub-select of its own.
select 'auth_rls_initplan', p.name || ': ' || p.policyname
from policies p
where regexp_replace(p.rule, '\( SELECT [a-z_.]+\([^()]*\) AS \w+\)', '', 'gi') ~ '(auth\.|private\.|current_setting)\w*\s*\('

union all
select 'no_primary_key', t.name
from tables t where not exists (select from pg_constraint k where k.conrelid = t.oid and k.contype = 'p')

union all
select 'multiple_permissive_policies', p.name || ': ' || string_agg(p.policyname, ', ' order by p.policyname)
from policies p
cross join lateral unnest(p.roles) r (role)
cross join lateral unnest(case p.cmd when 'ALL' then array['SELECT', 'INSERT', 'UPDATE', 'DELETE'] else array[p.cmd] end) c (cmd)
where p.permissive = 'PERMISSIVE'
group by p.name, r.role, c.cmd having count(*) > 1

union all
select 'policy_exists_rls_disabled', t.name
from tables t where not t.relrowsecurity and exists (select from policies p where p.name = t.name)

union all
select 'rls_disabled_in_public', t.name from tables t where not t.relrowsecurity

union all
select 'rls_enabled_no_policy', t.name
from tables t where t.relrowsecurity and not exists (select from policies p where p.name = t.name)

union all
select 'duplicate_index', string_agg(i.indexrelid::regclass::text, ', ' order by i.indexrelid::regclass::text)
from pg_index i join pg_class c on c.oid = i.indrelid
where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
group by i.indrelid, i.indkey::text, i.indclass::text, i.indoption::text,
         pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid) having count(*) > 1

union all
select 'security_definer_view', r.name
from relations r
where r.relkind = 'v' and not coalesce(r.reloptions && array['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)

union all
-- Not found: small private helpers in SQL that run with the caller's rights and do not write. The planner puts
-- their text in place of the call, which a search_path of their own would prevent; who calls them has set one.
select 'function_search_path_mutable', f.name
from routines f join pg_proc p on p.oid = f.oid
where not (f.nspname = 'private' and not f.prosecdef and p.provolatile <> 'v'
           and p.prolang = (select l.oid from pg_language l where l.lanname = 'sql'))
  and not exists (select from unnest(f.proconfig) s (setting) where s.setting like 'search_path=%')

union all
-- Stricter: what runs with its owner's rights looks up nothing by search path at all.
select 'definer_search_path_not_empty', f.name
from routines f where f.prosecdef and not coalesce('search_path=""' = any (f.proconfig), false)

union all
select 'definer_owned_by_superuser', f.name
from routines f join pg_roles r on r.oid = f.proowner where f.prosecdef and r.rolsuper

union all
select 'extension_in_public', e.extname::text from pg_extension e where e.extnamespace = 'public'::regnamespace

union all
-- A user may change its own user_metadata.
select 'rls_references_user_metadata', p.name || ': ' || p.policyname
from policies p where p.rule ~* 'user_metadata'

union all
select 'materialized_view_in_api', r.name from relations r where r.relkind = 'm' and (r.anon_reads or r.user_reads)

union all
select 'foreign_table_in_api', r.name from relations r where r.relkind = 'f' and (r.anon_reads or r.user_reads)

union all
-- These cannot be carried over to another major version of Postgres.
select 'unsupported_reg_types', t.name || '.' || a.attname
from tables t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
where a.atttypid in ('regcollation'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype, 'regnamespace'::regtype,
                     'regoper'::regtype, 'regoperator'::regtype, 'regproc'::regtype, 'regprocedure'::regtype)

union all
-- Only the primary keys of the auth schema are promised to stay.
select 'fkey_to_auth_unique', f.name || '.' || f.conname
from references_out f join pg_class r on r.oid = f.confrelid
where r.relnamespace = to_regnamespace('auth')
  and not exists (select from pg_constraint k where k.conrelid = f.confrelid and k.contype = 'p' and k.conkey = f.confkey)

union all
select 'sensitive_columns_exposed', r.name || '.' || a.attname
from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
where a.attname ~* '(passw|secret|api_?key|private_?key|access_token|refresh_token|jwt|credit_card|ssn$|iban)'

union all
select 'rls_policy_always_true', p.name || ': ' || p.policyname
from policies p
where p.permissive = 'PERMISSIVE' and (coalesce(p.qual, 'true') in ('true', '(1 = 1)') and p.cmd <> 'INSERT'
                                       or coalesce(p.with_check, '') in ('true', '(1 = 1)'))

union all
select 'anon_table_exposed', r.name from relations r where r.anon_reads

union all
select 'anon_function_executable', f.name
from routines f where has_function_privilege('anon', f.oid, 'execute')

union all
select 'public_function_executable', f.name
from routines f
where exists (select from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
              where p.oid = f.oid and a.grantee = 0)

union all
select 'authenticated_definer_function_executable', f.name
from routines f where f.nspname = 'public' and f.prosecdef and has_function_privilege('authenticated', f.oid, 'execute')

union all
-- What is private is reached through functions only.
select 'private_table_granted', c.relname
from pg_class c cross join unnest(array['anon', 'authenticated', 'service_role']) r (role)
where c.relnamespace = 'private'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
  and has_table_privilege(r.role, c.oid, 'select, insert, update, delete, truncate')

union all
select 'client_role_writes', r.name || ' by ' || w.role
from relations r cross join unnest(array['anon', 'authenticated', 'service_role']) w (role)
where has_table_privilege(w.role, r.oid, 'insert, update, delete, truncate, references, trigger')

union all
-- Text put together and executed: what comes from outside could become part of it.
select 'dynamic_sql', f.name
from routines f join pg_proc p on p.oid = f.oid
where regexp_replace(p.prosrc, '--[^\n]*|''[^'']*''', '', 'g') ~* '\mexecute\M'

order by 1, 2
