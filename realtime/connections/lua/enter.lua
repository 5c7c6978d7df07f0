--[[
  Writes a user's connection down, or says that it is still there, and names the oldest ones beyond the limit, which are
  taken out. Members are <microseconds since the epoch, 20 digits>:<instance>:<socket id>, so that they sort by age; scores
  are when each was last heard of, so that those of an instance that vanished fade away. Those of one that died are not
  waited for: it listens to its own channel no more.

  KEYS[1] sorted set of the user's connections
  ARGV[1] instance   ARGV[2] socket id   ARGV[3] its member, '' at first   ARGV[4] limit   ARGV[5] lifetime, ms
  ARGV[6] prefix of the instances' channels
  Returns {member, socket id to close, ...}
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local member = ARGV[3]
if member == '' then member = string.format('%010d%010d:%s:%s', time[1], time[2], ARGV[1], ARGV[2]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[5]))
redis.call('ZADD', KEYS[1], now, member)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
local reply = {member}
if redis.call('ZCARD', KEYS[1]) <= tonumber(ARGV[4]) then return reply end

local living = {}
for _, other in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local instance = string.match(other, '^%d+:([^:]*):') or ''
  local alive = instance == ARGV[1] or redis.call('PUBSUB', 'NUMSUB', ARGV[6] .. instance)[2] > 0
  if alive then living[#living + 1] = other else redis.call('ZREM', KEYS[1], other) end
end
table.sort(living)
for i = 1, #living - tonumber(ARGV[4]) do
  redis.call('ZREM', KEYS[1], living[i])
  reply[#reply + 1] = string.match(living[i], '[^:]*$')
end
return reply
