-- Milliseconds since the epoch, as clients and Redis count time. In UTC throughout: only then is the body immutable, and only
-- then does Postgres put it in place of each call, which is many times cheaper.
create or replace function epoch_ms(at timestamptz) returns bigint language sql immutable parallel safe as $$
  -- date_part counts in double precision, which holds milliseconds exactly for 285,000 years; extract counts in numeric. Later
  -- times than a client can hold are the last one that it can; what has no beginning is the first of our era.
  select case
    when at > timestamptz '275760-09-12 00:00:00+00' then 8640000000000000
    when at = timestamptz '-infinity' then -62135596800000
    else (date_part('epoch', at at time zone 'UTC') * 1000)::bigint
  end
$$;
