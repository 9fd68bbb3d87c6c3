-- Version 8: messages that refer to earlier ones, what they say about those, and mentions.

ALTER TABLE message ADD COLUMN of INTEGER; -- the number of the message that this one refers to

ALTER TABLE message ADD COLUMN act TEXT; -- what this one does to it; NULL: it is a message, or a reply

ALTER TABLE message ADD COLUMN mentions TEXT; -- a JSON array of names

CREATE INDEX message_of ON message (room, of, act, seq) WHERE of IS NOT NULL;

-- The messages that others refer to; `message.flags` has the bit 4 for them, so that no other one is looked up here.
CREATE TABLE message_state (
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    edit INTEGER, -- the number of the newest edit
    n_replies INTEGER NOT NULL DEFAULT 0,
    is_pinned INTEGER NOT NULL DEFAULT FALSE,
    PRIMARY KEY (room, seq)
) WITHOUT ROWID;

CREATE INDEX message_state_pinned ON message_state (room, seq) WHERE is_pinned;

-- Runs of consecutive changes, which a folded page skips, however many there are. `first` 0 is before all of a room.
CREATE TABLE change_run (
    room INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (room, first)
) WITHOUT ROWID;

-- The emojis on each message, counted, so that a page does not read the senders of all.
CREATE TABLE reaction (
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    emoji TEXT NOT NULL,
    since INTEGER NOT NULL, -- the number of the entry that used the emoji first, which gives their order
    n_senders INTEGER NOT NULL,
    PRIMARY KEY (room, seq, emoji)
) WITHOUT ROWID;

CREATE TABLE reaction_sender (
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    emoji TEXT NOT NULL,
    sender TEXT NOT NULL,
    PRIMARY KEY (room, seq, emoji, sender)
) WITHOUT ROWID;

-- Whom the messages mention in their current texts.
CREATE TABLE mention (
    name TEXT NOT NULL,
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time_ms INTEGER NOT NULL, -- the message's
    PRIMARY KEY (name, room, seq)
) WITHOUT ROWID;

CREATE INDEX mention_time ON mention (name, time_ms);

CREATE INDEX mention_message ON mention (room, seq);
