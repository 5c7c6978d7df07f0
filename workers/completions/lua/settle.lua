--[[
  Keeps what became of completions, for replays, and takes their actions off their users' open ones.

  KEYS[1...] per completion: the action's key, the user's open actions
  ARGV[1] how long results are kept, s
  ARGV[2...] per completion: action id, result as JSON ('' = none: the action may be tried again)
]]
for i = 1, #KEYS / 2 do
  local result = ARGV[2 * i + 1]
  if result == '' then
    redis.call('DEL', KEYS[2 * i - 1])
  else
    redis.call('SET', KEYS[2 * i - 1], result, 'EX', ARGV[1])
  end
  redis.call('ZREM', KEYS[2 * i], ARGV[2 * i])
end
return #KEYS / 2
