-- Return one page of the existing records whose names are in a range. KEYS: values, versions, names.
-- ARGV: a new epoch, the start and the end of the range, the maximum number of records.
-- Returns their names, their values, and 1 if there may be more.

head_of(ARGV[1], '', 0)
local found = redis.call('ZRANGEBYLEX', names, ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local stored, more = page_of(found, ARGV[4])
return { found, stored, more }
