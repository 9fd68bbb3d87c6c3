-- Append drafts to rooms, and tell who watches them.
-- KEYS: for each room its meta, log, keys, gone, channel.
-- ARGV: the command that publishes, this process, a new epoch, whether messages are kept; then for each room the epoch
-- and last seq that this process knows, how many drafts, and for each its key ('' for none) and its text.
-- Returns for each room its epoch, the time, the first new seq, and for each repeat: its place among the drafts, its seq,
-- and its entry (time, text) or what is left of it.

local PUBLISHED_BYTES = 1048576 -- far below what Redis lets wait for a subscriber; more is read, not carried

local publish, process, new_epoch, is_kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Nothing is written before every room has been looked at: one that is something else fails all of them.
local states, at = {}, 5
for r = 0, #KEYS / 5 - 1 do
  local meta, log, keys, gone = KEYS[r * 5 + 1], KEYS[r * 5 + 2], KEYS[r * 5 + 3], KEYS[r * 5 + 4]
  local state = state_of(meta)
  redis.call('XLEN', log)
  redis.call('ZCARD', keys)
  redis.call('ZCARD', gone)
  states[r] = state
end

local function stored(log, gone, seq)
  local found = redis.call('XRANGE', log, id(seq), id(seq))[1]
  if found then
    return { found[2][2], found[2][4] }
  end
  return redis.call('ZRANGEBYSCORE', gone, seq, seq)
end

local replies = {}
for r = 0, #KEYS / 5 - 1 do
  local meta, log, keys, gone, channel =
    KEYS[r * 5 + 1], KEYS[r * 5 + 2], KEYS[r * 5 + 3], KEYS[r * 5 + 4], KEYS[r * 5 + 5]
  local state = states[r]
  renew(meta, log, keys, gone, state, new_epoch, ARGV[at], tonumber(ARGV[at + 1]))
  local time = math.max(now, state.time)
  local time_text = number(time)
  local reply = { state.epoch, time_text, state.last + 1 }
  local fresh, n_fresh, bytes = {}, 0, 0
  local n_drafts = tonumber(ARGV[at + 2])
  at = at + 3
  for n = 0, n_drafts - 1 do
    local key, text = ARGV[at + n * 2], ARGV[at + n * 2 + 1]
    local seq = key ~= '' and redis.call('ZSCORE', keys, key)
    if seq then
      reply[#reply + 1] = { n, tonumber(seq), stored(log, gone, seq) }
    else
      n_fresh = n_fresh + 1
      fresh[n_fresh] = text
      bytes = bytes + #text
      if is_kept then
        redis.call('XADD', log, id(state.last + n_fresh), 't', time_text, 'm', text)
        if key ~= '' then
          redis.call('ZADD', keys, state.last + n_fresh, key)
        end
      end
    end
  end
  at = at + n_drafts * 2
  if n_fresh > 0 then
    local first, last = state.last + 1, state.last + n_fresh
    redis.call('HSET', meta, 'last', number(last), 'time', time_text)
    if is_kept then
      redis.call('PERSIST', meta)
    else
      redis.call('HSET', meta, 'dropped', number(last))
      redis.call('EXPIRE', meta, EMPTY_S)
    end
    local carried = bytes <= PUBLISHED_BYTES and table.concat(fresh, ',') or ''
    redis.call(publish, channel, table.concat({
      '["', process, '","A","', state.epoch, '",', number(last), ',', time_text, ',[', carried, ']]',
    }))
  end
  replies[r + 1] = reply
end
return replies
