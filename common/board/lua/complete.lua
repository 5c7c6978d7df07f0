--[[
  Declares a board complete, after all its rows were loaded, and announces it to its watchers. Its version starts at the
  clock, in milliseconds: higher than any that was counted up from an earlier clock.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] the attempt that `begin` named   ARGV[2] now, ms   ARGV[3] when the keys expire, ms (0 = never)
  ARGV[4] channel   ARGV[5] board as JSON fields
  Returns 1, or 0 when this attempt is over
]]
local ranked, members = KEYS[1], KEYS[2]
if redis.call('HGET', members, '~b') ~= ARGV[1] then return 0 end
redis.call('HDEL', members, '~b', '~t')
redis.call('ZADD', ranked, 'inf', '~')
redis.call('HSET', members, '~v', ARGV[2], '~u', ARGV[2])
if ARGV[3] ~= '0' then
  redis.call('PEXPIREAT', ranked, ARGV[3])
  redis.call('PEXPIREAT', members, ARGV[3])
end
redis.call('PUBLISH', ARGV[4], string.format('{%s,"version":%s,"at":%s,"reset":true}', ARGV[5], ARGV[2], ARGV[2]))
return 1
