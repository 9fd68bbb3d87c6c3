-- The part of scripts that read or change what refers to messages. The members of 'refs' have equal scores, so that they
-- are in the order of their bytes. Numbers are those of `code`; 'of' is the seq of the message that others refer to.
--   of 'e' seq               an edit that is not redacted
--   of 'f' seq               an edit by somebody else, which changes nothing
--   of 'm' time name         a name that the message mentions now, and the message's time
--   of 'o' emoji \0 seq      an emoji, and the entry that was the first to use it since nobody did
--   of 'p'                   the message is pinned
--   of 'r' seq               a reply, also if there was no such message
--   of 'x' emoji \0 sender   a reaction
--   'c' seq                  an entry that is a change
--   'm' name \0 seq          the mentions of a name, by their seq
--   'p' seq                  the pinned messages
--   't' name \0 time seq     the mentions of a name, by their time
-- What refers to a message that was dropped may stay for a while: it is never read.

-- The limits of a range of all members that begin in the same way.
local function beginning(prefix)
  local last = #prefix
  return '[' .. prefix, '(' .. string.sub(prefix, 1, last - 1) .. string.char(string.byte(prefix, last) + 1)
end

-- Read a number in a member. Returns it, and the place after it.
local function decode(member, at)
  local stop = at + string.byte(member, at) - 64
  return tonumber(string.sub(member, at + 1, stop)), stop + 1
end

local function add(refs, member)
  return redis.call('ZADD', refs, 0, member) == 1
end

local function find(refs, prefix, limit)
  local low, high = beginning(prefix)
  return redis.call('ZRANGEBYLEX', refs, low, high, 'LIMIT', 0, limit)
end

local function count(refs, prefix)
  return redis.call('ZLEXCOUNT', refs, beginning(prefix))
end

local function is_change(refs, seq)
  return redis.call('ZSCORE', refs, 'c' .. code(seq))
end

-- If a member is a mention, remove it in all orders.
local function remove_mention(refs, member)
  local of, at = decode(member, 1)
  if string.sub(member, at, at) == 'm' then
    local time, name_at = decode(member, at + 1)
    local name = string.sub(member, name_at) .. '\0'
    redis.call('ZREM', refs, member, 'm' .. name .. code(of), 't' .. name .. code(time) .. code(of))
  end
end

-- Replace the mentions of a message.
local function set_mentions(refs, of, time, names)
  for _, member in ipairs(find(refs, code(of) .. 'm', -1)) do
    remove_mention(refs, member)
  end
  for _, name in ipairs(names or {}) do
    local seq, at = code(of), code(time)
    add(refs, seq .. 'm' .. at .. name)
    add(refs, 'm' .. name .. '\0' .. seq)
    add(refs, 't' .. name .. '\0' .. at .. seq)
  end
end

-- The number of replies to a message. One that was written before the message does not count.
local function count_replies(refs, of)
  local replies = code(of) .. 'r'
  local _, high = beginning(replies)
  return redis.call('ZLEXCOUNT', refs, '[' .. replies .. code(of), high)
end

local function newest_edit(refs, of)
  local low, high = beginning(code(of) .. 'e')
  local member = redis.call('ZREVRANGEBYLEX', refs, high, low, 'LIMIT', 0, 1)[1]
  return member and decode(member, #code(of) + 2)
end

local function react(refs, of, emoji, sender, seq)
  local senders = code(of) .. 'x' .. emoji .. '\0'
  if add(refs, senders .. sender) and count(refs, senders) == 1 then
    add(refs, code(of) .. 'o' .. emoji .. '\0' .. code(seq))
  end
end

local function unreact(refs, of, emoji, sender)
  local senders = code(of) .. 'x' .. emoji .. '\0'
  if redis.call('ZREM', refs, senders .. sender) == 1 and count(refs, senders) == 0 then
    redis.call('ZREMRANGEBYLEX', refs, beginning(code(of) .. 'o' .. emoji .. '\0'))
  end
end

local function edit(log, gone, refs, of, seq, entry, names)
  local target = stored(log, gone, of)
  if cjson.decode(target[2])[1] == entry[1] then
    add(refs, code(of) .. 'e' .. code(seq))
    set_mentions(refs, of, target[1], names)
  else
    add(refs, code(of) .. 'f' .. code(seq))
  end
end

-- Apply a stored entry that refers to a message or mentions names. `entry` is its decoded text, or that of a tombstone
-- with nothing in place of what was removed.
local function relate(log, gone, refs, state, seq, time, entry)
  local function part(n)
    return entry[n] ~= cjson.null and entry[n] or nil
  end
  local of, act, names = part(6), part(7), part(8)
  if act then
    add(refs, 'c' .. code(seq))
  elseif names then
    set_mentions(refs, seq, time, names)
  end
  if not of or of <= state.dropped or is_change(refs, of) then
    return
  end
  if not act then
    add(refs, code(of) .. 'r' .. code(seq))
  elseif of > seq then
    return
  elseif not part(2) or redis.call('ZCOUNT', gone, of, of) > 0 then
    return -- one of the two is redacted
  elseif act == 'edit' then
    edit(log, gone, refs, of, seq, entry, names)
  elseif act == 'react' then
    react(refs, of, entry[2], entry[1], seq)
  elseif act == 'unreact' then
    unreact(refs, of, entry[2], entry[1])
  elseif act == 'pin' then
    redis.call('ZADD', refs, 0, code(of) .. 'p', 0, 'p' .. code(of))
  elseif act == 'unpin' then
    redis.call('ZREM', refs, code(of) .. 'p', 'p' .. code(of))
  end
end

-- Call `visit` with the first and the last seq of parts of a range, a table of the changes there, and their number, in
-- ascending order, or if `sign` is -1 in descending order, until it returns false. Many changes in a row are skipped:
-- they cost no more than a few.
local function each_part(refs, low, high, sign, visit)
  if redis.call('ZLEXCOUNT', refs, '[c' .. code(low), '[c' .. code(high)) == 0 then
    visit(low, high, {}, 0)
    return
  end
  local WINDOW = 32 -- changes that are looked up at once
  local seq = sign > 0 and low or high
  local rank = sign > 0 and redis.call('ZLEXCOUNT', refs, '-', '(c' .. code(seq))
    or redis.call('ZLEXCOUNT', refs, '-', '[c' .. code(seq)) - 1

  local function changes_at(n, n_wanted) -- the seqs of changes, from the n-th on in the direction of `sign`
    local from, changes = rank + sign * n, {}
    local to = math.max(from + sign * (n_wanted - 1), 0)
    local found = from >= 0 and redis.call('ZRANGE', refs, math.min(from, to), math.max(from, to)) or {}
    for k = 1, #found do
      local member = found[sign > 0 and k or #found + 1 - k]
      if string.byte(member) ~= 99 then -- 'c'
        break
      end
      changes[k] = decode(member, 2)
    end
    return changes
  end

  local function is_change_at(n)
    return changes_at(n, 1)[1] == seq + sign * n
  end

  local function count_row(some) -- changes in a row from `seq` on, of which there are some
    local more = some * 2
    while is_change_at(more - 1) do
      some, more = more, more * 2
    end
    while more - some > 1 do
      local middle = math.floor((some + more) / 2)
      if is_change_at(middle - 1) then
        some = middle
      else
        more = middle
      end
    end
    return some
  end

  while low <= seq and seq <= high do
    local window, changes, n_row = changes_at(0, WINDOW), {}, 0
    for n, change in ipairs(window) do
      changes[change] = true
      if change == seq + sign * (n - 1) then
        n_row = n
      end
    end
    if n_row == WINDOW then
      n_row = count_row(WINDOW)
      seq, rank = seq + sign * n_row, rank + sign * n_row
    else
      local first = seq + sign * n_row
      local last = #window == WINDOW and window[WINDOW] or sign * math.huge
      last = math.max(low, math.min(last, high))
      local is_inside = low <= first and first <= high
      if is_inside and not visit(math.min(first, last), math.max(first, last), changes, #window) then
        return
      end
      seq, rank = last + sign, rank + sign * #window
    end
  end
end
