-- A store of rooms, version 1. A later version is a further script, never a change of this one.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch TEXT NOT NULL,
    -- The highest message id when something was last trimmed: ids below it are used up, though their rows are gone.
    -- It changes when another process trimmed what this one has not seen, which is what an append must know.
    top INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE room (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- The newest message that was trimmed. The room's first is the one after it; its last is its newest row, or this.
    dropped INTEGER NOT NULL DEFAULT 0,
    dropped_time_ms INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE message (
    id INTEGER PRIMARY KEY, -- one order over all rooms: what is new since an id is the table's end
    room INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    sender TEXT NOT NULL,
    body TEXT, -- NULL: redacted
    data TEXT, -- JSON
    key TEXT,
    folded TEXT -- the body's casefold, where LIKE does not find it: capitals beyond ASCII, NUL
);

CREATE UNIQUE INDEX message_seq ON message (room, seq);

CREATE UNIQUE INDEX message_key ON message (room, key) WHERE key IS NOT NULL;

CREATE TABLE redaction (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: other processes ask for what is new since an id
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
