-- Version 5: a store records its file, so that a copy of it gets another epoch.

ALTER TABLE meta ADD COLUMN inode INTEGER NOT NULL DEFAULT 0; -- 0: not recorded yet

-- Whether the file has the attribute that copies lack: a file system may assign the inode of a deleted file again.
ALTER TABLE meta ADD COLUMN is_marked INTEGER NOT NULL DEFAULT FALSE;
