-- Version 4: a key belongs to a room and a sender. The keys of version 3 are unique under this rule, too.

DROP INDEX message_key;

CREATE UNIQUE INDEX message_key ON message (room, key, sender) WHERE key IS NOT NULL;
