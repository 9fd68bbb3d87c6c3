-- The common part of all scripts. A room consists of
--   meta   a hash: epoch, last (seq), dropped (number of trimmed messages), time (of the newest, in ms); redacted
--          (number of redactions), scrubbed (their number when the log was last rewritten); by_sender, if every key in
--          'keys' has its sender; and, while the room is renamed to a name in another slot of a cluster, the marks
--          'moving', 'moved' and 'arriving' of moving.py
--   log    a stream: entry seq-0 holds the time (t) and the message (m)
--   keys   a sorted set: a message's key and sender ('key\n"sender"'), by its seq. Older versions stored keys without
--          senders; a room without 'by_sender' in its meta may contain such keys until they are trimmed
--   gone   a sorted set: the tombstones of redacted messages, by seq
--   refs   a sorted set: what refers to messages; see relations.lua
-- and a Redis channel for publications.

local EMPTY_S = 86400 -- a room that was read and never written to expires after a day

local function state_of(meta)
  local found = redis.call('HMGET', meta, 'epoch', 'last', 'dropped', 'time', 'redacted', 'by_sender', 'moving',
    'moved', 'arriving')
  return {
    epoch = found[1],
    last = tonumber(found[2] or 0),
    dropped = tonumber(found[3] or 0),
    time = tonumber(found[4] or 0),
    redacted = tonumber(found[5] or 0),
    is_by_sender = found[6] == '1',
    moving = found[7],
    moved = found[8],
    arriving = found[9],
  }
end

-- Refuse a call while the room is renamed. The error is one that a router repeats for a moment.
local function check_settled(...)
  for _, mark in ipairs({ ... }) do
    if mark then
      error({ err = 'TRYAGAIN the room is being renamed' })
    end
  end
end

local function id(seq)
  return string.format('%.0f-0', seq)
end

local function number(n)
  return string.format('%.0f', n)
end

-- Check the user's rights before anything is written. A script that fails in the middle would leave half a change, and
-- a log whose count is wrong is treated as one of which a part was evicted.
local function check_rights(commands)
  if not redis.acl_check_cmd then -- before Redis 7
    return
  end
  for _, command in ipairs(commands) do
    if not redis.acl_check_cmd(unpack(command)) then
      error({ err = 'NOPERM ' .. command[1] .. ' is needed on ' .. command[2] })
    end
  end
end

-- A seq or a time as a part of a member of 'refs': after its number of digits, so that the order of the bytes is that of
-- the numbers.
local function code(n)
  local digits = number(n)
  return string.char(64 + #digits) .. digits
end

-- Drop the messages up to a seq.
local function drop(meta, log, keys, gone, refs, state, up_to)
  redis.call('XTRIM', log, 'MINID', '=', id(up_to + 1))
  redis.call('ZREMRANGEBYSCORE', keys, '-inf', number(up_to))
  redis.call('ZREMRANGEBYSCORE', gone, '-inf', number(up_to))
  redis.call('ZREMRANGEBYLEX', refs, '[c', '(c' .. code(up_to + 1))
  redis.call('ZREMRANGEBYLEX', refs, '[p', '(p' .. code(up_to + 1))
  redis.call('HSET', meta, 'dropped', number(up_to))
  state.dropped = up_to
end

-- Start a new epoch if the old one cannot be continued: the room is missing, or a part of it was evicted, or its newest
-- messages were lost (the caller has seen more of this epoch than is stored).
local function renew(meta, log, keys, gone, refs, state, epoch, known_epoch, known_last)
  local is_lost = state.epoch == known_epoch and state.last < known_last
  local is_whole = state.epoch
    and redis.call('XLEN', log) + redis.call('ZCARD', gone) == state.last - state.dropped
  if is_whole and not is_lost then
    return
  end
  check_rights({ { 'HSET', meta, 'epoch', epoch }, { 'UNLINK', log, keys, gone, refs } })
  state.epoch = epoch
  redis.call('HSET', meta, 'epoch', epoch)
  if not is_whole then
    redis.call('UNLINK', log, keys, gone, refs)
    state.dropped = state.last
    redis.call('HSET', meta, 'dropped', number(state.last))
  end
end

-- The time and text of a message, or its tombstone.
local function stored(log, gone, seq)
  local found = redis.call('XRANGE', log, id(seq), id(seq))[1]
  if found then
    return { found[2][2], found[2][4] }
  end
  return redis.call('ZRANGEBYSCORE', gone, seq, seq)
end

-- The seq of the message that a sender has stored under a key. Keys that an older version wrote have no sender: then
-- the sender is read from the message.
local function seq_of(log, keys, gone, state, key)
  local seq = redis.call('ZSCORE', keys, key)
  if seq or state.is_by_sender then
    return seq
  end
  local name, sender = string.match(key, '^([^\n]*)\n(.*)$')
  seq = redis.call('ZSCORE', keys, name)
  if not seq then
    return false
  end
  local parts = stored(log, gone, seq)
  local text = parts[2] or string.gsub(parts[1] or '', '^%[%d+,%d+,', '[', 1)
  return string.sub(text, 1, #sender + 2) == '[' .. sender .. ',' and seq
end
