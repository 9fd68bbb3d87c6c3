-- Version 5: marks of members, and a renamed log does not get an epoch that another log had under the new name.

CREATE OR REPLACE FUNCTION {schema}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 5';

-- The first name of a log; empty if it was never renamed.
ALTER TABLE {schema}.room ADD COLUMN home text NOT NULL DEFAULT '';

-- As in version 4. The first log of each name has no suffix, and `in_new` has one if such a log was there. If that was
-- another log, its old cursors must not be taken for cursors of the moved one, which gets a suffix.
CREATE OR REPLACE FUNCTION {schema}.rename_room(in_room text, in_new text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    moved record;
    former_suffix text;
    new_suffix text := left(replace(gen_random_uuid()::text, '-', ''), 8);
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.room WHERE name = in_room AND last > 0) THEN
        RETURN false;
    END IF;
    INSERT INTO {schema}.room (name) VALUES (in_new) ON CONFLICT (name) DO NOTHING;
    PERFORM FROM {schema}.room WHERE name IN (in_room, in_new) ORDER BY name FOR UPDATE;
    SELECT epoch_suffix INTO former_suffix FROM {schema}.room WHERE name = in_new AND last = 0;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO moved FROM {schema}.room WHERE name = in_room AND last > 0;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    moved.home := coalesce(nullif(moved.home, ''), in_room);
    IF moved.epoch_suffix = '' AND former_suffix <> '' AND moved.home <> in_new THEN
        moved.epoch_suffix := left(replace(gen_random_uuid()::text, '-', ''), 8);
    END IF;
    UPDATE {schema}.room SET id = DEFAULT, last = 0, dropped = 0, time_ms = 0, epoch_suffix = new_suffix, home = ''
    WHERE name = in_room;
    UPDATE {schema}.room SET id = moved.id, last = moved.last, dropped = moved.dropped, time_ms = moved.time_ms,
        epoch_suffix = moved.epoch_suffix, home = moved.home
    WHERE name = in_new;
    PERFORM pg_notify('{channel}', json_build_array('d', in_room, epoch || new_suffix)::text) FROM {schema}.meta;
    PERFORM pg_notify('{channel}', format( -- of no process, so that every process is notified
        '["a","",0,"%s",[%s]]', epoch,
        {schema}.advanced(in_new, moved.last, moved.last, moved.time_ms, moved.epoch_suffix)
    )) FROM {schema}.meta;
    RETURN true;
END
$$;

ALTER TABLE {schema}.member ADD COLUMN flags smallint NOT NULL DEFAULT 0; -- 1: verified, 2: bot

-- As in version 1, with the flags of the members. Processes of an older version use that one until they are upgraded.
CREATE FUNCTION {schema}.announce(
    in_process text, in_life text, is_whole boolean, ttl_s double precision,
    joined_rooms text[], joined_names text[], joined_since_ms bigint[], joined_flags smallint[],
    left_rooms text[], left_names text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz := clock_timestamp();
    changed bigint;
    kept_versions CONSTANT integer := 100; -- some minutes; a process that has not polled for longer reads all members
BEGIN
    SELECT version INTO changed FROM {schema}.process
    WHERE name = in_process AND life = in_life AND expires > now FOR UPDATE;
    IF NOT FOUND THEN
        IF NOT is_whole THEN
            RETURN false;
        END IF;
        changed := 0;
        INSERT INTO {schema}.process (name, life, expires) VALUES (in_process, in_life, now)
        ON CONFLICT (name) DO UPDATE SET life = excluded.life, version = 0, forgotten = 0;
        DELETE FROM {schema}.member WHERE process = in_process;
    END IF;

    IF cardinality(joined_rooms) + cardinality(left_rooms) > 0 THEN
        changed := changed + 1;
        INSERT INTO {schema}.member (process, room, name, since_ms, flags, version, is_gone)
        SELECT in_process, room, name, since_ms, flags, changed, false
        FROM unnest(joined_rooms, joined_names, joined_since_ms, joined_flags) AS joined (room, name, since_ms, flags)
        ON CONFLICT (process, room, name)
        DO UPDATE SET since_ms = excluded.since_ms, flags = excluded.flags, version = excluded.version, is_gone = false;
        UPDATE {schema}.member SET is_gone = true, version = changed
        FROM unnest(left_rooms, left_names) AS gone (room, name)
        WHERE process = in_process AND member.room = gone.room AND member.name = gone.name;
        DELETE FROM {schema}.member WHERE process = in_process AND is_gone AND version <= changed - kept_versions;
    END IF;
    UPDATE {schema}.process SET expires = now + make_interval(secs => ttl_s), version = changed,
        forgotten = greatest(forgotten, changed - kept_versions)
    WHERE name = in_process;

    -- Delete expired processes, except those that another transaction is deleting.
    WITH faded AS (
        DELETE FROM {schema}.process WHERE name IN (
            SELECT name FROM {schema}.process WHERE expires <= now AND name <> in_process FOR UPDATE SKIP LOCKED
        ) RETURNING name
    ) DELETE FROM {schema}.member WHERE process IN (SELECT name FROM faded);
    RETURN true;
END
$$;
