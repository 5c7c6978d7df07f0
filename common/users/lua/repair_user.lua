--[[
  Replaces what is known of a user by what Postgres says, older or newer, if it is still what it was when they were compared.

  KEYS[1] the user's hash
  ARGV[1] JSON as it was   ARGV[2] revision   ARGV[3] JSON, '' for a user that is gone   ARGV[4] lifetime, seconds
  Returns 1 if it was replaced
]]
if redis.call('HGET', KEYS[1], 'profile') ~= ARGV[1] then return 0 end
if ARGV[3] == '' then
  redis.call('DEL', KEYS[1])
  return 1
end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'profile', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
