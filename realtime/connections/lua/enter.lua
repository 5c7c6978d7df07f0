--[[
  Writes a user's connection down, or says that it is still there, and names the oldest ones beyond the limit, which are
  taken out. Members are <microseconds since the epoch, 20 digits>:<socket id>, so that they sort by age; scores are when
  each was last heard of, so that those of an instance that died fade away.

  KEYS[1] sorted set of the user's connections
  ARGV[1] socket id   ARGV[2] its member, '' at first   ARGV[3] limit   ARGV[4] lifetime, ms
  Returns {member, socket id to close, ...}
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local member = ARGV[2]
if member == '' then member = string.format('%010d%010d:%s', time[1], time[2], ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[4]))
redis.call('ZADD', KEYS[1], now, member)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local reply = {member}
local beyond = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3])
if beyond > 0 then
  local members = redis.call('ZRANGE', KEYS[1], 0, -1)
  table.sort(members)
  for i = 1, beyond do
    redis.call('ZREM', KEYS[1], members[i])
    reply[#reply + 1] = string.sub(members[i], 22)
  end
end
return reply
