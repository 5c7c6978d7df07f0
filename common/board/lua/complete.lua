--[[
  Declares a board complete, after all its rows were loaded, and announces it to its watchers.
  A lost version starts again at the clock, in milliseconds: higher than any that was counted up from an earlier clock.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] now, ms   ARGV[2] when the keys expire, ms (0 = never)   ARGV[3] channel   ARGV[4] board as JSON fields
  Returns 1 when the board was not complete before, else 0
]]
local ranked, members = KEYS[1], KEYS[2]
if redis.call('ZSCORE', ranked, '~') and redis.call('HEXISTS', members, '~v') == 1 then return 0 end
redis.call('ZADD', ranked, 'inf', '~')
redis.call('HSETNX', members, '~v', ARGV[1])
redis.call('HSET', members, '~u', ARGV[1])
if ARGV[2] ~= '0' then
  redis.call('PEXPIREAT', ranked, ARGV[2])
  redis.call('PEXPIREAT', members, ARGV[2])
end
redis.call('PUBLISH', ARGV[3], string.format('{%s,"version":%s,"at":%s,"reset":true}', ARGV[4], redis.call('HGET', members, '~v'), ARGV[1]))
return 1
