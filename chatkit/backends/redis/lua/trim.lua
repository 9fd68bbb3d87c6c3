-- Drop a step of what is too many or too old in a room. KEYS: its meta, log, keys, gone.
-- ARGV: how many to keep and the time before which none are ('' for any), and how many to drop at most.
-- Returns how many were dropped, and 1 if there is more to drop.

local meta, log, keys, gone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local keep, before, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = state_of(meta)

-- The time of the message with this number.
local function time_of(seq)
  local found = redis.call('XRANGE', log, id(seq), id(seq))[1]
  if found then
    return tonumber(found[2][2])
  end
  local left = redis.call('ZRANGEBYSCORE', gone, seq, seq)[1]
  return left and tonumber(string.match(left, '^%[%d+,(%d+)')) or 0
end

-- The newest number whose message is too old: times never go back, so halving finds it.
local function last_before(time)
  if state.time < time then
    return state.last
  end
  local low, high = state.dropped, state.last
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if time_of(middle) < time then
      low = middle
    else
      high = middle - 1
    end
  end
  return low
end

local up_to = state.dropped
if keep then
  up_to = math.max(up_to, state.last - keep)
end
if before then
  up_to = math.max(up_to, last_before(before))
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
return { n_dropped, reached < up_to and 1 or 0 }
