-- Version 2: the processes on one store notify each other of typing.

CREATE TABLE typing (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: other processes read the rows after an id
    process TEXT NOT NULL, -- a process ignores its own rows
    room TEXT NOT NULL,
    sender TEXT NOT NULL,
    time_ms INTEGER NOT NULL -- when it was inserted; old rows are deleted
);
