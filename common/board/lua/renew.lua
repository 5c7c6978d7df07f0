--[[
  Raises a complete board's version above every one that was handed out before, and tells its watchers to read it anew: a
  Redis that came back without its last writes would otherwise give old numbers to new standings.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] now, ms   ARGV[2] channel   ARGV[3] board as JSON fields
  Returns 1, or 0 when the board is not complete
]]
local version = redis.call('HGET', KEYS[2], '~v')
if not version or not redis.call('ZSCORE', KEYS[1], '~') then return 0 end
version = string.format('%.0f', math.max(tonumber(version) + 1, tonumber(ARGV[1])))
redis.call('HSET', KEYS[2], '~v', version)
redis.call('PUBLISH', ARGV[2], string.format('{%s,"version":%s,"at":%s,"reset":true}', ARGV[3], version, ARGV[1]))
return 1
