-- Replace a message by its tombstone. KEYS: its room's meta, log, gone, channel.
-- ARGV: the command that publishes, the origin of the publication, the epoch in which the message was read, its seq,
-- its tombstone. Returns 1, or 0 if the message no longer exists.

local meta, log, gone, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local publish, origin, epoch, seq, tombstone = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
check_rights({
  { 'XDEL', log, '1-0' },
  { 'ZADD', gone, 1, '' },
  { 'HINCRBY', meta, 'redacted', 1 },
  { publish, channel, '' },
})
check_settled(redis.call('HGET', meta, 'moving'))
if redis.call('HGET', meta, 'epoch') ~= epoch or redis.call('XDEL', log, seq .. '-0') == 0 then
  return 0
end
redis.call('ZADD', gone, seq, tombstone)
local count = redis.call('HINCRBY', meta, 'redacted', 1)
redis.call(publish, channel, '["' .. origin .. '","R","' .. epoch .. '",' .. seq .. ',' .. count .. ']')
return 1
