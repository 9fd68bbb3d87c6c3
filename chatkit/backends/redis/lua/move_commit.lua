-- Remove the log of a room whose copy is complete: this commits the move.
-- KEYS: the room's meta, log, keys, gone, refs, channel.
-- ARGV: the command that publishes, the origin of the publication, a new epoch, the mark: the token of the move and the
-- new name; and the epoch, last, dropped and redacted of the copy.
-- Returns 1, or 0 if another process has taken over the move or has changed the log.

local meta, log, keys, gone, refs, channel = unpack(KEYS)
local publish, origin, epoch, mark = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
check_rights({ { 'UNLINK', meta, log, keys, gone, refs }, { 'HSET', meta, 'epoch', epoch }, { publish, channel, '' } })
local state = state_of(meta)
local is_same = state.epoch == ARGV[5]
  and state.last == tonumber(ARGV[6])
  and state.dropped == tonumber(ARGV[7])
  and state.redacted == tonumber(ARGV[8])
if state.moving ~= mark or not is_same then
  return 0
end
redis.call('UNLINK', meta, log, keys, gone, refs)
redis.call('HSET', meta, 'epoch', epoch, 'moved', mark)
redis.call(publish, channel, '["' .. origin .. '","A","' .. epoch .. '",0,' .. number(state.time) .. ',[]]')
return 1
