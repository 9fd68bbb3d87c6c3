-- Version 6: records beside the rooms, marks of a message's sender, and the deletion of rooms.

CREATE TABLE record (
    version INTEGER PRIMARY KEY, -- the highest at the last change: the changes after a version are at the table's end
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB, -- NULL: deleted; the row stays, so that the other processes read the deletion
    UNIQUE (kind, key)
);

ALTER TABLE message ADD COLUMN flags INTEGER NOT NULL DEFAULT 0; -- 1: verified, 2: bot

ALTER TABLE room ADD COLUMN life TEXT NOT NULL DEFAULT ''; -- follows the store's epoch in the room's; a deletion sets it

-- The former ids of rooms that were deleted: their messages and redactions are removed in steps.
CREATE TABLE deleted_log (
    room INTEGER PRIMARY KEY
);
