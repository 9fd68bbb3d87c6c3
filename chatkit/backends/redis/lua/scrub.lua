-- Copy one step of a log that contains deleted entries; when the copy is complete, replace the log by it. Until then
-- the copy is unused, and expires by itself. KEYS: a room's meta, log, and the copy.
-- ARGV: the number of redactions when the copy was started ('' to start it), the seq that it has reached, and the
-- number of messages to copy.
-- Returns that number of redactions and the seq reached, or nothing instead of the seq when the copy is complete.

local COPY_S = 60 -- an unfinished copy expires after this time

local meta, log, copy = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('HMGET', meta, 'redacted', 'scrubbed', 'dropped')
local redacted, reached, step = found[1] or '0', tonumber(ARGV[2]), tonumber(ARGV[3])
check_rights({
  { 'UNLINK', log, copy },
  { 'RENAME', copy, log },
  { 'PERSIST', copy },
  { 'HSET', meta, 'scrubbed', '' },
})
if redacted == (found[2] or '0') then
  redis.call('UNLINK', copy)
  return { redacted, false }
end
if redacted ~= ARGV[1] then -- the copy may contain messages that have been redacted since
  redis.call('UNLINK', copy)
  reached = 0
end
local entries = redis.call('XRANGE', log, id(reached + 1), '+', 'COUNT', step)
for _, entry in ipairs(entries) do
  redis.call('XADD', copy, entry[1], unpack(entry[2]))
end
redis.call('EXPIRE', copy, COPY_S)
if #entries == step then
  return { redacted, tonumber(string.match(entries[step][1], '^%d+')) }
end
redis.call('XTRIM', copy, 'MINID', '=', id(tonumber(found[3] or 0) + 1)) -- it may have been trimmed between steps
if redis.call('XLEN', copy) ~= redis.call('XLEN', log) then -- the log has a new epoch: start again
  return { '', 0 }
end
redis.call('UNLINK', log)
if redis.call('XLEN', copy) > 0 then
  redis.call('PERSIST', copy)
  redis.call('RENAME', copy, log)
end
redis.call('HSET', meta, 'scrubbed', redacted)
return { redacted, false }
