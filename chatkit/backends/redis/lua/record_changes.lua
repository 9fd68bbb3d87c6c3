-- Return one page of the changes. KEYS: values, versions, names.
-- ARGV: a new epoch, the epoch and version that the caller knows ('' for nothing), the maximum number of changes.
-- Returns the epoch, the newest version, the names and values of the changes after the known version, in the order of
-- their versions, and 1 if there may be more. If the epoch is another, or the known version is not stored, the changes
-- are those after version 0.

local epoch, newest = head_of(ARGV[1], '', 0)
local known = tonumber(ARGV[3])
if epoch ~= ARGV[2] or newest < known then
  known = 0
end
local found = {}
if known < newest then
  found = redis.call('ZRANGEBYSCORE', versions, '(' .. number(known), '+inf', 'LIMIT', 0, ARGV[4])
end
local stored, more = page_of(found, ARGV[4])
return { epoch, newest, found, stored, more }
