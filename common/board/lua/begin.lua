--[[
  Begins to make a board again, from nothing: what was left of it may hold entries that nobody would correct. An attempt of
  A rebuild of another worker goes on, unless it has been silent for a while; the caller's own ends.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] who makes it, a name that `load` and `complete` must repeat   ARGV[2] when the keys expire, ms (0 = never)
  ARGV[3] how long an attempt that loads nothing is waited for, s
  Returns 1, or 0 when the board is complete already, or being made by somebody else
]]
local ranked, members = KEYS[1], KEYS[2]
if redis.call('ZSCORE', ranked, '~') and redis.call('HEXISTS', members, '~v') == 1 then return 0 end
local now = redis.call('TIME')[1]
local maker, heard = unpack(redis.call('HMGET', members, '~b', '~t'))
if maker and maker ~= ARGV[1] and math.abs(now - heard) < tonumber(ARGV[3]) then return 0 end
redis.call('UNLINK', ranked, members)
redis.call('HSET', members, '~b', ARGV[1], '~t', now)
if ARGV[2] ~= '0' then redis.call('PEXPIREAT', members, ARGV[2]) end
return 1
