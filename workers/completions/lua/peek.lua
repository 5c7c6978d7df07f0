--[[
  What waits behind the job that holds a partition's slot, oldest first.

  KEYS[1] the queue's waiting list   KEYS[2] what the keys of its jobs begin with
  ARGV[1] how many at most
  Returns the payloads, as JSON; of a job that is gone, false
]]
local payloads = {}
local ids = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[1]), -1)
for i = #ids, 1, -1 do payloads[#payloads + 1] = redis.call('HGET', KEYS[2] .. ids[i], 'data') end
return payloads
