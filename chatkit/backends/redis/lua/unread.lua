-- Count one step of the messages that a name has not read. KEYS: for each room its meta, log, refs.
-- ARGV: the name, the beginning of its entries, the number of entries to examine; then for each room the number up to
-- which it has read (-1 if it has read nothing), where to go on (0 at first), and the number at which to stop.
-- Returns for each room nothing if it holds or held no message, or if nothing was read and it does not mention the name;
-- else the last seq, the number of unread messages, the number of mentions, and where to go on, or 0.

local STEP, BYTES = 64, 1048576 -- entries read at once, and bytes read by one call: about a millisecond

local name, own, n_left, n_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), 0

-- Count the unread messages of a room from a seq on. Returns their number, and where to go on, or 0.
local function count_from(log, refs, from, last_seq, limit)
  local n_unread, next_seq = 0, 0
  each_part(refs, from, last_seq, 1, function(first, last, changes)
    local has_changes = next(changes) ~= nil
    while first <= last do
      if n_left <= 0 or n_bytes > BYTES then
        next_seq = first
        return false
      end
      local found = redis.call('XRANGE', log, id(first), id(last), 'COUNT', math.min(STEP, n_left))
      for _, entry in ipairs(found) do
        local text = entry[2][4]
        n_bytes = n_bytes + #text
        local is_change = has_changes and changes[tonumber(string.match(entry[1], '^%d+'))]
        if not is_change and string.sub(text, 1, #own) ~= own then
          n_unread = n_unread + 1
        end
      end
      n_left = n_left - #found
      if n_unread >= limit or #found == 0 then
        return #found == 0
      end
      first = tonumber(string.match(found[#found][1], '^%d+')) + 1
    end
    return true
  end)
  return math.min(n_unread, limit), next_seq
end

local replies = {}
for r = 0, #KEYS / 3 - 1 do
  local meta, log, refs = KEYS[r * 3 + 1], KEYS[r * 3 + 2], KEYS[r * 3 + 3]
  local at = 4 + r * 3
  local marker, start, limit = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local is_room, state = pcall(state_of, meta)
  state = is_room and state or { last = 0, dropped = 0 } -- a key of another type concerns no other room
  check_settled(state.arriving)
  local read_to = math.max(marker, state.dropped, 0)
  local mentions = 'm' .. name .. '\0'
  local n_mentions = redis.call('ZLEXCOUNT', refs, '[' .. mentions .. code(read_to + 1), '(m' .. name .. '\1')
  replies[r + 1] = false
  if state.last > 0 and (marker >= 0 or n_mentions > 0) then
    local from, n_unread, next_seq = math.max(read_to + 1, start), 0, 0
    if from <= state.last then
      n_unread, next_seq = count_from(log, refs, from, state.last, limit)
    end
    replies[r + 1] = { state.last, n_unread, n_mentions, next_seq }
  end
end
return replies
