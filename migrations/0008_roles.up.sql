-- The tiers may run as a role that can only add to the audit log, see grants.ts. Retention takes addresses out of it by this
-- function, whose body is in functions/.
create function clear_audit_addresses(days integer, most integer) returns integer language plpgsql as $$ begin return 0; end $$;
