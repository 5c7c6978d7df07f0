#!/bin/sh
# The role under which the tiers run, with the password POSTGRES_APP_PASSWORD. Makes it, or changes its password: repeat it as you like.
# `laurel migrate` gives it its rights (DATABASE_APP_ROLE).
set -eu
psql --quiet --set=ON_ERROR_STOP=1 --set=password="$POSTGRES_APP_PASSWORD" \
  --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
select 'create role laurel_app' where not exists (select from pg_roles where rolname = 'laurel_app') \gexec
alter role laurel_app login password :'password';
SQL
