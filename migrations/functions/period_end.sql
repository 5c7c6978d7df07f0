-- The first instant after the period that starts at an instant; null for 'all'.
create or replace function period_end(period text, starts_at timestamptz) returns timestamptz language sql immutable parallel safe as $$
  select case period
    when 'daily' then (starts_at at time zone 'UTC' + interval '1 day') at time zone 'UTC'
    when 'weekly' then (starts_at at time zone 'UTC' + interval '7 days') at time zone 'UTC'
    when 'monthly' then (starts_at at time zone 'UTC' + interval '1 month') at time zone 'UTC'
  end
$$;
