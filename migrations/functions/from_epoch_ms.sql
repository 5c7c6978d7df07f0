create or replace function from_epoch_ms(ms bigint) returns timestamptz language sql immutable parallel safe as $$
  select (timestamp '1970-01-01 00:00:00' + ms * interval '1 millisecond') at time zone 'UTC'
$$;
