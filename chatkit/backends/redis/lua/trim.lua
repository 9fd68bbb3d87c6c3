-- Drop one step of the messages of a room that are beyond a number or an age. KEYS: its meta, log, keys, gone, refs.
-- ARGV: the number to keep and the time before which to drop ('' for no limit), the maximum number to drop or to
-- examine, and the seq at which the search for old messages starts.
-- Returns the number dropped, 1 if there may be more to drop, and the seq at which to continue the search.

local READ_BYTES = 1048576 -- read in one step to find the times of messages: about a millisecond

local meta, log, keys, gone, refs = unpack(KEYS)
local keep, before, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = state_of(meta)
if state.moving or state.arriving then
  return { 0, 0, 0 } -- the next trim drops them: a room whose renaming was interrupted must not prevent this one
end

-- The time of the message with this seq, and the number of bytes read for it.
local function time_of(seq)
  local found = redis.call('XRANGE', log, id(seq), id(seq))[1]
  if found then
    return tonumber(found[2][2]), #found[2][4]
  end
  local left = redis.call('ZRANGEBYSCORE', gone, seq, seq)[1]
  return left and tonumber(string.match(left, '^%[%d+,(%d+)')) or 0, 0
end

-- Search one step of messages, from a seq on, for the last old one before the first young one. Times in the future,
-- written by a clock that ran ahead, are ignored. Returns that seq, and the seq at which to continue; nil if the search
-- is complete.
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

-- Remove one step of what refers to messages that were dropped. Returns whether there may be more.
local function forget_dropped()
  local found = redis.call('ZRANGEBYLEX', refs, '-', '(' .. code(state.dropped + 1), 'LIMIT', 0, step)
  if #found > 0 then
    check_rights({ { 'ZREM', refs, '' }, { 'ZREMRANGEBYLEX', refs, '-', '-' } })
    for _, member in ipairs(found) do
      remove_mention(refs, member)
    end
    redis.call('ZREMRANGEBYLEX', refs, '-', '[' .. found[#found])
  end
  return #found > 0
end

if forget_dropped() then
  return { 0, 1, tonumber(ARGV[4] or 0) }
end
local from = math.max(tonumber(ARGV[4] or 0), state.dropped + 1)
local next_seq
local up_to = state.dropped
if keep then
  up_to = math.max(up_to, state.last - keep)
end
if before then
  local old
  old, next_seq = last_old(from)
  up_to = math.max(up_to, old)
end
local reached = math.min(up_to, state.dropped + step)
local n_dropped = reached - state.dropped
if n_dropped > 0 then
  check_rights({
    { 'XTRIM', log, 'MINID', '=', '1-0' },
    { 'ZREMRANGEBYSCORE', keys, 0, 1 },
    { 'ZREMRANGEBYSCORE', gone, 0, 1 },
    { 'ZREMRANGEBYLEX', refs, '-', '-' },
    { 'HSET', meta, 'dropped', '' },
  })
  drop(meta, log, keys, gone, refs, state, reached)
end
if reached < up_to then
  return { n_dropped, 1, from } -- continue at the same seq: the messages found are not all dropped yet
end
local has_rest = n_dropped > 0 and redis.call('ZLEXCOUNT', refs, '-', '(' .. code(state.dropped + 1)) > 0
return { n_dropped, (next_seq or has_rest) and 1 or 0, next_seq or 0 }
