-- Announce the members that joined and left a process. KEYS: its life, members, changes.
-- ARGV: its time to live in ms; an id for a new life; the number of changes to keep; then for each change '+' or '-',
-- the member, and the time of joining. Returns 1 if the process was not known, else 0.
-- A life is a hash of its id and the number of changes. Each change is a stream entry, whose id is the change's number.

local life, members, changes = KEYS[1], KEYS[2], KEYS[3]
local ttl_ms = ARGV[1]
local is_new = redis.call('EXISTS', life) == 0
if is_new then -- it expired, and starts a new life
  redis.call('UNLINK', members, changes)
  redis.call('HSET', life, 'name', ARGV[2], 'count', 0)
end
local count = tonumber(redis.call('HGET', life, 'count'))
for at = 4, #ARGV, 3 do
  local sign, member, since = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if sign == '+' then
    redis.call('HSET', members, member, since)
  else
    redis.call('HDEL', members, member)
  end
  count = count + 1
  redis.call('XADD', changes, 'MAXLEN', '~', ARGV[3], id(count), sign, member, 's', since)
end
redis.call('HSET', life, 'count', count)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ttl_ms)
end
return is_new and 1 or 0
