-- Version 7: a renamed log does not get an epoch that another log had under the new name.

ALTER TABLE room ADD COLUMN home TEXT NOT NULL DEFAULT ''; -- the first name of a log; empty if it was never renamed
