-- Read a page of a room, as it is now. KEYS: its meta, log, keys, gone.
-- ARGV: a new epoch, the first and the last seq asked for, how many, and whether the newest of them.
-- Returns its epoch, first and last seq, the entries and what is left of redacted ones; or nothing, if there is no such
-- room.

local meta, log, keys, gone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local state = state_of(meta)
if not state.epoch then
  return false
end
renew(meta, log, keys, gone, state, ARGV[1], '', 0)
local start, stop, count = ARGV[2], ARGV[3], ARGV[4]
local entries, left
if ARGV[5] == '1' then
  entries = redis.call('XREVRANGE', log, stop .. '-0', start .. '-0', 'COUNT', count)
  left = redis.call('ZREVRANGEBYSCORE', gone, stop, start, 'LIMIT', 0, count)
else
  entries = redis.call('XRANGE', log, start .. '-0', stop .. '-0', 'COUNT', count)
  left = redis.call('ZRANGEBYSCORE', gone, start, stop, 'LIMIT', 0, count)
end
return { state.epoch, state.dropped + 1, state.last, entries, left }
