-- Move the log of a room to another name. KEYS: its meta, log, keys, gone, refs, channel; then those of the new name.
-- ARGV: the command that publishes, the origin of the publications, a new epoch for the old name.
-- Returns 1; 0 if the room has never held a message; -1 if the new one holds or held messages.

local publish, origin, epoch = ARGV[1], ARGV[2], ARGV[3]
local commands = { { 'HSET', KEYS[1], 'epoch', epoch }, { 'EXPIRE', KEYS[1], EMPTY_S } }
for n = 1, 5 do
  commands[#commands + 1] = { 'UNLINK', KEYS[n + 6] }
  commands[#commands + 1] = { 'RENAME', KEYS[n], KEYS[n + 6] }
end
commands[#commands + 1] = { publish, KEYS[6], '' }
commands[#commands + 1] = { publish, KEYS[12], '' }
check_rights(commands)
local state, state_of_new = state_of(KEYS[1]), state_of(KEYS[7])
check_settled(state.moving, state.moved, state.arriving, state_of_new.moved, state_of_new.arriving)
if state.last == 0 then
  return 0
end
if state_of_new.last > 0 then
  return -1
end
for n = 1, 5 do
  redis.call('UNLINK', KEYS[n + 6])
  if redis.call('EXISTS', KEYS[n]) == 1 then
    redis.call('RENAME', KEYS[n], KEYS[n + 6])
  end
end
redis.call('HSET', KEYS[1], 'epoch', epoch)
redis.call('EXPIRE', KEYS[1], EMPTY_S)

local function publish_end(channel, of_epoch, last)
  redis.call(publish, channel, table.concat({
    '["', origin, '","A","', of_epoch, '",', number(last), ',', number(state.time), ',[]]',
  }))
end

publish_end(KEYS[6], epoch, 0)
publish_end(KEYS[12], state.epoch, state.last)
return 1
