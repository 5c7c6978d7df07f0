--[[
  Keeps what is known of a user, newest wins: a slow reader of Postgres cannot bring back what was true before a ban.

  KEYS[1] the user's hash
  ARGV[1] revision (rises with every change of the row)   ARGV[2] JSON, '' for a user that is gone   ARGV[3] lifetime, seconds
]]
local known = redis.call('HGET', KEYS[1], 'revision')
if known and tonumber(known) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'profile', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
