-- Version 7: marks of members, and a renamed log does not get an epoch that another log had under the new name.

ALTER TABLE room ADD COLUMN home TEXT NOT NULL DEFAULT ''; -- the first name of a log; empty if it was never renamed

ALTER TABLE member ADD COLUMN flags INTEGER NOT NULL DEFAULT 0; -- 1: verified, 2: bot
