-- What every script of a room shares. A room is
--   meta   a hash: epoch, last (seq), dropped (how many were trimmed), time (of the newest, in ms); how many were
--          redacted, and how many of these were so when the log was last scrubbed; by_sender, if every key in 'keys' has
--          its sender
--   log    a stream: entry seq-0 holds the time (t) and the message (m)
--   keys   a sorted set: a message's key and sender ('key\n"sender"'), by its seq. Rooms of versions that knew no senders
--          hold keys alone, until they are trimmed: a room without 'by_sender' in its meta may have such
--   gone   a sorted set: what is left of a redacted message, by its seq
-- and has a channel of its own for news.

local EMPTY_S = 86400 -- a room that was asked for and never written to is forgotten after a day

local function state_of(meta)
  local found = redis.call('HMGET', meta, 'epoch', 'last', 'dropped', 'time', 'redacted', 'by_sender')
  return {
    epoch = found[1],
    last = tonumber(found[2] or 0),
    dropped = tonumber(found[3] or 0),
    time = tonumber(found[4] or 0),
    redacted = tonumber(found[5] or 0),
    is_by_sender = found[6] == '1',
  }
end

local function id(seq)
  return string.format('%.0f-0', seq)
end

local function number(n)
  return string.format('%.0f', n)
end

-- Refuse before anything is written what would be refused in the middle: a script that ends there leaves half a change,
-- and a log that does not count right is taken for one of which a part was evicted.
local function demand(commands)
  if not redis.acl_check_cmd then -- before Redis 7
    return
  end
  for _, command in ipairs(commands) do
    if not redis.acl_check_cmd(unpack(command)) then
      error({ err = 'NOPERM ' .. command[1] .. ' is needed on ' .. command[2] })
    end
  end
end

-- Drop the messages up to a number.
local function drop(meta, log, keys, gone, state, up_to)
  redis.call('XTRIM', log, 'MINID', '=', id(up_to + 1))
  redis.call('ZREMRANGEBYSCORE', keys, '-inf', number(up_to))
  redis.call('ZREMRANGEBYSCORE', gone, '-inf', number(up_to))
  redis.call('HSET', meta, 'dropped', number(up_to))
  state.dropped = up_to
end

-- Begin a new life where the old one cannot be gone on with: the room is not there, or a part of it was evicted, or its
-- end was lost (the caller has seen more of this epoch than there is).
local function renew(meta, log, keys, gone, state, epoch, known_epoch, known_last)
  local is_lost = state.epoch == known_epoch and state.last < known_last
  local is_whole = state.epoch
    and redis.call('XLEN', log) + redis.call('ZCARD', gone) == state.last - state.dropped
  if is_whole and not is_lost then
    return
  end
  demand({ { 'HSET', meta, 'epoch', epoch }, { 'UNLINK', log, keys, gone } })
  state.epoch = epoch
  redis.call('HSET', meta, 'epoch', epoch)
  if not is_whole then
    redis.call('UNLINK', log, keys, gone)
    state.dropped = state.last
    redis.call('HSET', meta, 'dropped', number(state.last))
  end
end
