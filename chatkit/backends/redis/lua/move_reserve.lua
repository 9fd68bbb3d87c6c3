-- Reserve a name for a room that is moved to it, and keep the copy: from now on, calls for this name wait.
-- KEYS: the name's meta, log, keys, gone, refs, channel, and the copies of the first five.
-- ARGV: the command that publishes, the mark: the token of the move and the room.
-- Returns 1, and the mark of an earlier move of the same room; or 0 if the name is taken.

local meta, mark = KEYS[1], ARGV[2]
local commands = { { 'HDEL', meta, 'arriving' }, { ARGV[1], KEYS[6], '' } }
for n = 1, 5 do
  commands[#commands + 1] = { 'UNLINK', KEYS[n] }
  commands[#commands + 1] = { 'RENAME', KEYS[n + 6], KEYS[n] }
  commands[#commands + 1] = { 'PERSIST', KEYS[n + 6] }
end
check_rights(commands)
local state = state_of(meta)
local former = state.arriving or ''
local is_other = former ~= '' and string.match(former, ' .*$') ~= string.match(mark, ' .*$')
if state.last > 0 or state.moved or is_other then
  return { 0, '' }
end
redis.call('HSET', meta, 'arriving', mark)
redis.call('PERSIST', meta)
for n = 7, 11 do
  redis.call('PERSIST', KEYS[n])
end
return { 1, former }
