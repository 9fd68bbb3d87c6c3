-- Set or delete a record. KEYS: values, versions, names.
-- ARGV: a new epoch, the epoch and version that this process has seen, the record's name, the expected version, '+' to
-- set it or '-' to delete it, and the value. Returns the new version, or nothing if the record has another version.

local name, expected, sign, value = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
check_rights({
  { 'HSET', values, name, '' },
  { 'ZADD', versions, 1, name },
  { 'ZADD', names, 0, name },
  { 'ZREM', names, name },
  { 'UNLINK', versions, names },
})
local _, newest = head_of(ARGV[1], ARGV[2], tonumber(ARGV[3]))
if version_of(redis.call('HGET', values, name)) ~= expected then
  return false
end
local version = number(newest + 1)
if sign == '+' then
  redis.call('ZADD', names, 0, name)
else
  redis.call('ZREM', names, name)
end
redis.call('ZADD', versions, version, name)
redis.call('HSET', values, name, version .. sign .. value, 'version', version, 'live', redis.call('ZCARD', names))
return newest + 1
