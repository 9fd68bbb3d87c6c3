-- Version 9: an index for searches, which a process fills if it is asked to (`?search=index`).

-- Blocks of the logs of rooms. A search skips those whose filters lack a part of its text. Blocks do not overlap, and
-- what is in no block is examined.
CREATE TABLE search_block (
    id INTEGER PRIMARY KEY,
    room INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    filter BLOB -- see gram_filter.py; NULL: a process is making it
);

CREATE UNIQUE INDEX search_block_range ON search_block (room, first, last);

CREATE INDEX search_block_unfinished ON search_block (id) WHERE filter IS NULL;

-- A block is removed by the transaction that changes or removes one of its texts, whichever process does that. The
-- blocks of a deleted room are removed in steps, as its messages are.
CREATE TRIGGER search_block_edited AFTER UPDATE OF edit ON message_state BEGIN
    DELETE FROM search_block WHERE room = new.room AND last >= new.seq
    AND first = (SELECT max(first) FROM search_block WHERE room = new.room AND first <= new.seq);
END;

CREATE TRIGGER search_block_redacted AFTER UPDATE OF body ON message BEGIN
    DELETE FROM search_block WHERE room = new.room AND last >= new.seq
    AND first = (SELECT max(first) FROM search_block WHERE room = new.room AND first <= new.seq);
END;

CREATE TRIGGER search_block_trimmed AFTER UPDATE OF dropped ON room BEGIN
    DELETE FROM search_block WHERE room = new.id AND first <= new.dropped;
END;
