-- Version 3: records; messages with flags; rooms that can be deleted, and loaded from another store.

CREATE OR REPLACE FUNCTION {schema}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 3';

ALTER TABLE {schema}.message ADD COLUMN flags smallint NOT NULL DEFAULT 0; -- see flags.py

-- A room's epoch is the store's followed by this, which changes when the room is deleted.
ALTER TABLE {schema}.room ADD COLUMN epoch_suffix text NOT NULL DEFAULT '';

-- The logs of deleted rooms, which nothing refers to. `purge` deletes their messages above `reached`.
CREATE TABLE {schema}.deleted_log (
    room bigint PRIMARY KEY,
    reached bigint NOT NULL,
    last bigint NOT NULL
);

-- A change of a record locks this row until it commits, so that version N is not visible before N - 1.
CREATE TABLE {schema}.record_head (
    one integer PRIMARY KEY CHECK (one = 1),
    epoch text NOT NULL,
    version bigint NOT NULL DEFAULT 0 -- of the newest change
);

CREATE TABLE {schema}.record (
    kind text COLLATE "C" NOT NULL,
    key bytea NOT NULL, -- UTF-8: in the order of its bytes, a prefix is a range, and no character needs escaping
    value bytea, -- null if the record was deleted
    version bigint NOT NULL UNIQUE,
    PRIMARY KEY (kind, key)
);

-- Records that were emptied by an administrator get a new epoch.
CREATE FUNCTION {schema}.begin_records() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.record_head (one, epoch, version)
    SELECT 1, left(replace(gen_random_uuid()::text, '-', ''), 12), coalesce(max(version), 0) FROM {schema}.record
    ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch;
    RETURN NULL;
END
$$;

CREATE TRIGGER begin_records AFTER DELETE OR TRUNCATE ON {schema}.record_head
EXECUTE FUNCTION {schema}.begin_records();
CREATE TRIGGER begin_records AFTER DELETE OR TRUNCATE ON {schema}.record EXECUTE FUNCTION {schema}.begin_records();

TRUNCATE {schema}.record_head;

-- Set or delete a record; return its new version, or null if it does not have the expected one. See Backend.put_record.
-- If the caller has seen a version that the store has not reached, changes were lost, and the records get a new epoch.
CREATE FUNCTION {schema}.put_record(
    in_kind text, in_key bytea, in_value bytea, expected bigint, seen_epoch text, seen_version bigint, new_epoch text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    next_version bigint;
BEGIN
    SELECT version + 1 INTO STRICT next_version FROM {schema}.record_head FOR UPDATE;
    IF expected <> coalesce((SELECT version FROM {schema}.record WHERE kind = in_kind AND key = in_key), 0) THEN
        RETURN NULL;
    END IF;
    UPDATE {schema}.record_head SET version = next_version,
        epoch = CASE WHEN epoch = seen_epoch AND version < seen_version THEN new_epoch ELSE epoch END;
    INSERT INTO {schema}.record (kind, key, value, version) VALUES (in_kind, in_key, in_value, next_version)
    ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, version = excluded.version;
    RETURN next_version;
END
$$;

-- Return a payload's entry of a room that advanced: see notifications.py.
CREATE FUNCTION {schema}.advanced(name text, first bigint, last bigint, time_ms bigint, epoch_suffix text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN epoch_suffix = '' THEN json_build_array(name, first, last, time_ms)
        ELSE json_build_array(name, first, last, time_ms, epoch_suffix) END::text
$$;

DROP FUNCTION {schema}.append(text, bigint, text[], integer[], text[], text[], text[], text[], text[], text);

-- Append drafts; see Backend.append. `rooms` are positions in `names`. `carried` is the drafts as JSON, for listeners;
-- null if they are too long for a payload. `flags` is null if no draft has any. No sender uses a key twice in a room.
--
-- Rooms are locked in the order of their names, so that concurrent batches cannot deadlock.
CREATE FUNCTION {schema}.append(
    process text, tag bigint, names text[],
    rooms integer[], senders text[], bodies text[], datas text[], keys text[], foldeds text[], flags smallint[],
    carried text, OUT epochs text[], OUT lasts bigint[], OUT times_ms bigint[], OUT repeats text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    store_epoch text;
    ids bigint[];
    repeated bigint[] := '{}';
    heads text[]; -- the payload's entry of each room that advanced
    payload text;
BEGIN
    IF EXISTS (
        SELECT FROM unnest(names) AS asked (name)
        WHERE NOT EXISTS (SELECT FROM {schema}.room WHERE room.name = asked.name)
    ) THEN
        INSERT INTO {schema}.room (name) SELECT asked.name FROM unnest(names) AS asked (name) ORDER BY name COLLATE "C"
        ON CONFLICT (name) DO UPDATE SET last = room.last;
    END IF;
    PERFORM FROM {schema}.room WHERE name = ANY (names) ORDER BY name FOR NO KEY UPDATE;
    SELECT meta.epoch INTO STRICT store_epoch FROM {schema}.meta;
    SELECT array_agg(room.id ORDER BY place), array_agg(store_epoch || room.epoch_suffix ORDER BY place),
        array_agg(room.last ORDER BY place), array_agg(
            floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint ORDER BY place
        ) INTO ids, epochs, lasts, times_ms
    FROM unnest(names) WITH ORDINALITY AS asked (name, place) JOIN {schema}.room ON room.name = asked.name;

    IF keys IS NOT NULL THEN
        SELECT coalesce(array_agg(place), '{}'), json_agg(json_build_array(
            place, stored.seq, stored.time_ms, stored.sender, body, data, stored.key, redaction IS NOT NULL, stored.flags
        )) INTO repeated, repeats
        FROM unnest(rooms, keys, senders) WITH ORDINALITY AS draft (room, key, sender, place)
        -- One lookup for each row, so that the planner never scans the table, whatever its statistics say.
        CROSS JOIN LATERAL (
            SELECT * FROM {schema}.message
            WHERE message.room = ids[draft.room] AND message.key = draft.key AND message.sender = draft.sender LIMIT 1
        ) AS stored;
    END IF;

    INSERT INTO {schema}.message (room, seq, time_ms, sender, body, data, key, folded, flags)
    SELECT ids[room], lasts[room] + row_number() OVER (PARTITION BY room ORDER BY place), times_ms[room],
        sender, body, data, key, folded, coalesce(flag, 0)
    FROM unnest(rooms, senders, bodies, datas, keys, foldeds, flags)
        WITH ORDINALITY AS draft (room, sender, body, data, key, folded, flag, place)
    WHERE repeats IS NULL OR place <> ALL (repeated);

    WITH grown AS (
        SELECT draft.room, count(*) AS n FROM unnest(rooms) WITH ORDINALITY AS draft (room, place)
        WHERE repeats IS NULL OR place <> ALL (repeated) GROUP BY draft.room
    ), told AS (
        UPDATE {schema}.room SET last = last + n, time_ms = times_ms[grown.room] FROM grown WHERE id = ids[grown.room]
        RETURNING grown.room AS place, {schema}.advanced(name, last - n + 1, last, room.time_ms, epoch_suffix) AS head
    ) SELECT array_agg(head ORDER BY place) INTO heads FROM told;

    IF heads IS NULL THEN
        RETURN;
    END IF;
    IF repeats IS NULL THEN -- otherwise `carried` has more messages than were appended
        payload := format('["a","%s",%s,"%s",[%s],%s]', process, tag, store_epoch, array_to_string(heads, ','), carried);
    END IF;
    IF carried IS NOT NULL AND octet_length(payload) < 8000 THEN -- PostgreSQL's limit on a payload
        PERFORM pg_notify('{channel}', payload);
        RETURN;
    END IF;
    FOR payload IN
        SELECT format('["a","%s",%s,"%s",[%s]]', process, tag, store_epoch, string_agg(head, ',' ORDER BY place))
        FROM (
            SELECT head, place, sum(octet_length(head) + 1) OVER (ORDER BY place) / 7000 AS part
            FROM unnest(heads) WITH ORDINALITY AS told (head, place)
        ) AS parted GROUP BY part
    LOOP
        PERFORM pg_notify('{channel}', payload);
    END LOOP;
END
$$;

DROP FUNCTION {schema}.redact(text, bigint);

-- Remove a message's body, and return its tombstone, or nothing if there is no such message. See Backend.redact.
CREATE FUNCTION {schema}.redact(in_room text, in_seq bigint)
RETURNS TABLE (epoch text, time_ms bigint, sender text, key text, flags smallint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    number bigint;
BEGIN
    PERFORM FROM {schema}.room WHERE name = in_room FOR KEY SHARE; -- it must not be deleted in between
    -- Locked until the commit: redactions become visible in the order of their numbers.
    SELECT redactions + 1 INTO STRICT number FROM {schema}.meta FOR UPDATE;
    UPDATE {schema}.message SET body = '', data = NULL, folded = NULL, redaction = number FROM {schema}.room
    WHERE room.name = in_room AND message.room = room.id AND seq = in_seq AND redaction IS NULL;
    IF FOUND THEN
        UPDATE {schema}.meta SET redactions = number;
        PERFORM pg_notify('{channel}', json_build_array('r', in_room, in_seq, number)::text);
    END IF;
    RETURN QUERY SELECT meta.epoch || epoch_suffix, message.time_ms, message.sender, message.key, message.flags
        FROM {schema}.meta, {schema}.room JOIN {schema}.message ON message.room = room.id
        WHERE room.name = in_room AND seq = in_seq;
END
$$;

DROP FUNCTION {schema}.drop_messages(text, text[], bigint[]);

-- Drop all messages up to a number in each room; return how many. One step of a trim, for the logs it was planned for.
CREATE FUNCTION {schema}.drop_messages(names text[], epochs text[], up_tos bigint[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    step record;
    n_here bigint;
    n_dropped bigint := 0;
BEGIN
    PERFORM FROM {schema}.room WHERE name = ANY (names) ORDER BY name FOR NO KEY UPDATE;
    FOR step IN
        SELECT id, dropped, least(up_to, last) AS up_to
        FROM unnest(names, epochs, up_tos) AS asked (name, epoch, up_to) JOIN {schema}.room USING (name)
        JOIN {schema}.meta ON meta.epoch || epoch_suffix = asked.epoch
    LOOP
        -- One range for each room, so that the planner never scans the table, whatever its statistics say.
        DELETE FROM {schema}.message WHERE room = step.id AND seq > step.dropped AND seq <= step.up_to;
        GET DIAGNOSTICS n_here = ROW_COUNT;
        n_dropped := n_dropped + n_here;
        UPDATE {schema}.room SET dropped = step.up_to WHERE id = step.id AND dropped < step.up_to;
    END LOOP;
    RETURN n_dropped;
END
$$;

-- Begin a new, empty log in a room, and leave the old one to `purge`; return whether the room held or holds messages.
-- See Backend.delete_room. The room's row stays, because its epoch must never be used again.
CREATE FUNCTION {schema}.delete_room(in_room text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    old record;
    new_suffix text := left(replace(gen_random_uuid()::text, '-', ''), 8);
BEGIN
    SELECT id, dropped, last INTO old FROM {schema}.room WHERE name = in_room AND last > 0 FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE {schema}.room SET id = DEFAULT, last = 0, dropped = 0, time_ms = 0, epoch_suffix = new_suffix
    WHERE id = old.id;
    INSERT INTO {schema}.deleted_log (room, reached, last) VALUES (old.id, old.dropped, old.last);
    PERFORM pg_notify('{channel}', json_build_array('d', in_room, epoch || new_suffix)::text) FROM {schema}.meta;
    RETURN true;
END
$$;

-- Delete one step of the messages of deleted rooms; return false if nothing is left for this transaction.
CREATE FUNCTION {schema}.purge(step integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    old record;
BEGIN
    SELECT room, reached, last INTO old FROM {schema}.deleted_log ORDER BY room LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM {schema}.message WHERE room = old.room AND seq > old.reached AND seq <= old.reached + step
    AND NOT EXISTS (SELECT FROM {schema}.room WHERE id = old.room); -- an administrator may have restarted the ids
    IF old.reached + step < old.last THEN
        UPDATE {schema}.deleted_log SET reached = old.reached + step WHERE room = old.room;
    ELSE
        DELETE FROM {schema}.deleted_log WHERE room = old.room;
    END IF;
    RETURN true;
END
$$;

-- Store messages of another store; see Backend.load. `seqs` are in ascending order, without holes.
-- Return how many were stored, the head of the log before, and, if a sender has used a key for another message, the key.
CREATE FUNCTION {schema}.load(
    in_room text, seqs bigint[], times_ms bigint[], senders text[], bodies text[], datas text[], keys text[],
    foldeds text[], flags smallint[], redacted boolean[],
    OUT n_loaded bigint, OUT first bigint, OUT last bigint, OUT used_key text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    target record;
    next_seq bigint;
    newest bigint := seqs[cardinality(seqs)];
    newest_ms bigint := times_ms[cardinality(seqs)];
BEGIN
    INSERT INTO {schema}.room (name) VALUES (in_room) ON CONFLICT (name) DO NOTHING;
    SELECT * INTO STRICT target FROM {schema}.room WHERE name = in_room FOR NO KEY UPDATE;
    n_loaded := 0;
    load.first := target.dropped + 1;
    load.last := target.last;
    next_seq := greatest(seqs[1], target.last + 1);
    IF newest < next_seq OR (next_seq > target.last + 1 AND target.last > target.dropped) THEN
        RETURN;
    END IF;
    SELECT loaded.key INTO used_key FROM unnest(seqs, senders, keys) AS loaded (seq, sender, key)
    WHERE seq >= next_seq AND key IS NOT NULL GROUP BY loaded.key, loaded.sender
    HAVING count(*) > 1 OR EXISTS (
        SELECT FROM {schema}.message
        WHERE message.room = target.id AND message.key = loaded.key AND message.sender = loaded.sender
    ) LIMIT 1;
    IF used_key IS NOT NULL THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.message (room, seq, time_ms, sender, body, data, key, folded, flags, redaction)
    SELECT target.id, seq, time_ms, sender, body, data, key, folded, flag, CASE WHEN is_redacted THEN redactions END
    FROM unnest(seqs, times_ms, senders, bodies, datas, keys, foldeds, flags, redacted)
        AS loaded (seq, time_ms, sender, body, data, key, folded, flag, is_redacted), {schema}.meta
    WHERE seq >= next_seq;
    UPDATE {schema}.room SET last = newest, time_ms = newest_ms,
        dropped = CASE WHEN target.last > target.dropped THEN dropped ELSE next_seq - 1 END
    WHERE id = target.id;
    PERFORM pg_notify('{channel}', format( -- of no process, so that every process is notified
        '["a","",0,"%s",[%s]]', epoch, {schema}.advanced(in_room, next_seq, newest, newest_ms, target.epoch_suffix)
    )) FROM {schema}.meta;
    n_loaded := newest - next_seq + 1;
END
$$;
