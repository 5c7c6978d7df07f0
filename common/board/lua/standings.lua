--[[
  Where some users stand on a board; of one user, with neighbours.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] neighbours on each side   ARGV[2...] user ids
  Returns {version, total, n, rank, -score, reached_at, ... (n users; 0-based rank, -1 for none),
    first neighbour's rank, member, -score, ...}, or {} when the board is not complete
]]
local version = redis.call('HGET', KEYS[2], '~v')
if not version or not redis.call('ZSCORE', KEYS[1], '~') then return {} end
local total = redis.call('ZCARD', KEYS[1]) - 1
local reply = {version, total, #ARGV - 1}
local rank
for i = 2, #ARGV do
  local reached = redis.call('HGET', KEYS[2], ARGV[i])
  rank = reached and redis.call('ZRANK', KEYS[1], reached .. ARGV[i])
  reply[#reply + 1] = rank or -1
  reply[#reply + 1] = rank and redis.call('ZSCORE', KEYS[1], reached .. ARGV[i]) or '0'
  reply[#reply + 1] = reached or ''
end
local neighbours = tonumber(ARGV[1])
if rank and neighbours > 0 then
  local first = math.max(0, rank - neighbours)
  local page = redis.call('ZRANGE', KEYS[1], first, math.min(rank + neighbours, total - 1), 'WITHSCORES')
  reply[#reply + 1] = first
  for i = 1, #page do reply[#reply + 1] = page[i] end
end
return reply
