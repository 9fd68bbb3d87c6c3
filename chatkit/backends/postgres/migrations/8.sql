-- Version 8: appends notify after their commit. A transaction with NOTIFY holds a lock of the whole database server until
-- it is on the disk, so that such transactions commit one after another.

CREATE OR REPLACE FUNCTION {schema}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 8';

-- Each batch takes the next number, at the end of its transaction. A process that is not notified of a number compares
-- its rooms: the process that appended the batch may have ended before it notified the others.
CREATE SEQUENCE {schema}.batch;

SELECT nextval('{schema}.batch');

-- Append drafts; see Backend.append. `rooms` are positions in `names`. `flags`, `ofs`, `acts` and `mentions` are null if
-- no draft has any. No sender uses a key twice in a room. Return the number of the batch, or null if all are repeats, the
-- number of redactions before it, and, for each room, its epoch, the last number before the batch, and the time.
--
-- Rooms are locked in the order of their names, so that concurrent batches cannot deadlock. Processes of an older
-- version use the function of version 6, which notifies in its transaction, until they are upgraded.
CREATE FUNCTION {schema}.append(
    names text[],
    rooms integer[], senders text[], bodies text[], datas text[], keys text[], foldeds text[], flags smallint[],
    ofs bigint[], acts text[], mentions text[],
    OUT number bigint, OUT redactions bigint, OUT epochs text[], OUT lasts bigint[], OUT times_ms bigint[],
    OUT repeats text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    store_epoch text;
    ids bigint[];
    repeated bigint[] := '{}';
BEGIN
    IF EXISTS (
        SELECT FROM unnest(names) AS asked (name)
        WHERE NOT EXISTS (SELECT FROM {schema}.room WHERE room.name = asked.name)
    ) THEN
        INSERT INTO {schema}.room (name) SELECT asked.name FROM unnest(names) AS asked (name) ORDER BY name COLLATE "C"
        ON CONFLICT (name) DO UPDATE SET last = room.last;
    END IF;
    PERFORM FROM {schema}.room WHERE name = ANY (names) ORDER BY name FOR NO KEY UPDATE;
    SELECT meta.epoch, meta.redactions INTO STRICT store_epoch, append.redactions FROM {schema}.meta;
    SELECT array_agg(room.id ORDER BY place), array_agg(store_epoch || room.epoch_suffix ORDER BY place),
        array_agg(room.last ORDER BY place), array_agg(
            floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint ORDER BY place
        ) INTO ids, epochs, lasts, times_ms
    FROM unnest(names) WITH ORDINALITY AS asked (name, place) JOIN {schema}.room ON room.name = asked.name;

    IF keys IS NOT NULL THEN
        SELECT coalesce(array_agg(place), '{}'), json_agg(json_build_array(
            place, stored.seq, stored.time_ms, stored.sender, body, data, stored.key, redaction IS NOT NULL, stored.flags,
            stored.of, stored.act, stored.mentions::json
        )) INTO repeated, repeats
        FROM unnest(rooms, keys, senders) WITH ORDINALITY AS draft (room, key, sender, place)
        -- One lookup for each row, so that the planner never scans the table, whatever its statistics say.
        CROSS JOIN LATERAL (
            SELECT * FROM {schema}.message
            WHERE message.room = ids[draft.room] AND message.key = draft.key AND message.sender = draft.sender LIMIT 1
        ) AS stored;
    END IF;

    INSERT INTO {schema}.message (room, seq, time_ms, sender, body, data, key, folded, flags, of, act, mentions)
    SELECT ids[room], lasts[room] + row_number() OVER (PARTITION BY room ORDER BY place), times_ms[room],
        sender, body, data, key, folded, coalesce(flag, 0), draft.of, draft.act, draft.mentions
    FROM unnest(rooms, senders, bodies, datas, keys, foldeds, flags, ofs, acts, mentions)
        WITH ORDINALITY AS draft (room, sender, body, data, key, folded, flag, of, act, mentions, place)
    WHERE repeats IS NULL OR place <> ALL (repeated);
    IF ofs IS NOT NULL OR mentions IS NOT NULL THEN
        PERFORM {schema}.relate(ids[place], lasts[place] + 1) FROM generate_subscripts(ids, 1) AS place;
    END IF;

    UPDATE {schema}.room SET last = last + n, time_ms = times_ms[grown.room] FROM (
        SELECT draft.room, count(*) AS n FROM unnest(rooms) WITH ORDINALITY AS draft (room, place)
        WHERE repeats IS NULL OR place <> ALL (repeated) GROUP BY draft.room
    ) AS grown WHERE id = ids[grown.room];
    IF FOUND THEN
        number := nextval('{schema}.batch');
    END IF;
END
$$;

-- Append drafts to one room that has messages, as `append` does. Do nothing and return nulls if the room has no row or a
-- key is known: then the caller uses `append`, which costs the database more than twice as much.
CREATE FUNCTION {schema}.append_to_room(
    in_name text, senders text[], bodies text[], datas text[], keys text[], foldeds text[], flags smallint[],
    OUT number bigint, OUT redactions bigint, OUT epoch text, OUT last bigint, OUT time_ms bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    n CONSTANT bigint := cardinality(senders);
    room_id bigint;
    suffix text;
BEGIN
    IF keys IS NOT NULL THEN
        SELECT id INTO room_id FROM {schema}.room WHERE name = in_name FOR NO KEY UPDATE;
        IF EXISTS ( -- seen by a statement of its own, which sees what was committed before the lock was free
            SELECT FROM unnest(keys, senders) AS draft (key, sender) CROSS JOIN LATERAL (
                SELECT FROM {schema}.message
                WHERE message.room = room_id AND message.key = draft.key AND message.sender = draft.sender LIMIT 1
            ) AS stored
        ) THEN
            RETURN;
        END IF;
    END IF;
    UPDATE {schema}.room SET last = last + n, time_ms = floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
    WHERE name = in_name RETURNING id, last - n, time_ms, epoch_suffix
    INTO room_id, append_to_room.last, append_to_room.time_ms, suffix;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.message (room, seq, time_ms, sender, body, data, key, folded, flags)
    SELECT room_id, append_to_room.last + place, append_to_room.time_ms, sender, body, data, key, folded,
        coalesce(flag, 0)
    FROM unnest(senders, bodies, datas, keys, foldeds, flags)
        WITH ORDINALITY AS draft (sender, body, data, key, folded, flag, place);
    SELECT meta.epoch || suffix, meta.redactions, nextval('{schema}.batch')
    INTO STRICT append_to_room.epoch, append_to_room.redactions, append_to_room.number FROM {schema}.meta;
END
$$;
