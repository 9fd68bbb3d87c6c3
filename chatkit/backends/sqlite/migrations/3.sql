-- Version 3: who came and went is read by what changed, not anew each time. What stands here of version 2 fades by itself.

ALTER TABLE process ADD COLUMN life TEXT NOT NULL DEFAULT ''; -- another one each time the process begins anew

ALTER TABLE process ADD COLUMN version INTEGER NOT NULL DEFAULT 0; -- counts its changes

ALTER TABLE member ADD COLUMN version INTEGER NOT NULL DEFAULT 0; -- the process's, when this was last changed

ALTER TABLE member ADD COLUMN is_gone INTEGER NOT NULL DEFAULT FALSE;

CREATE INDEX member_version ON member (process, version);

-- Few of many: each announcement looks for the oldest of them.
CREATE INDEX member_gone ON member (process, version) WHERE is_gone;
