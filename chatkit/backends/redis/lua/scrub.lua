-- Copy a step of a log that holds deleted entries; when all is copied, put the copy in its place. Until then it is
-- nobody's, and goes by itself. KEYS: a room's meta, log, and the copy.
-- ARGV: how many redactions there were when the copy was begun ('' to begin it), the seq that it has reached, and how
-- many messages to copy.
-- Returns that number of redactions and the seq reached, or nothing if all is done.

local COPY_S = 60 -- a copy that nobody goes on with is gone after this

local meta, log, copy = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('HMGET', meta, 'redacted', 'scrubbed', 'dropped')
local redacted, reached, step = found[1] or '0', tonumber(ARGV[2]), tonumber(ARGV[3])
demand({ { 'UNLINK', log, copy }, { 'RENAME', copy, log }, { 'PERSIST', copy }, { 'HSET', meta, 'scrubbed', '' } })
if redacted == (found[2] or '0') then
  redis.call('UNLINK', copy)
  return { redacted, false }
end
if redacted ~= ARGV[1] then -- what was copied may hold what has been redacted since
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
redis.call('XTRIM', copy, 'MINID', '=', id(tonumber(found[3] or 0) + 1)) -- a trim may have come between
if redis.call('XLEN', copy) ~= redis.call('XLEN', log) then -- the log has begun a new life: begin again
  return { '', 0 }
end
redis.call('UNLINK', log)
if redis.call('XLEN', copy) > 0 then
  redis.call('PERSIST', copy)
  redis.call('RENAME', copy, log)
end
redis.call('HSET', meta, 'scrubbed', redacted)
return { redacted, false }
