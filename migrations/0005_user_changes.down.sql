drop trigger if exists user_deletions_are_noted on users;
drop trigger if exists user_changes_are_noted on users;
drop trigger if exists users_are_stamped on users;
drop function if exists note_user_change();
drop function if exists stamp_user_change();
drop table if exists user_changes;
alter table users drop column if exists token_epoch, drop column if exists revision;
drop sequence if exists users_revision;
