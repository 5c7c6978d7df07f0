-- The start of the period that holds an instant (UTC; weeks are ISO weeks). 'all' starts at the epoch.
create or replace function period_start(period text, at timestamptz) returns timestamptz language sql immutable parallel safe as $$
  select case period
    when 'all' then timestamptz '1970-01-01 00:00:00+00'
    when 'daily' then date_trunc('day', at at time zone 'UTC') at time zone 'UTC'
    when 'weekly' then date_trunc('week', at at time zone 'UTC') at time zone 'UTC'
    when 'monthly' then date_trunc('month', at at time zone 'UTC') at time zone 'UTC'
  end
$$;
