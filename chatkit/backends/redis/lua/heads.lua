-- Return the positions of rooms. A missing room gets an epoch, so that its readers have a cursor. A room that lost its
-- newest messages gets a new epoch, so that no reader gets other messages under the same seqs.
-- KEYS: for each room its meta. ARGV: the beginning of new epochs; for each room the epoch and last seq that this process knows.
-- Returns for each room its epoch, its last seq, and the number of redactions; or an error, if only that room fails.

local function head_of(meta, state, new_epoch, known_epoch, known_last)
  if not state.epoch or (state.epoch == known_epoch and state.last < known_last) then
    state.epoch = new_epoch
    redis.call('HSET', meta, 'epoch', state.epoch)
  end
  if state.last == 0 and not state.moved and not state.arriving and redis.call('TTL', meta) < EMPTY_S / 2 then
    redis.call('EXPIRE', meta, EMPTY_S)
  end
  return { state.epoch, state.last, state.redacted }
end

local replies = {}
for r, meta in ipairs(KEYS) do
  local is_room, state = pcall(state_of, meta)
  if is_room then
    replies[r] = head_of(meta, state, ARGV[1] .. number(r), ARGV[r * 2], tonumber(ARGV[r * 2 + 1]))
  else
    replies[r] = type(state) == 'table' and state or { err = tostring(state) }
  end
end
return replies
