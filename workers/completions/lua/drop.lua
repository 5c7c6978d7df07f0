--[[
  Takes jobs off a partition's line that were done along with the one that holds its slot.

  KEYS[1] the queue's waiting list   KEYS[2] what the keys of its jobs begin with
  ARGV[1...] job ids, oldest first
  Returns how many still waited; another worker may have come by some of them, and finds what has been done
]]
local dropped = 0
for i = 1, #ARGV do
  if redis.call('LREM', KEYS[1], -1, ARGV[i]) == 1 then
    redis.call('DEL', KEYS[2] .. ARGV[i])
    dropped = dropped + 1
  end
end
return dropped
