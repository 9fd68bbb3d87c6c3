-- Version 5: a store knows its file, so that a copy of it begins another epoch.

ALTER TABLE meta ADD COLUMN inode INTEGER NOT NULL DEFAULT 0; -- 0: not noted yet

-- Whether the file bears a mark that copies of it do not: a file system may give a deleted file's inode to the next one.
ALTER TABLE meta ADD COLUMN is_marked INTEGER NOT NULL DEFAULT FALSE;
