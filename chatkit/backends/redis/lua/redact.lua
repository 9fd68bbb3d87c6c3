-- Replace a message by its tombstone, and each of its edits; remove its reactions, pin and mentions.
-- KEYS: its room's meta, log, gone, refs, channel.
-- ARGV: the command that publishes, the origin of the publication, the epoch in which the message was read, its seq, its
-- tombstone ('' if it is redacted already: only the rest is removed), and the message that it edits, or ''.
-- Returns 1; 2 if there may be more to remove; or 0 if the message is no longer as it was read.

local EDITS_STEP, REACTIONS_STEP = 100, 500 -- about a millisecond, for which an append can wait

local meta, log, gone, refs, channel = unpack(KEYS)
local publish, origin, epoch, seq, tombstone, edited = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
check_rights({
  { 'XDEL', log, '1-0' },
  { 'ZADD', gone, 1, '' },
  { 'HINCRBY', meta, 'redacted', 1 },
  { 'ZREM', refs, '' },
  { 'ZREMRANGEBYLEX', refs, '-', '-' },
  { publish, channel, '' },
})
check_settled(redis.call('HGET', meta, 'moving'))
if redis.call('HGET', meta, 'epoch') ~= epoch then
  return 0
end

local function bury(number_of, text)
  if redis.call('XDEL', log, id(number_of)) == 0 then
    return false
  end
  redis.call('ZADD', gone, number_of, text)
  local n_redacted = redis.call('HINCRBY', meta, 'redacted', 1)
  redis.call(publish, channel, table.concat({
    '["', origin, '","R","', epoch, '",', number(number_of), ',', n_redacted, ']',
  }))
  return true
end

local function tombstone_of(number_of, parts)
  local time, entry = parts[1], cjson.decode(parts[2])
  return table.concat({
    '[', number(number_of), ',', time, ',', cjson.encode(entry[1]), ',', cjson.encode(entry[4]), ',',
    number(entry[5]), ',', number(entry[6]), ',"', entry[7], '"]',
  })
end

if tombstone ~= '' and not bury(seq, tombstone) then
  return 0
end
if edited ~= '' then -- the message shows its text before this edit
  local of = tonumber(edited)
  redis.call('ZREM', refs, code(of) .. 'f' .. code(seq))
  if redis.call('ZREM', refs, code(of) .. 'e' .. code(seq)) == 1 then
    local shown = stored(log, gone, newest_edit(refs, of) or of)
    set_mentions(refs, of, stored(log, gone, of)[1], cjson.decode(shown[2])[8])
  end
  return 1
end
set_mentions(refs, seq, 0, {})
redis.call('ZREM', refs, code(seq) .. 'p', 'p' .. code(seq))
redis.call('ZREMRANGEBYLEX', refs, beginning(code(seq) .. 'o'))
local edits = redis.call('ZRANGEBYLEX', refs, '[' .. code(seq) .. 'e', '(' .. code(seq) .. 'g', 'LIMIT', 0, EDITS_STEP)
for _, member in ipairs(edits) do
  local number_of = decode(member, #code(seq) + 2)
  local parts = stored(log, gone, number_of)
  if parts[2] then
    bury(number_of, tombstone_of(number_of, parts))
  end
  redis.call('ZREM', refs, member)
end
local reactions = find(refs, code(seq) .. 'x', REACTIONS_STEP)
if #reactions > 0 then
  redis.call('ZREMRANGEBYLEX', refs, '[' .. reactions[1], '[' .. reactions[#reactions])
end
return (#edits == EDITS_STEP or #reactions == REACTIONS_STEP) and 2 or 1
