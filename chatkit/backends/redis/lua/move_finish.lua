-- Put the copy of a moved room in its place.
-- KEYS: the new name's meta, log, keys, gone, refs, channel, and the five copies.
-- ARGV: the command that publishes, the origin of the publication, the mark: the token of the move and the old name.
-- Returns 1, or 0 if this move is finished already.

local publish, origin = ARGV[1], ARGV[2]
if redis.call('HGET', KEYS[1], 'arriving') ~= ARGV[3] then
  return 0
end
for n = 1, 5 do
  redis.call('UNLINK', KEYS[n])
  if redis.call('EXISTS', KEYS[n + 6]) == 1 then
    redis.call('RENAME', KEYS[n + 6], KEYS[n])
  end
end
local state = state_of(KEYS[1])
redis.call(publish, KEYS[6], table.concat({
  '["', origin, '","A","', state.epoch, '",', number(state.last), ',', number(state.time), ',[]]',
}))
return 1
