-- Drop a step of what is too many or too old in a room. KEYS: its meta, log, keys, gone.
-- ARGV: how many to keep and the time before which none are ('' for any), how many to drop or to look at at most, and from
-- which number on to look for old ones.
-- Returns how many were dropped, 1 if there may be more to drop, and from which number on to look for that.

local READ_BYTES = 1048576 -- that are read for their times in one step: about a millisecond

local meta, log, keys, gone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local keep, before, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = state_of(meta)

-- The time of the message with this number, and how many bytes it took to read that.
local function time_of(seq)
  local found = redis.call('XRANGE', log, id(seq), id(seq))[1]
  if found then
    return tonumber(found[2][2]), #found[2][4]
  end
  local left = redis.call('ZRANGEBYSCORE', gone, seq, seq)[1]
  return left and tonumber(string.match(left, '^%[%d+,(%d+)')) or 0, 0
end

-- Look at a step of messages, from a number on, for the last old one before the first young one. A time later than now,
-- which a clock wrote that ran ahead, gives no age. Returns that number, and where to look on; nothing if that is all.
local function last_old(from)
  local clock = redis.call('TIME')
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  local found, seq, bytes = state.dropped, from, 0
  while seq <= state.last do
    if seq == from + step or bytes > READ_BYTES then
      return found, seq
    end
    local time, size = time_of(seq)
    if time < before then
      found = seq
    elseif time <= now then
      break
    end
    seq, bytes = seq + 1, bytes + size
  end
  return found, nil
end

local from = math.max(tonumber(ARGV[4] or 0), state.dropped + 1)
local look_on
local up_to = state.dropped
if keep then
  up_to = math.max(up_to, state.last - keep)
end
if before then
  local old
  old, look_on = last_old(from)
  up_to = math.max(up_to, old)
end
local reached = math.min(up_to, state.dropped + step)
local n_dropped = reached - state.dropped
if n_dropped > 0 then
  demand({
    { 'XTRIM', log, 'MINID', '=', '1-0' },
    { 'ZREMRANGEBYSCORE', keys, 0, 1 },
    { 'ZREMRANGEBYSCORE', gone, 0, 1 },
    { 'HSET', meta, 'dropped', '' },
  })
  drop(meta, log, keys, gone, state, reached)
end
if reached < up_to then
  return { n_dropped, 1, from } -- and look here again: what was found is not dropped yet
end
return { n_dropped, look_on and 1 or 0, look_on or 0 }
