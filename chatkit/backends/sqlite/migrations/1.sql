-- A store of rooms, version 1. A migration is never changed after its release; a later version is another script.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch TEXT NOT NULL,
    -- The highest message id at the time of the last trim: lower ids must not be used again, though their rows are gone.
    -- The value changes when another process has trimmed; an append compares it with the value that it has cached.
    top INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE room (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- The newest message that was trimmed. The room's first message is the next one; its last is its newest row, or this.
    dropped INTEGER NOT NULL DEFAULT 0,
    dropped_time_ms INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE message (
    id INTEGER PRIMARY KEY, -- one order over all rooms: the messages after an id are at the end of the table
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    sender TEXT NOT NULL,
    body TEXT, -- NULL: redacted
    data TEXT, -- JSON
    key TEXT,
    folded TEXT -- the case-folded body, if LIKE does not find it: it has capitals beyond ASCII, or NUL
);

CREATE UNIQUE INDEX message_seq ON message (room, seq);

CREATE UNIQUE INDEX message_key ON message (room, key) WHERE key IS NOT NULL;

CREATE TABLE redaction (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: other processes read the rows after an id
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    UNIQUE (room, seq)
);

CREATE TABLE process (
    name TEXT PRIMARY KEY,
    expires_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE member (
    process TEXT NOT NULL,
    room TEXT NOT NULL,
    name TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (process, room, name)
) WITHOUT ROWID;
