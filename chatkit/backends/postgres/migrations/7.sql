-- Version 7: redacting an edit shows the text and the mentions before it.

CREATE OR REPLACE FUNCTION {schema}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 7';

-- If an edit that was redacted is the one that is shown, show the text and the mentions before it.
CREATE FUNCTION {schema}.show_edit_before(in_room bigint, in_edit bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    target record;
    shown bigint;
BEGIN
    SELECT message.seq, message.sender, message.time_ms INTO target
    FROM {schema}.message JOIN {schema}.message_state USING (room, seq)
    WHERE room = in_room AND edit = in_edit
    AND seq = (SELECT entry.of FROM {schema}.message AS entry WHERE entry.room = in_room AND entry.seq = in_edit);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT max(seq) INTO shown FROM {schema}.message
    WHERE room = in_room AND message.of = target.seq AND message.act = 'edit' AND seq > target.seq
    AND message.sender = target.sender AND redaction IS NULL;
    UPDATE {schema}.message_state SET edit = shown WHERE room = in_room AND seq = target.seq;
    DELETE FROM {schema}.mention WHERE room = in_room AND seq = target.seq;
    INSERT INTO {schema}.mention (name, room, seq, time_ms)
    SELECT name, in_room, target.seq, target.time_ms
    FROM {schema}.message, json_array_elements_text(mentions::json) AS asked (name)
    WHERE room = in_room AND seq = coalesce(shown, target.seq) AND mentions IS NOT NULL ON CONFLICT DO NOTHING;
END
$$;

-- Remove the body of a message, and those of its edits, and return the tombstone, or nothing if there is no such
-- message. See Backend.redact.
CREATE OR REPLACE FUNCTION {schema}.redact(in_room text, in_seq bigint)
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
        PERFORM {schema}.show_edit_before(room_id, in_seq);
    END IF;
    RETURN QUERY SELECT meta.epoch || epoch_suffix, message.time_ms, message.sender, message.key, message.flags,
            message.of, message.act
        FROM {schema}.meta, {schema}.room JOIN {schema}.message ON message.room = room.id
        WHERE room.name = in_room AND seq = in_seq;
END
$$;
