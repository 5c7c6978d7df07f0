--[[
  Puts scores into a board, absolute and newest-wins, and tells watchers when its top 10 changed.

  The ranked set holds -score under the member <reached_at, 12 hex digits of ms><user id>, so that Redis's own order
  (score, then bytes) is Laurel's: score descending, who reached it first, user id. The members hash maps a user id to
  the 12 digits. The member '~' at +inf and the hash field '~v' (the board's version) stand only in a complete board.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] now, ms   ARGV[2] when the keys expire, ms (0 = never)   ARGV[3] channel of board events
  ARGV[4] board as JSON fields, put into the event   ARGV[5] '1' = overwrite whatever stands there (repair)
  ARGV[6...] per change: user id, score, reached_at (12 hex digits; '' removes the user); a score of 'stray' removes
    the member of that user and time, unless it is the user's own (old rank 0 = it was removed)
  Returns {ready 0|1, old rank, new rank, ...} with 0-based ranks, -1 for none, two for each change
]]
local ranked, members = KEYS[1], KEYS[2]
local force = ARGV[5] == '1'

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
local reply = {ready and 1 or 0}
local moves = {}

for i = 6, #ARGV, 3 do
  local user, score, reached = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local old = redis.call('HGET', members, user)
  local old_rank, old_score = -1, 0
  if old then
    old_rank = redis.call('ZRANK', ranked, old .. user) or -1
    old_score = -(tonumber(redis.call('ZSCORE', ranked, old .. user)) or 0)
  end
  local new_rank = old_rank
  if score == 'stray' then
    old_rank = old ~= reached and redis.call('ZREM', ranked, reached .. user) == 1 and 0 or -1
    new_rank = -1
  elseif reached == '' then
    if old then
      redis.call('ZREM', ranked, old .. user)
      redis.call('HDEL', members, user)
    end
    new_rank = -1
  elseif force or not old or old <= reached then
    if old and old ~= reached then redis.call('ZREM', ranked, old .. user) end
    if old ~= reached then redis.call('HSET', members, user, reached) end
    redis.call('ZADD', ranked, score == '0' and '0' or '-' .. score, reached .. user)
    new_rank = redis.call('ZRANK', ranked, reached .. user)
  end
  reply[#reply + 1] = old_rank
  reply[#reply + 1] = new_rank
  if ready and score ~= 'stray' then moves[#moves + 1] = {user, old_rank, new_rank, tonumber(score), old_score} end
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
      entries[#entries + 1] = string.format('["%s",%.0f,%.0f]', string.sub(after[i], 13), -tonumber(after[i + 1]),
        tonumber(string.sub(after[i], 1, 12), 16))
    end
    for _, m in ipairs(moves) do
      if m[3] >= 0 and m[3] < 10 and m[4] ~= m[5] then
        changes[#changes + 1] = string.format('["%s",%d,%d,%.0f,%.0f]', m[1], m[2], m[3], m[4], m[4] - m[5])
      end
    end
    redis.call('PUBLISH', ARGV[3], string.format('{%s,"version":%.0f,"at":%s,"entries":[%s],"changes":[%s]}', ARGV[4], version,
      ARGV[1], table.concat(entries, ','), table.concat(changes, ',')))
  end
end
return reply
