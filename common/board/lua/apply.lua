--[[
  Puts scores into a board, absolute and newest-wins, and tells watchers when its top 10 changed.

  The ranked set holds -score under the member <reached_at, 12 hex digits of ms><user id>, so that Redis's own order
  (score, then bytes) is Laurel's: score descending, who reached it first, user id. The members hash maps a user id to
  the 12 digits. The member '~' at +inf and the hash field '~v' (the board's version) stand only in a complete board.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] now, ms   ARGV[2] when the keys expire, ms (0 = never)   ARGV[3] channel of board events
  ARGV[4] board as JSON fields, put into the event   ARGV[5] '1' = overwrite whatever stands there (repair)
  ARGV[6] steps, made one after the other, and ARGV[7] the rest, each user once, made together where that can be: changes
    as JSON, three lists of equal length: user ids, -score as a string, reached_at (12 hex digits; '' removes the user). A
    score of 'stray' removes the member of that user and time, unless it is the user's own (old rank 0 = it was removed)
  ARGV[8] how many places at the top are near it: of the rest, who comes there is told the ranks, and nobody else (as long as
    none of them sinks out of it)
  Returns {ready 0|1, (old rank, new rank) for each step, (place in the rest, old rank, new rank) for each that is told},
    all counted from 0, a rank of -1 for none
]]
local ranked, members = KEYS[1], KEYS[2]
local force = ARGV[5] == '1'
-- Lua unpacks fewer than 8,000 values, and some commands take two for a row.
local ROWS_A_COMMAND = 3900

local function top()
  local flat = redis.call('ZRANGE', ranked, 0, 9, 'WITHSCORES')
  if flat[#flat - 1] == '~' then
    flat[#flat] = nil
    flat[#flat] = nil
  end
  return flat
end

local version = redis.call('HGET', members, '~v')
local ready = version and redis.call('ZSCORE', ranked, '~')
local before = ready and top()
local last = ready and redis.call('ZRANGE', ranked, ARGV[8] - 1, ARGV[8] - 1, 'WITHSCORES') or {}
local reply = {ready and 1 or 0}
local moves = {}

-- With fewer users than that, everyone is near the top.
local is_small = not last[1] or last[1] == '~'
local last_score, last_reached = tonumber(last[2]), last[1] and string.sub(last[1], 1, 12)

-- Whether an entry may come near the top. Entries that arrive meanwhile only make that harder.
local function is_near_top(score, reached)
  if is_small then return true end
  score = tonumber(score)
  return score < last_score or score == last_score and reached <= last_reached
end

local function step(user, score, reached)
  local old = redis.call('HGET', members, user)
  local old_rank = old and redis.call('ZRANK', ranked, old .. user) or -1
  if score == 'stray' then return old ~= reached and redis.call('ZREM', ranked, reached .. user) == 1 and 0 or -1, -1 end
  if reached == '' then
    if old then
      redis.call('ZREM', ranked, old .. user)
      redis.call('HDEL', members, user)
    end
    return old_rank, -1
  end
  if not force and old and old > reached then return old_rank, old_rank end
  local near = ready and is_near_top(score, reached)
  local old_score = near and old and redis.call('ZSCORE', ranked, old .. user) or 0
  if old ~= reached then
    if old then redis.call('ZREM', ranked, old .. user) end
    redis.call('HSET', members, user, reached)
  end
  redis.call('ZADD', ranked, score, reached .. user)
  local new_rank = redis.call('ZRANK', ranked, reached .. user)
  -- A gain that changes no rank is told too: watchers who have not seen the user yet add up what they hear.
  if near and new_rank < 10 and (old_rank ~= new_rank or old_score - score ~= 0) then
    moves[#moves + 1] = {user, old_rank, new_rank, 0 - score, old_score - score}
  end
  return old_rank, new_rank
end

local users, scores, times = unpack(cjson.decode(ARGV[6]))
for i, user in ipairs(users) do
  local old_rank, new_rank = step(user, scores[i], times[i])
  reply[#reply + 1] = old_rank
  reply[#reply + 1] = new_rank
end

users, scores, times = unpack(cjson.decode(ARGV[7]))
local together = {}
for i, user in ipairs(users) do
  if times[i] == '' or ready and is_near_top(scores[i], times[i]) then
    local old_rank, new_rank = step(user, scores[i], times[i])
    reply[#reply + 1] = i - 1
    reply[#reply + 1] = old_rank
    reply[#reply + 1] = new_rank
  else
    together[#together + 1] = i
  end
end
for first = 1, #together, ROWS_A_COMMAND do
  local final = math.min(first + ROWS_A_COMMAND - 1, #together)
  local names = {}
  for j = first, final do names[#names + 1] = users[together[j]] end
  local known = redis.call('HMGET', members, unpack(names))
  local gone, fields, entries = {}, {}, {}
  for j, user in ipairs(names) do
    local i, old = together[first + j - 1], known[j]
    local reached = times[i]
    if force or not old or old <= reached then
      if old ~= reached then
        if old then gone[#gone + 1] = old .. user end
        fields[#fields + 1], fields[#fields + 2] = user, reached
      end
      entries[#entries + 1], entries[#entries + 2] = scores[i], reached .. user
    end
  end
  if #gone > 0 then redis.call('ZREM', ranked, unpack(gone)) end
  if #fields > 0 then redis.call('HSET', members, unpack(fields)) end
  if #entries > 0 then redis.call('ZADD', ranked, unpack(entries)) end
end

if ARGV[2] ~= '0' then
  redis.call('PEXPIREAT', ranked, ARGV[2])
  redis.call('PEXPIREAT', members, ARGV[2])
end

if ready then
  redis.call('HSET', members, '~u', ARGV[1])
  local after = top()
  local same = #before == #after
  for i = 1, #after do same = same and before[i] == after[i] end
  if not same then
    version = redis.call('HINCRBY', members, '~v', 1)
    local entries, changes = {}, {}
    for i = 1, #after, 2 do
      entries[#entries + 1] = string.format('["%s",%.0f,%.0f]', string.sub(after[i], 13), 0 - after[i + 1],
        tonumber(string.sub(after[i], 1, 12), 16))
    end
    for _, m in ipairs(moves) do changes[#changes + 1] = string.format('["%s",%d,%d,%.0f,%.0f]', unpack(m)) end
    redis.call('PUBLISH', ARGV[3], string.format('{%s,"version":%.0f,"at":%s,"total":%d,"entries":[%s],"changes":[%s]}',
      ARGV[4], version, ARGV[1], redis.call('ZCARD', ranked) - 1, table.concat(entries, ','), table.concat(changes, ',')))
  end
end
return reply
