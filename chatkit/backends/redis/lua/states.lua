-- The part of the script that reads what refers to messages for a page: its states.

local NAMES = 20 -- returned for each emoji
local MEMBERS = 64 -- of most messages: then one call finds the whole state
local EDIT, ORDER, PIN, REPLY, REACTION = string.byte('eoprx', 1, 5)

-- The emojis of a message: for each the entry that was the first to use it, its name, the number of its senders, and
-- some of their names.
local function reactions_of(refs, of)
  local found = {}
  for n, member in ipairs(find(refs, of .. 'o', -1)) do
    local nul = string.find(member, '\0', #of + 2, true)
    local emoji = string.sub(member, #of + 2, nul - 1)
    local senders = of .. 'x' .. emoji .. '\0'
    local reaction = { decode(member, nul + 1), emoji, count(refs, senders) }
    for _, sender in ipairs(find(refs, senders, NAMES)) do
      reaction[#reaction + 1] = string.sub(sender, #senders + 1)
    end
    found[n] = reaction
  end
  return found
end

-- Add up all members of a message, in the order of their kinds. Returns the newest edit, the number of replies, whether
-- it is pinned, and its reactions.
local function add_up(members, of, seq)
  local at = #of + 1
  local edit, n_replies, is_pinned, reactions, by_emoji = nil, 0, 0, {}, {}
  for _, member in ipairs(members) do
    local kind = string.byte(member, at)
    if kind == REACTION or kind == ORDER then
      local nul = string.find(member, '\0', at + 1, true)
      local emoji, rest = string.sub(member, at + 1, nul - 1), string.sub(member, nul + 1)
      if kind == ORDER then
        by_emoji[emoji] = { decode(rest, 1), emoji, 0 }
        reactions[#reactions + 1] = by_emoji[emoji]
      elseif by_emoji[emoji] then
        local reaction = by_emoji[emoji]
        reaction[3] = reaction[3] + 1
        if reaction[3] <= NAMES then
          reaction[reaction[3] + 3] = rest
        end
      end
    elseif kind == REPLY then
      n_replies = n_replies + (decode(member, at + 1) >= seq and 1 or 0)
    elseif kind == EDIT then
      edit = decode(member, at + 1)
    elseif kind == PIN then
      is_pinned = 1
    end
  end
  return edit, n_replies, is_pinned, reactions
end

-- What refers to a message: its seq, the number of replies, whether it is pinned, the seq, time and text of its newest
-- edit (0 and '' without one), and its reactions.
local function state_of_message(log, gone, refs, seq)
  local of = code(seq)
  local members = redis.call('ZRANGEBYLEX', refs, '[' .. of, '(' .. of .. '~', 'LIMIT', 0, MEMBERS)
  local edit, n_replies, is_pinned, reactions
  if #members < MEMBERS then
    edit, n_replies, is_pinned, reactions = add_up(members, of, seq)
  else
    edit, n_replies, reactions = newest_edit(refs, seq), count_replies(refs, seq), reactions_of(refs, of)
    is_pinned = redis.call('ZSCORE', refs, of .. 'p') and 1 or 0
  end
  local edited = edit and stored(log, gone, edit) or { '', '' }
  return { seq, n_replies, is_pinned, edit or 0, edited[1], edited[2], reactions }
end
