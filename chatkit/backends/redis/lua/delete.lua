-- Delete a room. KEYS: its meta, log, keys, gone, refs, channel.
-- ARGV: the command that publishes, the origin of the publication, a new epoch.
-- Returns 1, or 0 if the room has never held a message. What remains is the epoch, as of a room that was only read.

local meta, log, keys, gone, refs, channel = unpack(KEYS)
local publish, origin, epoch = ARGV[1], ARGV[2], ARGV[3]
check_rights({ { 'UNLINK', meta, log, keys, gone, refs }, { 'HSET', meta, 'epoch', epoch }, { publish, channel, '' } })
local state = state_of(meta)
check_settled(state.moving, state.moved, state.arriving)
if state.last == 0 then
  return 0
end
redis.call('UNLINK', meta, log, keys, gone, refs) -- frees the memory in another thread
redis.call('HSET', meta, 'epoch', epoch)
redis.call('EXPIRE', meta, EMPTY_S)
redis.call(publish, channel, '["' .. origin .. '","A","' .. epoch .. '",0,' .. number(state.time) .. ',[]]')
return 1
