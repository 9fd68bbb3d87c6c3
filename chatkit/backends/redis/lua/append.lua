-- Append drafts to rooms, and publish them to the processes that watch the rooms.
-- KEYS: for each room its meta, log, keys, gone, refs, channel.
-- ARGV: the command that publishes, the append's id, the beginning of new epochs, whether messages are kept, and the
-- number of drafts that refer to messages or mention names; then for each room the epoch and last seq that this process
-- knows, the number of drafts, and for each draft its key with its sender ('' for none) and its text; then the places of
-- those drafts' texts in ARGV. If there are some, relations.lua is a part of this script.
-- Returns for each room its epoch, the time, the first new seq, and for each repeat: its index among the drafts, its
-- seq, and its entry (time, text) or its tombstone.

-- Far below Redis's default limit of a subscriber's output buffer. Larger batches are published without their messages,
-- which readers then read from the stream; without a history, they are published in parts.
local PUBLISHED_BYTES = 1048576

local publish, append_id, new_epoch, is_kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Every room is checked before anything is written: a key of another type fails the whole batch.
local states, at = {}, 6
check_rights({ { 'HSET', KEYS[1], 'last', '' } })
if is_kept then
  check_rights({ { 'XADD', KEYS[2], '1-0', 't', '' }, { 'ZADD', KEYS[3], 1, '' }, { 'PERSIST', KEYS[1] } })
else
  check_rights({ { 'EXPIRE', KEYS[1], EMPTY_S } })
end
local related = {}
for n = #ARGV - tonumber(ARGV[5]) + 1, #ARGV do
  related[tonumber(ARGV[n])] = cjson.decode(ARGV[tonumber(ARGV[n])])
end
if next(related) then
  check_rights({ { 'ZREM', KEYS[5], '' }, { 'ZREMRANGEBYLEX', KEYS[5], '-', '-' } })
end
for r = 0, #KEYS / 6 - 1 do
  local meta, log, keys, gone = KEYS[r * 6 + 1], KEYS[r * 6 + 2], KEYS[r * 6 + 3], KEYS[r * 6 + 4]
  check_rights({ { publish, KEYS[r * 6 + 6], '' } })
  local state = state_of(meta)
  check_settled(state.moving, state.arriving)
  redis.call('XLEN', log)
  state.is_new_to_keys = redis.call('ZCARD', keys) == 0 and not state.is_by_sender
  state.is_by_sender = state.is_by_sender or state.is_new_to_keys
  redis.call('ZCARD', gone)
  states[r] = state
end

local function publish_appended(channel, epoch, last, time, texts)
  redis.call(publish, channel, table.concat({
    '["', append_id, '","A","', epoch, '",', number(last), ',', time, ',[', texts, ']]',
  }))
end

local function publish_all(channel, state, time, texts, bytes)
  if bytes <= PUBLISHED_BYTES then
    publish_appended(channel, state.epoch, state.last + #texts, time, table.concat(texts, ','))
  elseif is_kept then
    publish_appended(channel, state.epoch, state.last + #texts, time, '')
  else
    local first, size = 1, 0
    for n, text in ipairs(texts) do
      if n > first and size + #text > PUBLISHED_BYTES then
        publish_appended(channel, state.epoch, state.last + n - 1, time, table.concat(texts, ',', first, n - 1))
        first, size = n, 0
      end
      size = size + #text
    end
    publish_appended(channel, state.epoch, state.last + #texts, time, table.concat(texts, ',', first))
  end
end

local replies = {}
for r = 0, #KEYS / 6 - 1 do
  local meta, log, keys, gone, refs, channel = unpack(KEYS, r * 6 + 1, r * 6 + 6)
  local state = states[r]
  renew(meta, log, keys, gone, refs, state, new_epoch .. number(r), ARGV[at], tonumber(ARGV[at + 1]))
  -- Of a log that a server of an older version deleted. A full store refuses only the first write of a script, so there
  -- has to be none before that of the messages.
  if is_kept and state.last == 0 and redis.call('EXISTS', refs) == 1 then
    redis.call('UNLINK', refs)
  end
  local time_text = number(now)
  local reply = { state.epoch, time_text, state.last + 1 }
  local fresh, n_fresh, bytes = {}, 0, 0
  local n_drafts = tonumber(ARGV[at + 2])
  at = at + 3
  for n = 0, n_drafts - 1 do
    local key, text = ARGV[at + n * 2], ARGV[at + n * 2 + 1]
    local seq = key ~= '' and seq_of(log, keys, gone, state, key)
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
        local entry = related[at + n * 2 + 1]
        if entry then
          relate(log, gone, refs, state, state.last + n_fresh, now, entry)
        end
      end
    end
  end
  at = at + n_drafts * 2
  if n_fresh > 0 then
    local last = state.last + n_fresh
    redis.call('HSET', meta, 'last', number(last), 'time', time_text)
    if is_kept then
      redis.call('PERSIST', meta)
      if state.is_new_to_keys then
        redis.call('HSET', meta, 'by_sender', '1')
      end
    else
      redis.call('HSET', meta, 'dropped', number(last))
      redis.call('EXPIRE', meta, EMPTY_S)
    end
    publish_all(channel, state, time_text, fresh, bytes)
  end
  replies[r + 1] = reply
end
return replies
