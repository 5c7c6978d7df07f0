--[[
  Lets a name be tried from a few unknown addresses a minute. Addresses are counted and not attempts, so that one guesser
  cannot use up the share of the others; an address from which the name has signed in lately is not asked.

  KEYS[1] addresses that try the name, by the time of their last attempt   KEYS[2] there when the address is known
  ARGV[1] the address   ARGV[2] most addresses
  Returns 0, or how long to wait, ms
]]
local MINUTE = 60000
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - MINUTE)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return math.max(1, tonumber(first[2]) + MINUTE - now)
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], MINUTE)
return 0
