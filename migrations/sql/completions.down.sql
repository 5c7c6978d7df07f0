drop function if exists record_ranks(jsonb);
drop function if exists record_acceptance(jsonb);
drop function if exists apply_completions(jsonb);
drop function if exists index_rows(text[], integer[]);
drop function if exists lock_users(text[]);
drop function if exists from_epoch_ms(bigint);
drop function if exists epoch_ms(timestamptz);
drop function if exists period_end(text, timestamptz);
drop function if exists period_start(text, timestamptz);
