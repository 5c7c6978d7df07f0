--[[
  Decides in one step whether a request is let in, and takes note of it only if it is.

  Each subject (a user, an IP) has a list of its last admissions, newest first, in ms: a request fits when the list's
  limit-th entry is older than a minute. That is a true sliding window: never more than the limit in any 60 s.

  KEYS[1] the action's key   KEYS[2] the user's open actions   KEYS[3] the global bucket
  KEYS[4 + 4i ...] per subject: admissions, refusals, block, block level; several subjects may share the last three
  The last key, in mode signed: the user's last client-signed completion of the type
  ARGV[1] mode: complete | signed | start | other   ARGV[2] action id   ARGV[3] most open actions
  ARGV[4] the action's expiry, ms from now (start), or how long it may be under way, ms (complete)
  ARGV[5] global rate, a second (0 = none)   ARGV[6] the time, ms since the epoch ('' = Redis's own clock)
  ARGV[7] when the token expires   ARGV[8] when the minimum duration is over   ARGV[9] when the board opens
  ARGV[10] when it closes: ms since the epoch, 0 = never
  ARGV[11] signed: least time between two of the type, ms (0 = none)   ARGV[12] when Postgres saw the last one (0 = never)
  ARGV[13 + 2i ...] per subject: limit a minute (0 = none), refusals a minute that block (0 = never)
  Returns {'ok', now ms, (remaining, reset ms) per subject}
    or {'expired'} | {'early'} | {'closed'} | {'fast', retry ms}
    | {'known', value of the action's key} | {'limited', subject, retry ms} | {'blocked', subject, retry ms}
    | {'open', retry ms} | {'busy', retry ms}
]]
local MINUTE = 60000
local HOUR = 3600000
local mode = ARGV[1]
local subjects = (#ARGV - 12) / 2
local now = tonumber(ARGV[6])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end

-- A Redis that took over may have a clock that is behind: what it finds noted in its future counts as now, or its users would
-- wait for as long as the clocks differ.
local AHEAD = 1000
local function put_right(key)
  for at, noted in ipairs(redis.call('LRANGE', key, 0, -1)) do
    if tonumber(noted) > now + AHEAD then redis.call('LSET', key, at - 1, now) end
  end
end

-- How long until one more fits, in ms; 0 when it fits now.
local function wait_for(key, limit)
  local oldest = redis.call('LINDEX', key, limit - 1)
  if not oldest then return 0 end
  if tonumber(oldest) > now + AHEAD then
    put_right(key)
    oldest = now
  end
  return math.max(0, tonumber(oldest) + MINUTE - now)
end

-- How many of a list's entries are within the minute (the newest come first): nearly always all, so that the oldest is asked
-- first.
local function count_recent(key, length)
  local low, high = 0, length
  local at = high - 1
  while low < high do
    if tonumber(redis.call('LINDEX', key, at)) > now - MINUTE then low = at + 1 else high = at end
    at = math.floor((low + high) / 2)
  end
  return low
end

-- Takes note of one more. Returns how many entries there are now, at most the limit.
local function note(key, limit)
  local length = redis.call('LPUSH', key, now)
  if length > limit then
    redis.call('LTRIM', key, 0, limit - 1)
    length = limit
  end
  redis.call('PEXPIRE', key, MINUTE)
  return length
end

local expires, opens, closes = tonumber(ARGV[7]), tonumber(ARGV[9]), tonumber(ARGV[10])
if expires > 0 and now >= expires then return {'expired'} end

if mode == 'complete' or mode == 'signed' then
  local known = redis.call('GET', KEYS[1])
  if known then return {'known', known} end
end

if now < opens then return {'early'} end
if closes > 0 and now >= closes then return {'closed'} end

local earliest, spacing = tonumber(ARGV[8]), tonumber(ARGV[11])
if mode == 'signed' and spacing > 0 then
  local at, id = string.match(redis.call('GET', KEYS[#KEYS]) or '', '^(%d+) (.+)$')
  local last = math.max(tonumber(at) or 0, tonumber(ARGV[12]))
  -- The same one again is no other: its answer may have been lost.
  if last > 0 and id ~= ARGV[2] then earliest = math.min(last, now) + spacing end
end
if now < earliest then return {'fast', earliest - now} end

for i = 0, subjects - 1 do
  local left = (tonumber(redis.call('GET', KEYS[6 + 4 * i])) or now) - now
  if left > 0 then return {'blocked', i, math.max(1, math.min(left, redis.call('PTTL', KEYS[6 + 4 * i])))} end
end

for i = 0, subjects - 1 do
  local limit, block_after = tonumber(ARGV[13 + 2 * i]), tonumber(ARGV[14 + 2 * i])
  local wait = limit > 0 and wait_for(KEYS[4 + 4 * i], limit) or 0
  if wait > 0 then
    if block_after > 0 then
      local refusals = KEYS[5 + 4 * i]
      if note(refusals, block_after) == block_after and wait_for(refusals, block_after) > 0 then
        local level = redis.call('INCR', KEYS[7 + 4 * i])
        local length = math.min(MINUTE * 2 ^ (level - 1), HOUR)
        redis.call('PEXPIRE', KEYS[7 + 4 * i], length + HOUR)
        redis.call('SET', KEYS[6 + 4 * i], now + length, 'PX', length)
        redis.call('DEL', refusals)
        return {'blocked', i, length}
      end
    end
    return {'limited', i, wait}
  end
end

if mode == 'start' or mode == 'signed' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then
    local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    return {'open', math.max(1, tonumber(first[2]) - now)}
  end
end

local rate = tonumber(ARGV[5])
if rate > 0 then
  local bucket = redis.call('HMGET', KEYS[3], 'tokens', 'at')
  local tokens = math.min(2 * rate, (tonumber(bucket[1]) or 2 * rate) + math.max(0, now - (tonumber(bucket[2]) or now)) * rate / 1000)
  if tokens < 1 then return {'busy', math.ceil((1 - tokens) * 1000 / rate)} end
  redis.call('HSET', KEYS[3], 'tokens', tostring(tokens - 1), 'at', now)
  redis.call('PEXPIRE', KEYS[3], 10000)
end

local reply = {'ok', now}
for i = 0, subjects - 1 do
  local key, limit = KEYS[4 + 4 * i], tonumber(ARGV[13 + 2 * i])
  if limit > 0 then
    local remaining = limit - count_recent(key, note(key, limit))
    reply[#reply + 1] = remaining
    reply[#reply + 1] = remaining > 0 and MINUTE or wait_for(key, limit)
  else
    reply[#reply + 1] = -1
    reply[#reply + 1] = 0
  end
end
if mode == 'start' then
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[2])
  redis.call('PEXPIRE', KEYS[2], HOUR)
elseif mode == 'complete' or mode == 'signed' then
  redis.call('SET', KEYS[1], 'pending', 'PX', ARGV[4])
end
if mode == 'signed' then
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[2])
  redis.call('PEXPIRE', KEYS[2], HOUR)
  if spacing > 0 then redis.call('SET', KEYS[#KEYS], string.format('%.0f %s', now, ARGV[2]), 'PX', spacing) end
end
return reply
