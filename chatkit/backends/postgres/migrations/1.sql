-- A store of rooms, version 1, in the schema {schema}. A migration is never changed; a later version is another script.

CREATE FUNCTION {schema}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';

CREATE TABLE {schema}.meta (
    one integer PRIMARY KEY CHECK (one = 1),
    epoch text NOT NULL,
    redactions bigint NOT NULL DEFAULT 0 -- the number of redactions in all rooms
);

CREATE TABLE {schema}.room (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    -- An append locks this row until it commits, so that message N is not visible before N - 1.
    last bigint NOT NULL DEFAULT 0,
    time_ms bigint NOT NULL DEFAULT 0, -- when the newest message was committed
    dropped bigint NOT NULL DEFAULT 0 -- the newest message that was trimmed
) WITH (fillfactor = 50); -- every append updates rows of this table: the new versions fit on the same page

CREATE TABLE {schema}.message (
    room bigint NOT NULL,
    seq bigint NOT NULL,
    time_ms bigint NOT NULL,
    sender text NOT NULL,
    body text NOT NULL, -- U+0000 to U+0003 are escaped: see escaping.py
    data text, -- JSON; the types json and jsonb cannot hold every JSON text
    key text COLLATE "C",
    folded text, -- the case-folded body, if it is not ASCII
    redaction bigint, -- the number of the redaction that removed the body
    PRIMARY KEY (room, seq)
);

CREATE UNIQUE INDEX message_key ON {schema}.message (room, key) WHERE key IS NOT NULL;

CREATE INDEX message_redaction ON {schema}.message (redaction) WHERE redaction IS NOT NULL;

-- Presence. Each process announces it again if a crash has truncated these tables.
CREATE UNLOGGED TABLE {schema}.process (
    name text PRIMARY KEY,
    life text NOT NULL, -- a new value each time the process announces all of its members
    expires timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 0, -- the number of its changes
    forgotten bigint NOT NULL DEFAULT 0 -- members that left up to this version may have been deleted
);

CREATE UNLOGGED TABLE {schema}.member (
    process text NOT NULL,
    room text NOT NULL,
    name text NOT NULL,
    since_ms bigint NOT NULL,
    version bigint NOT NULL, -- the process's version at the last change
    is_gone boolean NOT NULL,
    PRIMARY KEY (process, room, name)
);

CREATE INDEX member_version ON {schema}.member (process, version);

CREATE INDEX member_gone ON {schema}.member (process, version) WHERE is_gone;

-- A log that was emptied by an administrator gets a new epoch, and every process is notified.
CREATE FUNCTION {schema}.begin_anew() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.meta (one, epoch) VALUES (1, left(replace(gen_random_uuid()::text, '-', ''), 12))
    ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch;
    UPDATE {schema}.room SET dropped = last WHERE dropped < last AND TG_TABLE_NAME = 'message';
    PERFORM pg_notify('{channel}', '["c"]');
    RETURN NULL;
END
$$;

CREATE TRIGGER begin_anew AFTER DELETE OR TRUNCATE ON {schema}.meta EXECUTE FUNCTION {schema}.begin_anew();
CREATE TRIGGER begin_anew AFTER DELETE OR TRUNCATE ON {schema}.room EXECUTE FUNCTION {schema}.begin_anew();
CREATE TRIGGER begin_anew AFTER TRUNCATE ON {schema}.message EXECUTE FUNCTION {schema}.begin_anew();

TRUNCATE {schema}.meta;

-- Append drafts; see Backend.append. `rooms` are positions in `names`. `carried` is the drafts as JSON, for listeners;
-- null if they are too long for a payload. No key occurs twice in a room.
--
-- Rooms are locked in the order of their names, so that concurrent batches cannot deadlock.
CREATE FUNCTION {schema}.append(
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
        greatest(room.time_ms, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) ORDER BY place
    ) INTO ids, lasts, times_ms
    FROM unnest(names) WITH ORDINALITY AS asked (name, place) JOIN {schema}.room ON room.name = asked.name;

    IF keys IS NOT NULL THEN
        SELECT coalesce(array_agg(place), '{}'), json_agg(json_build_array(
            place, stored.seq, stored.time_ms, sender, body, data, stored.key, redaction IS NOT NULL
        )) INTO repeated, repeats
        FROM unnest(rooms, keys) WITH ORDINALITY AS draft (room, key, place)
        -- One lookup for each row, so that the planner never scans the table, whatever its statistics say.
        CROSS JOIN LATERAL (
            SELECT * FROM {schema}.message WHERE message.room = ids[draft.room] AND message.key = draft.key LIMIT 1
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

-- Remove a message's body, and return its tombstone, or nothing if there is no such message. See Backend.redact.
CREATE FUNCTION {schema}.redact(in_room text, in_seq bigint)
RETURNS TABLE (epoch text, time_ms bigint, sender text, key text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    number bigint;
BEGIN
    -- Locked until the commit: redactions become visible in the order of their numbers.
    SELECT redactions + 1 INTO STRICT number FROM {schema}.meta FOR UPDATE;
    UPDATE {schema}.message SET body = '', data = NULL, folded = NULL, redaction = number FROM {schema}.room
    WHERE room.name = in_room AND message.room = room.id AND seq = in_seq AND redaction IS NULL;
    IF FOUND THEN
        UPDATE {schema}.meta SET redactions = number;
        PERFORM pg_notify('{channel}', json_build_array('r', in_room, in_seq, number)::text);
    END IF;
    RETURN QUERY SELECT meta.epoch, message.time_ms, message.sender, message.key
        FROM {schema}.meta, {schema}.room JOIN {schema}.message ON message.room = room.id
        WHERE room.name = in_room AND seq = in_seq;
END
$$;

-- Drop all messages up to a number in each room; return how many. One step of a trim, for the log it was planned for.
CREATE FUNCTION {schema}.drop_messages(in_epoch text, names text[], up_tos bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    step record;
    n_here bigint;
    n_dropped bigint := 0;
BEGIN
    PERFORM FROM {schema}.room WHERE name = ANY (names) ORDER BY name FOR NO KEY UPDATE;
    IF in_epoch IS DISTINCT FROM (SELECT epoch FROM {schema}.meta) THEN
        RETURN 0;
    END IF;
    FOR step IN
        SELECT id, dropped, least(up_to, last) AS up_to
        FROM unnest(names, up_tos) AS asked (name, up_to) JOIN {schema}.room USING (name)
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

-- Renew a process, and apply the changes of its members; see Backend.announce. With `is_whole`, `joined` has all
-- members. Return false, without any change, if the process is unknown: the caller then announces all members.
CREATE FUNCTION {schema}.announce(
    in_process text, in_life text, is_whole boolean, ttl_s double precision,
    joined_rooms text[], joined_names text[], joined_since_ms bigint[], left_rooms text[], left_names text[]
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
        INSERT INTO {schema}.member (process, room, name, since_ms, version, is_gone)
        SELECT in_process, room, name, since_ms, changed, false
        FROM unnest(joined_rooms, joined_names, joined_since_ms) AS joined (room, name, since_ms)
        ON CONFLICT (process, room, name)
        DO UPDATE SET since_ms = excluded.since_ms, version = excluded.version, is_gone = false;
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
