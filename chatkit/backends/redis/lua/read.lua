-- Read a page of a room, as it is now. KEYS: its meta, log, keys, gone, refs.
-- ARGV: a new epoch, the first and the last seq requested, the number of messages, whether to return the newest of
-- them, the maximum bytes of the entries (one entry may be larger), and the source: '' for the entries as they are
-- stored, '*' for the messages among them, '=' for the messages whose seqs follow, in the order of reading, or the
-- beginning of the members of 'refs' that end with the messages' seqs.
-- With a source, what refers to the messages is returned, too; relations.lua and states.lua are then parts of the script.
-- Returns its epoch, first and last seq, the entries, the tombstones, whether the limit of bytes ended the page, and the
-- states (see `state_of_message`); or nothing if the room does not exist.

local STEP = 32 -- entries read at once: entries beyond the limit of bytes are not read
local EMOJI_BYTES = 64 -- how an emoji counts towards the limit: it costs as much time as some bytes of a body

local meta, log, keys, gone, refs = unpack(KEYS)
local state = state_of(meta)
check_settled(state.arriving)
if not state.epoch then
  return false
end
renew(meta, log, keys, gone, refs, state, ARGV[1], '', 0)
local sign = ARGV[5] == '1' and -1 or 1
local wanted, max_bytes, source = tonumber(ARGV[4]), tonumber(ARGV[6]), ARGV[7]
local low, high = math.max(tonumber(ARGV[2]), state.dropped + 1), math.min(tonumber(ARGV[3]), state.last)
if #source > 1 then -- the replies to one message: they are not found here if it was dropped, or is a change
  local of = decode(source, 1)
  source = (of <= state.dropped or is_change(refs, of)) and '*' or source
end
local is_folded = source ~= ''
local entries, tombstones, states, n_entries, n_bytes, is_cut = {}, {}, {}, 0, 0, 0

-- The next message in the order of reading that others refer to: most messages have nothing to look for.
local next_target
local function has_state(seq)
  if not next_target or (next_target - seq) * sign < 0 then
    local found
    if sign > 0 then
      found = redis.call('ZRANGEBYLEX', refs, '[' .. code(seq), '(S', 'LIMIT', 0, 1)
    else
      found = redis.call('ZREVRANGEBYLEX', refs, '(' .. code(seq + 1), '[A', 'LIMIT', 0, 1)
    end
    next_target = found[1] and decode(found[1], 1) or sign * math.huge
  end
  return next_target == seq
end

local function seq_of_entry(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

-- Examine an entry in a page of messages. Returns its size and what refers to it; or nothing if it is a change.
local function examine(entry, changes)
  local seq, size = seq_of_entry(entry), #entry[2][4]
  if changes[seq] then
    return nil
  elseif not has_state(seq) then
    return size
  end
  local found = state_of_message(log, gone, refs, seq)
  return size + #found[6] + #found[7] * EMOJI_BYTES, found
end

local function add_tombstones(first, last, count_of, changes)
  local found
  if sign < 0 then
    found = redis.call('ZREVRANGEBYSCORE', gone, last, first, 'LIMIT', 0, count_of)
  else
    found = redis.call('ZRANGEBYSCORE', gone, first, last, 'LIMIT', 0, count_of)
  end
  for _, text in ipairs(found) do
    local seq = is_folded and tonumber(string.match(text, '^%[(%d+)'))
    if not changes[seq] then
      tombstones[#tombstones + 1] = text
    end
    if seq and not changes[seq] then
      states[#states + 1] = { seq, count_replies(refs, seq), 0, 0, '', '', {} }
    end
  end
end

-- Read the entries and tombstones from one seq to another, except changes. Returns whether more are wanted.
local function read_part(first, last, changes, n_changes)
  local n_missing, n_before = wanted - n_entries - #tombstones, n_entries
  local from, to = first, last
  while n_entries - n_before < n_missing and is_cut == 0 do
    local step = math.min(STEP, n_missing - (n_entries - n_before) + n_changes)
    local found
    if sign < 0 then
      found = redis.call('XREVRANGE', log, id(to), id(from), 'COUNT', step)
    else
      found = redis.call('XRANGE', log, id(from), id(to), 'COUNT', step)
    end
    local reached
    for _, entry in ipairs(found) do
      local size, of_message
      if is_folded then
        size, of_message = examine(entry, changes)
      else
        size = #entry[2][4]
      end
      if size then
        n_bytes = n_bytes + size
        if n_entries > 0 and n_bytes > max_bytes then
          is_cut = 1
          break
        end
        n_entries = n_entries + 1
        entries[n_entries] = entry
        if of_message then
          states[#states + 1] = of_message
        end
      end
      reached = entry
    end
    if reached and sign < 0 then
      to = seq_of_entry(reached) - 1
    elseif reached then
      from = seq_of_entry(reached) + 1
    end
    if is_cut == 1 then
      first = sign < 0 and to + 1 or first
      last = sign > 0 and from - 1 or last
    elseif #found < step then
      break
    end
  end
  add_tombstones(number(first), number(last), n_missing + n_changes, changes)
  return is_cut == 0 and n_entries + #tombstones < wanted
end

if low > high then
  -- nothing to read
elseif not is_folded then
  read_part(low, high, {}, 0)
elseif source == '*' then
  each_part(refs, low, high, sign, read_part)
elseif source == '=' then
  for n = 8, #ARGV do
    local seq = tonumber(ARGV[n])
    if not read_part(seq, seq, {}, 0) then
      break
    end
  end
else
  local from, to, found = '[' .. source .. code(low), '[' .. source .. code(high), nil
  if sign < 0 then
    found = redis.call('ZREVRANGEBYLEX', refs, to, from, 'LIMIT', 0, wanted)
  else
    found = redis.call('ZRANGEBYLEX', refs, from, to, 'LIMIT', 0, wanted)
  end
  for _, member in ipairs(found) do
    local seq = decode(member, #source + 1)
    if not read_part(seq, seq, {}, 0) then
      break
    end
  end
end
return { state.epoch, state.dropped + 1, state.last, entries, tombstones, is_cut, states }
