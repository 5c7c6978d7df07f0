--[[
  Copies rows of Postgres into a board that is being made again. Newest wins, so that play goes on meanwhile. One command
  for all rows, where their number allows it: a million calls from Lua would cost more than what they do.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] the attempt that `begin` named   ARGV[2] when the keys expire, ms (0 = never)
  ARGV[3] the rows as JSON, three lists of equal length: user ids (each once), -score as a string, when it was reached
    (12 hex digits). At most 3,900 rows, because Lua unpacks fewer than 8,000 values
  Returns 1, or 0 when this attempt is over: Redis was emptied again meanwhile, or another attempt took its place
]]
local ranked, members = KEYS[1], KEYS[2]
if redis.call('HGET', members, '~b') ~= ARGV[1] then return 0 end
local users, scores, times = unpack(cjson.decode(ARGV[3]))
local known = redis.call('HMGET', members, unpack(users))
local fields, entries, n = {}, {}, 0
for i, user in ipairs(users) do
  local reached, old = times[i], known[i]
  if not old or old <= reached then
    if old and old ~= reached then redis.call('ZREM', ranked, old .. user) end
    fields[n + 1], fields[n + 2] = user, reached
    entries[n + 1], entries[n + 2] = scores[i], reached .. user
    n = n + 2
  end
end
if n > 0 then
  redis.call('HSET', members, unpack(fields))
  redis.call('ZADD', ranked, unpack(entries))
end
redis.call('HSET', members, '~t', redis.call('TIME')[1])
if ARGV[2] ~= '0' then
  redis.call('PEXPIREAT', ranked, ARGV[2])
  redis.call('PEXPIREAT', members, ARGV[2])
end
return 1
