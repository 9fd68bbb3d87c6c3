-- Read a page of a room, as it is now. KEYS: its meta, log, keys, gone.
-- ARGV: a new epoch, the first and the last seq requested, the number of messages, whether to return the newest of
-- them, and the maximum bytes of the entries (one entry may be larger).
-- Returns its epoch, first and last seq, the entries, the tombstones, and whether the limit of bytes ended the page; or
-- nothing if the room does not exist.

local STEP = 32 -- entries read at once: entries beyond the limit of bytes are not read
local meta, log, keys, gone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local state = state_of(meta)
check_settled(state.arriving)
if not state.epoch then
  return false
end
renew(meta, log, keys, gone, state, ARGV[1], '', 0)
local start, stop, count, max_bytes = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[6])
local newest = ARGV[5] == '1'
local entries, n_bytes, is_cut = {}, 0, 0
local low, high = start .. '-0', stop .. '-0'
while #entries < count and is_cut == 0 do
  local step = math.min(STEP, count - #entries)
  local found
  if newest then
    found = redis.call('XREVRANGE', log, high, low, 'COUNT', step)
  else
    found = redis.call('XRANGE', log, low, high, 'COUNT', step)
  end
  for _, entry in ipairs(found) do
    n_bytes = n_bytes + #entry[2][4]
    if #entries > 0 and n_bytes > max_bytes then
      is_cut = 1
      break
    end
    entries[#entries + 1] = entry
  end
  if #found < step then
    break
  end
  local last = tonumber(string.match(entries[#entries][1], '^%d+'))
  if newest then
    high = id(last - 1)
  else
    low = id(last + 1)
  end
end
if is_cut == 1 then
  local last = string.match(entries[#entries][1], '^%d+')
  if newest then
    start = last
  else
    stop = last
  end
end
local tombstones
if newest then
  tombstones = redis.call('ZREVRANGEBYSCORE', gone, stop, start, 'LIMIT', 0, count)
else
  tombstones = redis.call('ZRANGEBYSCORE', gone, start, stop, 'LIMIT', 0, count)
end
return { state.epoch, state.dropped + 1, state.last, entries, tombstones, is_cut }
