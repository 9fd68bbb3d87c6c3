-- Version 6: messages that refer to earlier ones, what they say about those, and mentions.

CREATE OR REPLACE FUNCTION {schema}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 6';

ALTER TABLE {schema}.message
    ADD COLUMN of bigint, -- the number of the message that this one refers to
    ADD COLUMN act text, -- what this one does to it; null: it is a message, or a reply
    ADD COLUMN mentions text; -- a JSON array of names

CREATE INDEX message_of ON {schema}.message (room, of, seq) WHERE of IS NOT NULL;

CREATE INDEX message_reply ON {schema}.message (room, of, seq) WHERE of IS NOT NULL AND act IS NULL;

-- The messages that others refer to.
CREATE TABLE {schema}.message_state (
    room bigint NOT NULL,
    seq bigint NOT NULL,
    edit bigint, -- the number of the newest edit
    n_replies bigint NOT NULL DEFAULT 0,
    is_pinned boolean NOT NULL DEFAULT false,
    PRIMARY KEY (room, seq)
);

CREATE INDEX message_state_pinned ON {schema}.message_state (room, seq) WHERE is_pinned;

CREATE INDEX message_state_edited ON {schema}.message_state (room, seq) WHERE edit IS NOT NULL;

-- Runs of consecutive changes, which a folded page skips, however many there are. `first` 0 is before all of a room.
CREATE TABLE {schema}.change_run (
    room bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (room, first)
);

-- The emojis on each message, counted, so that a page does not read the senders of all.
CREATE TABLE {schema}.reaction (
    room bigint NOT NULL,
    seq bigint NOT NULL,
    emoji text COLLATE "C" NOT NULL,
    since bigint NOT NULL, -- the number of the entry that used the emoji first, which gives their order
    n_senders bigint NOT NULL,
    PRIMARY KEY (room, seq, emoji)
);

CREATE TABLE {schema}.reaction_sender (
    room bigint NOT NULL,
    seq bigint NOT NULL,
    emoji text COLLATE "C" NOT NULL,
    sender text COLLATE "C" NOT NULL,
    PRIMARY KEY (room, seq, emoji, sender)
);

-- Whom the messages mention in their current texts.
CREATE TABLE {schema}.mention (
    name text COLLATE "C" NOT NULL,
    room bigint NOT NULL,
    seq bigint NOT NULL,
    time_ms bigint NOT NULL, -- the message's
    PRIMARY KEY (name, room, seq)
);

CREATE INDEX mention_time ON {schema}.mention (name, time_ms);

CREATE INDEX mention_message ON {schema}.mention (room, seq);

-- A log that was emptied by an administrator gets a new epoch, and every process is notified.
CREATE OR REPLACE FUNCTION {schema}.begin_anew() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.meta (one, epoch) VALUES (1, left(replace(gen_random_uuid()::text, '-', ''), 12))
    ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch;
    UPDATE {schema}.room SET dropped = last WHERE dropped < last AND TG_TABLE_NAME = 'message';
    IF TG_OP = 'TRUNCATE' AND TG_TABLE_NAME IN ('room', 'message') THEN -- the ids of rooms may start again
        TRUNCATE {schema}.message_state, {schema}.change_run, {schema}.reaction, {schema}.reaction_sender,
            {schema}.mention;
    END IF;
    PERFORM pg_notify('{channel}', '["c"]');
    RETURN NULL;
END
$$;

-- Return the entries of a room from a number on that change or answer a message, with that message. Left out are changes
-- of what is not there, is a change itself or is redacted, and edits by somebody else.
CREATE FUNCTION {schema}.related(in_room bigint, from_seq bigint)
RETURNS TABLE (seq bigint, sender text, body text, act text, mentions text, target bigint, target_time_ms bigint)
LANGUAGE sql STABLE AS $$
    SELECT entry.seq, entry.sender, entry.body, entry.act, entry.mentions, target.seq, target.time_ms
    FROM {schema}.message AS entry CROSS JOIN LATERAL (
        SELECT * FROM {schema}.message AS target
        WHERE target.room = in_room AND target.seq = entry.of AND target.seq <= entry.seq AND target.act IS NULL LIMIT 1
    ) AS target
    WHERE entry.room = in_room AND entry.seq >= from_seq AND entry.of IS NOT NULL AND (
        entry.act IS NULL OR target.redaction IS NULL AND entry.redaction IS NULL
        AND (entry.act <> 'edit' OR entry.sender = target.sender)
    )
$$;

-- Fold the entries of a room from a number on into the state of the messages that they refer to; see core/relations.py.
-- In the transaction that inserted them, which has locked the room.
CREATE FUNCTION {schema}.relate(in_room bigint, from_seq bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    acts text[] := ARRAY(SELECT DISTINCT coalesce(act, 'reply') FROM {schema}.related(in_room, from_seq));
BEGIN
    PERFORM {schema}.extend_runs(in_room, from_seq);
    INSERT INTO {schema}.mention (name, room, seq, time_ms)
    SELECT name, in_room, seq, time_ms FROM {schema}.message, json_array_elements_text(mentions::json) AS asked (name)
    WHERE room = in_room AND seq >= from_seq AND act IS NULL AND mentions IS NOT NULL ON CONFLICT DO NOTHING;
    IF 'reply' = ANY (acts) THEN
        INSERT INTO {schema}.message_state AS state (room, seq, n_replies)
        SELECT in_room, target, count(*) FROM {schema}.related(in_room, from_seq) WHERE act IS NULL GROUP BY target
        ON CONFLICT (room, seq) DO UPDATE SET n_replies = state.n_replies + excluded.n_replies;
    END IF;
    IF 'edit' = ANY (acts) THEN
        PERFORM {schema}.relate_edits(in_room, from_seq);
    END IF;
    IF acts && ARRAY['pin', 'unpin'] THEN
        INSERT INTO {schema}.message_state (room, seq, is_pinned)
        SELECT DISTINCT ON (target) in_room, target, act = 'pin' FROM {schema}.related(in_room, from_seq)
        WHERE act IN ('pin', 'unpin') ORDER BY target, seq DESC
        ON CONFLICT (room, seq) DO UPDATE SET is_pinned = excluded.is_pinned;
    END IF;
    IF 'unreact' = ANY (acts) THEN
        PERFORM {schema}.relate_reactions(in_room, from_seq);
    ELSIF 'react' = ANY (acts) THEN
        PERFORM {schema}.add_reactions(in_room, from_seq);
    END IF;
END
$$;

-- Add the changes of a room from a number on to its runs of changes.
CREATE FUNCTION {schema}.extend_runs(in_room bigint, from_seq bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    run record;
BEGIN
    FOR run IN
        SELECT min(seq) AS first, max(seq) AS last FROM (
            SELECT seq, seq - row_number() OVER (ORDER BY seq) AS number FROM {schema}.message
            WHERE room = in_room AND seq >= from_seq AND act IS NOT NULL
        ) AS changes GROUP BY number ORDER BY first
    LOOP
        INSERT INTO {schema}.change_run (room, first, last) VALUES (in_room, 0, 0) ON CONFLICT DO NOTHING;
        UPDATE {schema}.change_run SET last = run.last WHERE room = in_room AND last = run.first - 1
        AND first = (SELECT max(first) FROM {schema}.change_run WHERE room = in_room);
        IF NOT FOUND THEN
            INSERT INTO {schema}.change_run (room, first, last) VALUES (in_room, run.first, run.last);
        END IF;
    END LOOP;
END
$$;

-- Fold edits: of those of one message, the newest counts.
CREATE FUNCTION {schema}.relate_edits(in_room bigint, from_seq bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO {schema}.message_state (room, seq, edit)
    SELECT in_room, target, max(seq) FROM {schema}.related(in_room, from_seq) WHERE act = 'edit' GROUP BY target
    ON CONFLICT (room, seq) DO UPDATE SET edit = excluded.edit;
    DELETE FROM {schema}.mention WHERE room = in_room
    AND seq IN (SELECT target FROM {schema}.related(in_room, from_seq) WHERE act = 'edit');
    INSERT INTO {schema}.mention (name, room, seq, time_ms)
    SELECT name, in_room, target, target_time_ms FROM (
        SELECT DISTINCT ON (target) target, target_time_ms, mentions FROM {schema}.related(in_room, from_seq)
        WHERE act = 'edit' ORDER BY target, seq DESC
    ) AS edit, json_array_elements_text(mentions::json) AS asked (name)
    WHERE mentions IS NOT NULL ON CONFLICT DO NOTHING;
END
$$;

-- Fold reactions among which none is taken back.
CREATE FUNCTION {schema}.add_reactions(in_room bigint, from_seq bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO {schema}.message_state (room, seq)
    SELECT DISTINCT in_room, target FROM {schema}.related(in_room, from_seq) WHERE act = 'react' ON CONFLICT DO NOTHING;

    WITH used AS MATERIALIZED (
        SELECT target AS seq, body AS emoji, sender, min(seq) AS since FROM {schema}.related(in_room, from_seq)
        WHERE act = 'react' GROUP BY target, body, sender
    ), added AS (
        INSERT INTO {schema}.reaction_sender (room, seq, emoji, sender) SELECT in_room, seq, emoji, sender FROM used
        ON CONFLICT DO NOTHING RETURNING seq, emoji, sender
    )
    INSERT INTO {schema}.reaction AS stored (room, seq, emoji, since, n_senders)
    SELECT in_room, seq, emoji, min(since), count(*) FROM added JOIN used USING (seq, emoji, sender) GROUP BY seq, emoji
    ON CONFLICT (room, seq, emoji) DO UPDATE SET n_senders = stored.n_senders + excluded.n_senders
$$;

-- Fold reactions one by one, because some are taken back.
CREATE FUNCTION {schema}.relate_reactions(in_room bigint, from_seq bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    entry record;
BEGIN
    INSERT INTO {schema}.message_state (room, seq)
    SELECT DISTINCT in_room, target FROM {schema}.related(in_room, from_seq) WHERE act = 'react' ON CONFLICT DO NOTHING;
    FOR entry IN
        SELECT * FROM {schema}.related(in_room, from_seq) WHERE act IN ('react', 'unreact') ORDER BY seq
    LOOP
        IF entry.act = 'react' THEN
            INSERT INTO {schema}.reaction_sender (room, seq, emoji, sender)
            VALUES (in_room, entry.target, entry.body, entry.sender) ON CONFLICT DO NOTHING;
            CONTINUE WHEN NOT FOUND;
            INSERT INTO {schema}.reaction AS stored (room, seq, emoji, since, n_senders)
            VALUES (in_room, entry.target, entry.body, entry.seq, 1)
            ON CONFLICT (room, seq, emoji) DO UPDATE SET n_senders = stored.n_senders + 1;
        ELSE
            DELETE FROM {schema}.reaction_sender
            WHERE room = in_room AND seq = entry.target AND emoji = entry.body AND sender = entry.sender;
            CONTINUE WHEN NOT FOUND;
            UPDATE {schema}.reaction SET n_senders = n_senders - 1
            WHERE room = in_room AND seq = entry.target AND emoji = entry.body;
            DELETE FROM {schema}.reaction
            WHERE room = in_room AND seq = entry.target AND emoji = entry.body AND n_senders = 0;
        END IF;
    END LOOP;
END
$$;

DROP FUNCTION {schema}.append(text, bigint, text[], integer[], text[], text[], text[], text[], text[], smallint[], text);

-- Append drafts; see Backend.append. `rooms` are positions in `names`. `carried` is the drafts as JSON, for listeners;
-- null if they are too long for a payload. `flags`, `ofs`, `acts` and
-- `mentions` are null if no draft has any. No sender uses a key twice in a room.
--
-- Rooms are locked in the order of their names, so that concurrent batches cannot deadlock.
CREATE FUNCTION {schema}.append(
    process text, tag bigint, names text[],
    rooms integer[], senders text[], bodies text[], datas text[], keys text[], foldeds text[], flags smallint[],
    ofs bigint[], acts text[], mentions text[], carried text,
    OUT epochs text[], OUT lasts bigint[], OUT times_ms bigint[], OUT repeats text
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

-- Remove the body of a message, and those of its edits, and return the tombstone, or nothing if there is no such
-- message. See Backend.redact.
CREATE FUNCTION {schema}.redact(in_room text, in_seq bigint)
RETURNS TABLE (epoch text, time_ms bigint, sender text, key text, flags smallint, of bigint, act text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    room_id bigint;
    number bigint;
    entry bigint;
BEGIN
    -- The room must not be deleted in between, and no entry be folded that refers to the message.
    SELECT id INTO room_id FROM {schema}.room WHERE name = in_room FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM {schema}.message WHERE room = room_id AND seq = in_seq AND redaction IS NULL) THEN
        -- Locked until the commit: redactions become visible in the order of their numbers.
        SELECT redactions INTO STRICT number FROM {schema}.meta FOR UPDATE;
        FOR entry IN
            SELECT in_seq UNION ALL (
                SELECT seq FROM {schema}.message
                WHERE room = room_id AND message.of = in_seq AND message.act = 'edit' AND seq > in_seq
                AND redaction IS NULL ORDER BY seq
            )
        LOOP
            number := number + 1;
            UPDATE {schema}.message
            SET body = '', data = NULL, folded = NULL, mentions = NULL, redaction = number
            WHERE room = room_id AND seq = entry;
            PERFORM pg_notify('{channel}', json_build_array('r', in_room, entry, number)::text);
        END LOOP;
        UPDATE {schema}.meta SET redactions = number;
        UPDATE {schema}.message_state SET edit = NULL, is_pinned = false WHERE room = room_id AND seq = in_seq;
        DELETE FROM {schema}.reaction WHERE room = room_id AND seq = in_seq;
        DELETE FROM {schema}.reaction_sender WHERE room = room_id AND seq = in_seq;
        DELETE FROM {schema}.mention WHERE room = room_id AND seq = in_seq;
    END IF;
    RETURN QUERY SELECT meta.epoch || epoch_suffix, message.time_ms, message.sender, message.key, message.flags,
            message.of, message.act
        FROM {schema}.meta, {schema}.room JOIN {schema}.message ON message.room = room.id
        WHERE room.name = in_room AND seq = in_seq;
END
$$;

-- Drop all messages up to a number in each room; return how many. One step of a trim, for the logs it was planned for.
CREATE OR REPLACE FUNCTION {schema}.drop_messages(names text[], epochs text[], up_tos bigint[]) RETURNS bigint
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
        DELETE FROM {schema}.message_state WHERE room = step.id AND seq <= step.up_to;
        DELETE FROM {schema}.reaction WHERE room = step.id AND seq <= step.up_to;
        DELETE FROM {schema}.mention WHERE room = step.id AND seq <= step.up_to;
        DELETE FROM {schema}.change_run WHERE room = step.id AND first BETWEEN 1 AND step.up_to AND last <= step.up_to;
        UPDATE {schema}.room SET dropped = step.up_to WHERE id = step.id AND dropped < step.up_to;
    END LOOP;
    RETURN n_dropped;
END
$$;

-- Delete some senders of reactions to messages that were dropped; return how many. One step of a trim, which delays no
-- append: nothing reads these rows without those of `reaction`, which are gone.
CREATE FUNCTION {schema}.drop_senders(names text[], step integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n_dropped bigint;
BEGIN
    DELETE FROM {schema}.reaction_sender WHERE ctid = ANY (ARRAY(
        SELECT sender.ctid FROM {schema}.room CROSS JOIN LATERAL (
            SELECT ctid FROM {schema}.reaction_sender WHERE room = room.id AND seq <= room.dropped LIMIT step
        ) AS sender WHERE name = ANY (names) LIMIT step
    ));
    GET DIAGNOSTICS n_dropped = ROW_COUNT;
    RETURN n_dropped;
END
$$;

-- Delete one step of the messages of deleted rooms; return false if nothing is left for this transaction.
CREATE OR REPLACE FUNCTION {schema}.purge(step integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    old record;
BEGIN
    SELECT room, reached, last INTO old FROM {schema}.deleted_log ORDER BY room LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM {schema}.room WHERE id = old.room) THEN -- an administrator may have restarted the ids
        DELETE FROM {schema}.message WHERE room = old.room AND seq > old.reached AND seq <= old.reached + step;
        DELETE FROM {schema}.message_state WHERE room = old.room AND seq <= old.reached + step;
        DELETE FROM {schema}.reaction WHERE room = old.room AND seq <= old.reached + step;
        DELETE FROM {schema}.reaction_sender WHERE room = old.room AND seq <= old.reached + step;
        DELETE FROM {schema}.mention WHERE room = old.room AND seq <= old.reached + step;
        DELETE FROM {schema}.change_run WHERE room = old.room AND first <= old.reached + step;
    END IF;
    IF old.reached + step < old.last THEN
        UPDATE {schema}.deleted_log SET reached = old.reached + step WHERE room = old.room;
    ELSE
        DELETE FROM {schema}.deleted_log WHERE room = old.room;
    END IF;
    RETURN true;
END
$$;

DROP FUNCTION {schema}.load(text, bigint[], bigint[], text[], text[], text[], text[], text[], smallint[], boolean[]);

-- Store messages of another store; see Backend.load. `seqs` are in ascending order, without holes.
-- Return how many were stored, the head of the log before, and, if a sender has used a key for another message, the key.
CREATE FUNCTION {schema}.load(
    in_room text, seqs bigint[], times_ms bigint[], senders text[], bodies text[], datas text[], keys text[],
    foldeds text[], flags smallint[], redacted boolean[], ofs bigint[], acts text[], mentions text[],
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
    INSERT INTO {schema}.message (room, seq, time_ms, sender, body, data, key, folded, flags, redaction, of, act, mentions)
    SELECT target.id, seq, time_ms, sender, body, data, key, folded, flag, CASE WHEN is_redacted THEN redactions END,
        loaded.of, loaded.act, loaded.mentions
    FROM unnest(seqs, times_ms, senders, bodies, datas, keys, foldeds, flags, redacted, ofs, acts, mentions)
        AS loaded (seq, time_ms, sender, body, data, key, folded, flag, is_redacted, of, act, mentions), {schema}.meta
    WHERE seq >= next_seq;
    PERFORM {schema}.relate(target.id, next_seq);
    UPDATE {schema}.room SET last = newest, time_ms = newest_ms,
        dropped = CASE WHEN target.last > target.dropped THEN dropped ELSE next_seq - 1 END
    WHERE id = target.id;
    PERFORM pg_notify('{channel}', format( -- of no process, so that every process is notified
        '["a","",0,"%s",[%s]]', epoch, {schema}.advanced(in_room, next_seq, newest, newest_ms, target.epoch_suffix)
    )) FROM {schema}.meta;
    n_loaded := newest - next_seq + 1;
END
$$;
