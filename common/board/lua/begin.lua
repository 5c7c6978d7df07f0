--[[
  Begins to make a board again, from nothing: what was left of it may hold entries that nobody would correct.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] a name for this attempt, that `load` and `complete` must repeat   ARGV[2] when the keys expire, ms (0 = never)
  Returns 1, or 0 when the board is complete already
]]
local ranked, members = KEYS[1], KEYS[2]
if redis.call('ZSCORE', ranked, '~') and redis.call('HEXISTS', members, '~v') == 1 then return 0 end
redis.call('UNLINK', ranked, members)
redis.call('HSET', members, '~b', ARGV[1])
if ARGV[2] ~= '0' then redis.call('PEXPIREAT', members, ARGV[2]) end
return 1
