-- Return the texts of all messages of a room. KEYS: its meta and log. ARGV: how many messages and bytes at most.
-- Returns nothing if there are more, or if the log does not hold each message, because some were redacted or the room is
-- being renamed.

local STEP = 16 -- entries read at once: entries beyond the limit of bytes are not read

local found = redis.call('HMGET', KEYS[1], 'last', 'dropped')
local n_stored = tonumber(found[1] or 0) - tonumber(found[2] or 0)
if n_stored > tonumber(ARGV[1]) or redis.call('XLEN', KEYS[2]) ~= n_stored then
  return false
end
local texts, n_bytes, start = {}, 0, '-'
while #texts < n_stored do
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', STEP)) do
    texts[#texts + 1] = entry[2][4]
    n_bytes = n_bytes + #entry[2][4]
    start = '(' .. entry[1]
  end
  if n_bytes > tonumber(ARGV[2]) then
    return false
  end
end
return texts
