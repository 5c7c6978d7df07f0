--[[
  A page of a board, in rank order, with the version that it belongs to.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] offset   ARGV[2] limit (0 = none)
  Returns {version, total, updated at ms, member, -score, ...}, or {} when the board is not complete
]]
local version = redis.call('HGET', KEYS[2], '~v')
if not version or not redis.call('ZSCORE', KEYS[1], '~') then return {} end
local total = redis.call('ZCARD', KEYS[1]) - 1
local reply = {version, total, redis.call('HGET', KEYS[2], '~u') or '0'}
local first = tonumber(ARGV[1])
local last = math.min(first + tonumber(ARGV[2]), total) - 1
if last >= first then
  local page = redis.call('ZRANGE', KEYS[1], first, last, 'WITHSCORES')
  for i = 1, #page do reply[i + 3] = page[i] end
end
return reply
