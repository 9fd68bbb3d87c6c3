-- Remove a mark of a move. KEYS: the meta of a room, and the parts of a copy to remove. ARGV: the mark.

local meta = KEYS[1]
for _, field in ipairs({ 'moving', 'moved', 'arriving' }) do
  if redis.call('HGET', meta, field) == ARGV[1] then
    redis.call('HDEL', meta, field)
  end
end
for n = 2, #KEYS do
  redis.call('UNLINK', KEYS[n])
end
if state_of(meta).last == 0 then
  redis.call('EXPIRE', meta, EMPTY_S)
end
return 1
