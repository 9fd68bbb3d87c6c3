-- Begin to move a room to another slot: from now on, the room can only be read. KEYS: its meta.
-- ARGV: the token of the move, the new name.
-- Returns 'begun' and the fields of the meta; 'busy' and the mark of a move to another name; or 'none' if the room holds
-- no log.

local meta, token, new = KEYS[1], ARGV[1], ARGV[2]
local state = state_of(meta)
check_settled(state.moved, state.arriving)
if state.last == 0 then
  return { 'none' }
end
if state.moving and string.match(state.moving, ' (.*)$') ~= new then
  return { 'busy', state.moving }
end
check_rights({ { 'HDEL', meta, 'moving' } })
local fields = redis.call('HGETALL', meta)
redis.call('HSET', meta, 'moving', token .. ' ' .. new)
return { 'begun', fields }
