-- Version 4: a key belongs to a room and a sender. What version 3 accepted is unique here, too.

DROP INDEX message_key;

CREATE UNIQUE INDEX message_key ON message (room, key, sender) WHERE key IS NOT NULL;
