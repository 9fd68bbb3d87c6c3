-- Version 5: a renamed log does not get an epoch that another log had under the new name.

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
