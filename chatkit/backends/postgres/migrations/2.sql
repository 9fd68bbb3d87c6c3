-- Version 2: a key belongs to a room and a sender (the keys of version 1 are unique under this rule, too), and a
-- message's time is that of the clock, even if the room has a later one.

CREATE OR REPLACE FUNCTION {schema}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 2';

DROP INDEX {schema}.message_key;

CREATE UNIQUE INDEX message_key ON {schema}.message (room, key, sender) WHERE key IS NOT NULL;

-- Append drafts; see Backend.append. `rooms` are positions in `names`. `carried` is the drafts as JSON, for listeners;
-- null if they are too long for a payload. No sender uses a key twice in a room.
--
-- Rooms are locked in the order of their names, so that concurrent batches cannot deadlock.
CREATE OR REPLACE FUNCTION {schema}.append(
    process text, tag bigint, names text[],
    rooms integer[], senders text[], bodies text[], datas text[], keys text[], foldeds text[], carried text,
    OUT epoch text, OUT lasts bigint[], OUT times_ms bigint[], OUT repeats text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
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
    SELECT meta.epoch INTO STRICT append.epoch FROM {schema}.meta;
    SELECT array_agg(room.id ORDER BY place), array_agg(room.last ORDER BY place), array_agg(
        floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint ORDER BY place
    ) INTO ids, lasts, times_ms
    FROM unnest(names) WITH ORDINALITY AS asked (name, place) JOIN {schema}.room ON room.name = asked.name;

    IF keys IS NOT NULL THEN
        SELECT coalesce(array_agg(place), '{}'), json_agg(json_build_array(
            place, stored.seq, stored.time_ms, stored.sender, body, data, stored.key, redaction IS NOT NULL
        )) INTO repeated, repeats
        FROM unnest(rooms, keys, senders) WITH ORDINALITY AS draft (room, key, sender, place)
        -- One lookup for each row, so that the planner never scans the table, whatever its statistics say.
        CROSS JOIN LATERAL (
            SELECT * FROM {schema}.message
            WHERE message.room = ids[draft.room] AND message.key = draft.key AND message.sender = draft.sender LIMIT 1
        ) AS stored;
    END IF;

    INSERT INTO {schema}.message (room, seq, time_ms, sender, body, data, key, folded)
    SELECT ids[room], lasts[room] + row_number() OVER (PARTITION BY room ORDER BY place), times_ms[room],
        sender, body, data, key, folded
    FROM unnest(rooms, senders, bodies, datas, keys, foldeds)
        WITH ORDINALITY AS draft (room, sender, body, data, key, folded, place)
    WHERE repeats IS NULL OR place <> ALL (repeated);

    WITH grown AS (
        SELECT draft.room, count(*) AS n FROM unnest(rooms) WITH ORDINALITY AS draft (room, place)
        WHERE repeats IS NULL OR place <> ALL (repeated) GROUP BY draft.room
    ), told AS (
        UPDATE {schema}.room SET last = last + n, time_ms = times_ms[grown.room] FROM grown WHERE id = ids[grown.room]
        RETURNING grown.room AS place, json_build_array(name, last - n + 1, last, time_ms)::text AS head
    ) SELECT array_agg(head ORDER BY place) INTO heads FROM told;

    IF heads IS NULL THEN
        RETURN;
    END IF;
    IF repeats IS NULL THEN -- otherwise `carried` has more messages than were appended
        payload := format('["a","%s",%s,"%s",[%s],%s]', process, tag, append.epoch, array_to_string(heads, ','), carried);
    END IF;
    IF carried IS NOT NULL AND octet_length(payload) < 8000 THEN -- PostgreSQL's limit on a payload
        PERFORM pg_notify('{channel}', payload);
        RETURN;
    END IF;
    FOR payload IN
        SELECT format('["a","%s",%s,"%s",[%s]]', process, tag, append.epoch, string_agg(head, ',' ORDER BY place))
        FROM (
            SELECT head, place, sum(octet_length(head) + 1) OVER (ORDER BY place) / 7000 AS part
            FROM unnest(heads) WITH ORDINALITY AS told (head, place)
        ) AS parted GROUP BY part
    LOOP
        PERFORM pg_notify('{channel}', payload);
    END LOOP;
END
$$;
