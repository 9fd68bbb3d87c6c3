-- The common part of the scripts of records. The records of a store consist of
--   values    a hash: each record's version and value ('7+value', or '7-' if it was deleted), by its name ('kind\0key');
--             and three fields without a NUL: epoch, version (of the newest change), live (number of existing records)
--   versions  a sorted set: the names, by version
--   names     a sorted set: the names of the existing records, in the order of their bytes

local FIELDS = 3
local PAGE_BYTES = 1048576 -- of the values that one script returns, and one value more: about a millisecond
local values, versions, names = KEYS[1], KEYS[2], KEYS[3]

local function version_of(stored)
  return stored and tonumber(string.match(stored, '^%d+')) or 0
end

local function exists(stored)
  return string.match(stored, '^%d+(.)') == '+'
end

-- Build the two sorted sets from the values: Redis may have evicted one of them.
local function rebuild()
  redis.call('UNLINK', versions, names)
  local cursor = '0'
  repeat
    local found = redis.call('HSCAN', values, cursor, 'COUNT', 1000)
    cursor = found[1]
    for n = 1, #found[2], 2 do
      local name, stored = found[2][n], found[2][n + 1]
      if string.find(name, '\0', 1, true) then
        redis.call('ZADD', versions, version_of(stored), name)
        if exists(stored) then
          redis.call('ZADD', names, 0, name)
        end
      end
    end
  until cursor == '0'
  redis.call('HSET', values, 'live', redis.call('ZCARD', names))
end

-- Return the epoch and the version. Records that were lost, or whose newest changes were (the caller has seen a version
-- that is not stored), get a new epoch.
local function head_of(new_epoch, known_epoch, known_version)
  local found = redis.call('HMGET', values, 'epoch', 'version', 'live')
  local epoch, version = found[1], tonumber(found[2] or 0)
  if not epoch or (epoch == known_epoch and version < known_version) then
    epoch = new_epoch
    redis.call('HSET', values, 'epoch', epoch, 'version', number(version), 'live', found[3] or 0)
  end
  local n_names = redis.call('HLEN', values) - FIELDS
  if redis.call('ZCARD', versions) ~= n_names or redis.call('ZCARD', names) ~= tonumber(found[3] or 0) then
    rebuild()
  end
  return epoch, version
end

-- Return the values of names, as many as a page may hold, and 1 if there may be more, because the page or the number of
-- names is at its limit.
local function page_of(found, limit)
  local stored, n_bytes = {}, 0
  for n, name in ipairs(found) do
    if n_bytes > PAGE_BYTES then
      return stored, 1
    end
    stored[n] = redis.call('HGET', values, name)
    n_bytes = n_bytes + #stored[n]
  end
  return stored, #found == tonumber(limit) and 1 or 0
end
