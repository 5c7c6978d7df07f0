--[[
  Copies rows of Postgres into a board that is being made again. Newest wins, so that play goes on meanwhile.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] the attempt that `begin` named   ARGV[2] when the keys expire, ms (0 = never)
  ARGV[3...] per row: user id, score, reached_at (12 hex digits)
  Returns 1, or 0 when this attempt is over: Redis was emptied again meanwhile, or another attempt took its place
]]
local ranked, members = KEYS[1], KEYS[2]
if redis.call('HGET', members, '~b') ~= ARGV[1] then return 0 end
for i = 3, #ARGV, 3 do
  local user, score, reached = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local old = redis.call('HGET', members, user)
  if not old or old <= reached then
    if old and old ~= reached then redis.call('ZREM', ranked, old .. user) end
    redis.call('HSET', members, user, reached)
    redis.call('ZADD', ranked, score == '0' and '0' or '-' .. score, reached .. user)
  end
end
if ARGV[2] ~= '0' then
  redis.call('PEXPIREAT', ranked, ARGV[2])
  redis.call('PEXPIREAT', members, ARGV[2])
end
return 1
