-- Where rooms stand. A room that is not there gets an epoch, so that its readers have a cursor; one that lost its end
-- gets a new one, so that nobody reads other messages under the same numbers.
-- KEYS: for each room its meta. ARGV: a new epoch; for each room the epoch and last seq that this process knows.
-- Returns for each its epoch, its last seq, and how many redactions there were.

local replies = {}
for r, meta in ipairs(KEYS) do
  local state = state_of(meta)
  local known_epoch, known_last = ARGV[r * 2], tonumber(ARGV[r * 2 + 1])
  if not state.epoch or (state.epoch == known_epoch and state.last < known_last) then
    state.epoch = ARGV[1]
    redis.call('HSET', meta, 'epoch', state.epoch)
  end
  if state.last == 0 and redis.call('TTL', meta) < EMPTY_S / 2 then
    redis.call('EXPIRE', meta, EMPTY_S)
  end
  replies[r] = { state.epoch, state.last, state.redacted }
end
return replies
