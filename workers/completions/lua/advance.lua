--[[
  Takes jobs off a partition's line that were done along with the one that holds its slot, and looks at what waits next.

  KEYS[1] the queue's waiting list   KEYS[2] what the keys of its jobs begin with
  ARGV[1] how many to look at, at most   ARGV[2...] ids of the jobs that are done, oldest first; another worker may have come
    by some of them, and finds what has been done
  Returns the payloads of what waits, as JSON, oldest first; of a job that is gone, false
]]
for i = 2, #ARGV do
  if redis.call('LREM', KEYS[1], -1, ARGV[i]) == 1 then redis.call('DEL', KEYS[2] .. ARGV[i]) end
end
local payloads = {}
if ARGV[1] ~= '0' then
  local ids = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[1]), -1)
  for i = #ids, 1, -1 do payloads[#payloads + 1] = redis.call('HGET', KEYS[2] .. ids[i], 'data') end
end
return payloads
