--[[
  Remembers the highest place that users have entered on a board, and says who entered it for the first time.

  KEYS[1] hash, user id -> best threshold so far
  ARGV[1] when the key expires, ms (0 = never)   ARGV[2...] per entry: user id, threshold (100, 10, 3 or 1)
  Returns 1 or 0 for each entry, in order
]]
local reply = {}
for i = 2, #ARGV, 2 do
  local best = tonumber(redis.call('HGET', KEYS[1], ARGV[i]))
  local first = not best or tonumber(ARGV[i + 1]) < best
  if first then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
  reply[#reply + 1] = first and 1 or 0
end
if ARGV[1] ~= '0' then redis.call('PEXPIREAT', KEYS[1], ARGV[1]) end
return reply
