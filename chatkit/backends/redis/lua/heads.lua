-- Where rooms stand. A room that is not there gets an epoch, so that its readers have a cursor; one that lost its end
-- gets a new one, so that nobody reads other messages under the same numbers.
-- KEYS: for each room its meta. ARGV: a new epoch; for each room the epoch and last seq that this process knows.
-- Returns for each its epoch, its last seq, and how many redactions there were; or the error, where that room alone cannot
-- be asked for.

local function head_of(meta, state, known_epoch, known_last)
  if not state.epoch or (state.epoch == known_epoch and state.last < known_last) then
    state.epoch = ARGV[1]
    redis.call('HSET', meta, 'epoch', state.epoch)
  end
  if state.last == 0 and redis.call('TTL', meta) < EMPTY_S / 2 then
    redis.call('EXPIRE', meta, EMPTY_S)
  end
  return { state.epoch, state.last, state.redacted }
end

local replies = {}
for r, meta in ipairs(KEYS) do
  local is_room, state = pcall(state_of, meta)
  if is_room then
    replies[r] = head_of(meta, state, ARGV[r * 2], tonumber(ARGV[r * 2 + 1]))
  else
    replies[r] = type(state) == 'table' and state or { err = tostring(state) }
  end
end
return replies
