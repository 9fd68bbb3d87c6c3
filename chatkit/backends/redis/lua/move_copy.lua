-- Add items to a part of a copy, which expires unless the move is committed. KEYS: the part.
-- ARGV: its type, the seconds until it expires, and its items: for a stream a seq, a time and a text; for a set a seq
-- and a member; for a hash a field and a value.

local part, kind = KEYS[1], ARGV[1]
if kind == 'stream' then
  for n = 3, #ARGV, 3 do
    redis.call('XADD', part, ARGV[n], 't', ARGV[n + 1], 'm', ARGV[n + 2])
  end
elseif kind == 'set' then
  for n = 3, #ARGV, 2 do
    redis.call('ZADD', part, ARGV[n], ARGV[n + 1])
  end
else
  for n = 3, #ARGV, 2 do
    redis.call('HSET', part, ARGV[n], ARGV[n + 1])
  end
end
redis.call('EXPIRE', part, ARGV[2])
return 1
