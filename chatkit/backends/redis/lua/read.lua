-- Read a page of a room, as it is now. KEYS: its meta, log, keys, gone, refs.
-- ARGV: a new epoch, the first and the last seq requested, the number of messages, whether to return the newest of
-- them, the maximum bytes of the entries (one entry may be larger), and the source: '' for the entries as they are
-- stored, '*' for the messages among them, '=' for the messages whose seqs follow, in the order of reading, or the
-- beginning of the members of 'refs' that end with the messages' seqs.
-- With a source, what refers to the messages is returned, too, and relations.lua is a part of this script.
-- Returns its epoch, first and last seq, the entries, the tombstones, whether the limit of bytes ended the page, and the
-- states (see `state_of_message`); or nothing if the room does not exist.

local STEP = 32 -- entries read at once: entries beyond the limit of bytes are not read
local NAMES = 20 -- returned for each emoji
local EMOJI_BYTES = 64 -- how an emoji counts towards the limit: it costs as much time as some bytes of a body

local meta, log, keys, gone, refs = unpack(KEYS)
local state = state_of(meta)
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
local entries, tombstones, states, n_bytes, is_cut = {}, {}, {}, 0, 0

-- The emojis of a message: for each the entry that was the first to use it, its name, the number of its senders, and
-- some of their names.
local function reactions_of(of)
  local found = {}
  for n, member in ipairs(find(refs, of .. 'o', -1)) do
    local nul = string.find(member, '\0', #of + 2, true)
    local emoji = string.sub(member, #of + 2, nul - 1)
    local senders = of .. 'x' .. emoji .. '\0'
    local reaction = { decode(member, nul + 1), emoji, count(refs, senders) }
    for _, sender in ipairs(find(refs, senders, NAMES)) do
      reaction[#reaction + 1] = string.sub(sender, #senders + 1)
    end
    found[n] = reaction
  end
  return found
end

-- What refers to a message: its seq, the number of replies, whether it is pinned, the seq, time and text of its newest
-- edit (0 and '' without one), and its reactions.
local function state_of_message(seq)
  local of = code(seq)
  local edit = newest_edit(refs, seq)
  local edited = edit and stored(log, gone, edit) or { '', '' }
  local is_pinned = redis.call('ZSCORE', refs, of .. 'p') and 1 or 0
  return { seq, count_replies(refs, seq), is_pinned, edit or 0, edited[1], edited[2], reactions_of(of) }
end

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

-- Add an entry to the page, with what refers to it. Returns false if the page is full.
local function add_entry(entry, seq)
  local size, found = #entry[2][4], nil
  if source ~= '' and has_state(seq) then
    found = state_of_message(seq)
    size = size + #found[6] + #found[7] * EMOJI_BYTES
  end
  n_bytes = n_bytes + size
  if #entries > 0 and n_bytes > max_bytes then
    return false
  end
  entries[#entries + 1] = entry
  states[#states + 1] = found
  return true
end

local function add_tombstones(first, last, count_of)
  local found
  if sign < 0 then
    found = redis.call('ZREVRANGEBYSCORE', gone, last, first, 'LIMIT', 0, count_of)
  else
    found = redis.call('ZRANGEBYSCORE', gone, first, last, 'LIMIT', 0, count_of)
  end
  for _, text in ipairs(found) do
    tombstones[#tombstones + 1] = text
    if source ~= '' then
      local seq = tonumber(string.match(text, '^%[(%d+)'))
      states[#states + 1] = { seq, count_replies(refs, seq), 0, 0, '', '', {} }
    end
  end
end

-- Read the entries and tombstones from one seq to another. Returns whether more are wanted.
local function read_run(first, last)
  local missing = wanted - #entries - #tombstones
  local n_read, from, to = 0, first, last
  while n_read < missing and is_cut == 0 do
    local step = math.min(STEP, missing - n_read)
    local found
    if sign < 0 then
      found = redis.call('XREVRANGE', log, id(to), id(from), 'COUNT', step)
    else
      found = redis.call('XRANGE', log, id(from), id(to), 'COUNT', step)
    end
    local reached
    for _, entry in ipairs(found) do
      local seq = tonumber(string.match(entry[1], '^%d+'))
      if not add_entry(entry, seq) then
        is_cut = 1
        break
      end
      reached, n_read = seq, n_read + 1
    end
    if is_cut == 1 then
      if sign < 0 then
        first = reached or to + 1
      else
        last = reached or from - 1
      end
    elseif #found < step then
      break
    elseif sign < 0 then
      to = reached - 1
    else
      from = reached + 1
    end
  end
  add_tombstones(number(first), number(last), missing)
  return is_cut == 0 and #entries + #tombstones < wanted
end

if low > high then
  -- nothing to read
elseif source == '' then
  read_run(low, high)
elseif source == '*' then
  each_run(refs, low, high, sign, read_run)
elseif source == '=' then
  for n = 8, #ARGV do
    local seq = tonumber(ARGV[n])
    if not read_run(seq, seq) then
      break
    end
  end
else
  local found
  if sign < 0 then
    found = redis.call('ZREVRANGEBYLEX', refs, '[' .. source .. code(high), '[' .. source .. code(low), 'LIMIT', 0, wanted)
  else
    found = redis.call('ZRANGEBYLEX', refs, '[' .. source .. code(low), '[' .. source .. code(high), 'LIMIT', 0, wanted)
  end
  for _, member in ipairs(found) do
    local seq = decode(member, #source + 1)
    if not read_run(seq, seq) then
      break
    end
  end
end
return { state.epoch, state.dropped + 1, state.last, entries, tombstones, is_cut, states }
