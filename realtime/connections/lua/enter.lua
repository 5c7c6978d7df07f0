--[[
  Writes connections down, or says that they are still there, and names the oldest ones of a user beyond the limit, which are
  taken out. Members are <microseconds since the epoch, 20 digits>:<instance>:<socket id>, so that they sort by age; scores
  are when each was last heard of, so that those of an instance that vanished fade away. Those of one that died are not
  waited for: it listens to its own channel no more.

  KEYS[i] sorted set of the connections of the i-th one's user
  ARGV[1] instance   ARGV[2] limit   ARGV[3] lifetime, ms   ARGV[4] prefix of the instances' channels
  ARGV[3 + 2i] socket id of the i-th   ARGV[4 + 2i] its member, '' at first
  Returns for each of them {member, socket id to close, ...}; nothing if it has its member and nobody is to be closed
]]
local instance, limit, lifetime, channels = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function isAlive(member)
  local other = string.match(member, '^%d+:([^:]*):') or ''
  return other == instance or redis.call('PUBSUB', 'NUMSUB', channels .. other)[2] > 0
end

local function enter(key, socket, member)
  local isNew = member == ''
  if isNew then member = string.format('%010d%010d:%s:%s', time[1], time[2], instance, socket) end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - lifetime)
  redis.call('ZADD', key, now, member)
  redis.call('PEXPIRE', key, lifetime)
  local tooMany = redis.call('ZCARD', key) > limit
  if not (isNew or tooMany) then return {} end
  local reply = {member}
  if not tooMany then return reply end

  local living = {}
  for _, other in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    if isAlive(other) then living[#living + 1] = other else redis.call('ZREM', key, other) end
  end
  table.sort(living)
  for i = 1, #living - limit do
    redis.call('ZREM', key, living[i])
    reply[#reply + 1] = string.match(living[i], '[^:]*$')
  end
  return reply
end

local replies = {}
for i, key in ipairs(KEYS) do replies[i] = enter(key, ARGV[3 + 2 * i], ARGV[4 + 2 * i]) end
return replies
