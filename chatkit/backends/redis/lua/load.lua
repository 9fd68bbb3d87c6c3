-- Store messages of another store. KEYS: their room's meta, log, keys, gone, refs, channel.
-- ARGV: the command that publishes, the origin of the publication, a new epoch, the first seq; then for each message
-- its time, its key with its sender ('' for none), 'm' or 'g' for a tombstone, in upper case if it refers to a message or
-- mentions names, and its text.
-- Returns the number stored, the first and last seq before, and the key with its sender that is used by another message.

local meta, log, keys, gone, refs, channel = unpack(KEYS)
local publish, origin, first = ARGV[1], ARGV[2], tonumber(ARGV[4])
local OPTIONS, WORDS = 4, 4
local n_messages = (#ARGV - OPTIONS) / WORDS
check_rights({
  { 'HSET', meta, 'last', '' },
  { 'EXPIRE', meta, EMPTY_S },
  { 'PERSIST', meta },
  { 'XADD', log, '1-0', 't', '' },
  { 'ZADD', keys, 1, '' },
  { 'ZADD', gone, 1, '' },
  { 'ZREM', refs, '' },
  { 'ZREMRANGEBYLEX', refs, '-', '-' },
  { publish, channel, '' },
})
local state = state_of(meta)
check_settled(state.moving, state.arriving)
redis.call('XLEN', log)
renew(meta, log, keys, gone, refs, state, ARGV[3], '', 0)
if state.last == 0 then
  redis.call('EXPIRE', meta, EMPTY_S) -- in case nothing is stored
  if redis.call('EXISTS', refs) == 1 then
    redis.call('UNLINK', refs) -- of a log that a server of an older version deleted
  end
end
local newest = first + n_messages - 1
local from = math.max(first, state.last + 1)
local head_first = state.dropped + 1
if newest < from or (from > state.last + 1 and state.last > state.dropped) then
  return { 0, head_first, state.last }
end

local is_new_to_keys = redis.call('ZCARD', keys) == 0
state.is_by_sender = state.is_by_sender or is_new_to_keys
local seen, related = {}, {}
for seq = from, newest do
  local at = OPTIONS + (seq - first) * WORDS
  local key, kind = ARGV[at + 2], ARGV[at + 3]
  if kind == 'M' or kind == 'G' then
    related[seq] = cjson.decode(ARGV[at + 4])
    if kind == 'G' then
      related[seq] = { [6] = related[seq][6], [7] = related[seq][7] } -- of and act, at their places in a message
    end
  end
  if key ~= '' then
    if seen[key] or seq_of(log, keys, gone, state, key) then
      return { 0, head_first, state.last, key }
    end
    seen[key] = true
  end
end
if is_new_to_keys then
  redis.call('HSET', meta, 'by_sender', '1')
end
if state.last == state.dropped then
  state.dropped = from - 1
  redis.call('HSET', meta, 'dropped', number(state.dropped))
end
local time
for seq = from, newest do
  local at = OPTIONS + (seq - first) * WORDS
  local key, kind, text = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  time = ARGV[at + 1]
  if kind == 'g' or kind == 'G' then
    redis.call('ZADD', gone, seq, text)
  else
    redis.call('XADD', log, id(seq), 't', time, 'm', text)
  end
  if key ~= '' then
    redis.call('ZADD', keys, seq, key)
  end
  if related[seq] then
    relate(log, gone, refs, state, seq, time, related[seq])
  end
end
redis.call('HSET', meta, 'last', number(newest), 'time', time)
redis.call('PERSIST', meta)
redis.call(publish, channel, '["' .. origin .. '","A","' .. state.epoch .. '",' .. number(newest) .. ',' .. time .. ',[]]')
return { newest - from + 1, head_first, state.last }
