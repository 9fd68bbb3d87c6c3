-- Count one step of the messages that a name has not read. KEYS: the room's meta, log, gone, refs.
-- ARGV: the name, the beginning of its entries, the number up to which it has read (-1 if it has read nothing), where to
-- go on (0 at first), the number at which to stop, and the number of entries to examine.
-- Returns nothing if the room holds or held no message, or if nothing was read and it does not mention the name; else
-- the last seq, the number of unread messages, the number of mentions, and where to go on, or 0.

local STEP, BYTES = 64, 1048576 -- entries read at once, and bytes read by one call: about a millisecond

local meta, log, gone, refs = unpack(KEYS)
local name, own = ARGV[1], ARGV[2]
local marker, limit, n_left = tonumber(ARGV[3]), tonumber(ARGV[5]), tonumber(ARGV[6])
local state = state_of(meta)
local read_to = math.max(marker, state.dropped, 0)
local mentions = 'm' .. name .. '\0'
local n_mentions = redis.call('ZLEXCOUNT', refs, '[' .. mentions .. code(read_to + 1), '(m' .. name .. '\1')
if state.last == 0 or (marker < 0 and n_mentions == 0) then
  return false
end
local n_unread, n_bytes, next_seq = 0, 0, 0

local function count_part(first, last, changes)
  local has_changes = next(changes) ~= nil
  while first <= last do
    local found = redis.call('XRANGE', log, id(first), id(last), 'COUNT', math.min(STEP, n_left))
    if #found == 0 then
      break
    end
    for _, entry in ipairs(found) do
      local text = entry[2][4]
      local is_message = not has_changes or not changes[tonumber(string.match(entry[1], '^%d+'))]
      n_bytes = n_bytes + #text
      if is_message and string.sub(text, 1, #own) ~= own then
        n_unread = n_unread + 1
      end
    end
    n_left = n_left - #found
    first = tonumber(string.match(found[#found][1], '^%d+')) + 1
    if n_unread >= limit then
      return false
    elseif n_left <= 0 or n_bytes > BYTES then
      next_seq = first
      return false
    end
  end
  return true
end

local from = math.max(read_to + 1, tonumber(ARGV[4]))
if from <= state.last then
  each_part(refs, from, state.last, 1, count_part)
end
return { state.last, math.min(n_unread, limit), n_mentions, next_seq }
