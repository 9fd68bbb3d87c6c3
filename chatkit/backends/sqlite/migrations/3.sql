-- Version 3: presence is read as changes since a version, instead of completely. Rows of version 2 expire.

ALTER TABLE process ADD COLUMN life TEXT NOT NULL DEFAULT ''; -- a new value each time the process starts over

ALTER TABLE process ADD COLUMN version INTEGER NOT NULL DEFAULT 0; -- the number of its changes

ALTER TABLE member ADD COLUMN version INTEGER NOT NULL DEFAULT 0; -- the process's version at the last change

ALTER TABLE member ADD COLUMN is_gone INTEGER NOT NULL DEFAULT FALSE;

CREATE INDEX member_version ON member (process, version);

-- A small part of the rows: each announcement deletes the oldest of them.
CREATE INDEX member_gone ON member (process, version) WHERE is_gone;
