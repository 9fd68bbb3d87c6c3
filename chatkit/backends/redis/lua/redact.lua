-- Take a message away and leave what is left of it. KEYS: its room's meta, log, gone, channel.
-- ARGV: the command that publishes, this process, the epoch in which it was read, its seq, what is left.
-- Returns 1, or 0 if it is not there any more.

local meta, log, gone, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local publish, process, epoch, seq, left = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
demand({
  { 'XDEL', log, '1-0' },
  { 'ZADD', gone, 1, '' },
  { 'HINCRBY', meta, 'redacted', 1 },
  { publish, channel, '' },
})
if redis.call('HGET', meta, 'epoch') ~= epoch or redis.call('XDEL', log, seq .. '-0') == 0 then
  return 0
end
redis.call('ZADD', gone, seq, left)
local count = redis.call('HINCRBY', meta, 'redacted', 1)
redis.call(publish, channel, '["' .. process .. '","R","' .. epoch .. '",' .. seq .. ',' .. count .. ']')
return 1
