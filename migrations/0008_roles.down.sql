drop function if exists clear_audit_addresses(integer, integer);
-- The functions of the version before are to be applied again.
drop table if exists function_set;
