--[[
  The page that follows an entry in the total order, wherever that entry stands by now, or even if it is gone: cursors
  neither skip nor repeat while scores change.

  KEYS[1] ranked set   KEYS[2] members hash
  ARGV[1] -score   ARGV[2] member   ARGV[3] limit
  Returns {version, total, updated at ms, offset, member, -score, ...}, or {} when the board is not complete
]]
local ranked = KEYS[1]
local version = redis.call('HGET', KEYS[2], '~v')
if not version or not redis.call('ZSCORE', ranked, '~') then return {} end
local total = redis.call('ZCARD', ranked) - 1
local score, member = tonumber(ARGV[1]), ARGV[2]

-- In byte order, as sorted sets have it; Lua's own comparison follows the locale.
local function not_after(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a <= #b
end

-- The first place behind the entry, among those of its score, whose members are in byte order.
local low = redis.call('ZCOUNT', ranked, '-inf', '(' .. ARGV[1])
local high = low + redis.call('ZCOUNT', ranked, score, score)
while low < high do
  local middle = math.floor((low + high) / 2)
  if not_after(redis.call('ZRANGE', ranked, middle, middle)[1], member) then low = middle + 1 else high = middle end
end

local reply = {version, total, redis.call('HGET', KEYS[2], '~u') or '0', low}
local last = math.min(low + tonumber(ARGV[3]), total) - 1
if last >= low then
  local page = redis.call('ZRANGE', ranked, low, last, 'WITHSCORES')
  for i = 1, #page do reply[i + 4] = page[i] end
end
return reply
