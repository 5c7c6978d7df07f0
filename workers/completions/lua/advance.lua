--[[
  Takes jobs off a partition's line that were done along with the one that holds its slot, and looks at what waits next.

  KEYS[1] the queue's waiting list   KEYS[2] what the keys of its jobs begin with
  ARGV[1] how many to look at, at most   ARGV[2] id of the job that holds the slot   ARGV[3] the token that it is locked with
  ARGV[4...] ids of the jobs that are done, oldest first; another worker may have come by some of them, and finds what has
    been done
  Returns the payloads of what waits, as JSON, oldest first; of a job that is gone, false. Nothing when the slot is lost: what
    waits then stands behind what another worker has in hand
]]
for i = 4, #ARGV do
  if redis.call('LREM', KEYS[1], -1, ARGV[i]) == 1 then redis.call('DEL', KEYS[2] .. ARGV[i]) end
end
local payloads = {}
if ARGV[1] ~= '0' and redis.call('GET', KEYS[2] .. ARGV[2] .. ':lock') == ARGV[3] then
  local ids = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[1]), -1)
  for i = #ids, 1, -1 do payloads[#payloads + 1] = redis.call('HGET', KEYS[2] .. ids[i], 'data') end
end
return payloads
