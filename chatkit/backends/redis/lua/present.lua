-- Return the members of a process, or their changes. KEYS: its life, members, changes.
-- ARGV: the life and the number of changes that the caller knows.
-- Returns nothing if the process has expired; else its life, the number of changes, and either the changes that the
-- caller does not know, or 0 and all members.

local life, members, changes = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('HMGET', life, 'name', 'count')
if not found[1] then
  return false
end
local count, known = tonumber(found[2]), tonumber(ARGV[2])
if found[1] == ARGV[1] and known <= count then
  local missed = count > known and redis.call('XRANGE', changes, id(known + 1), '+') or {}
  if #missed == count - known then
    return { found[1], count, missed }
  end
end
return { found[1], count, 0, redis.call('HGETALL', members) }
