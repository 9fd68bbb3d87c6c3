-- Version 2: processes on one store tell each other who is writing.

CREATE TABLE typing (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: other processes ask for what is new since an id
    process TEXT NOT NULL, -- one's own are not news
    room TEXT NOT NULL,
    sender TEXT NOT NULL,
    time_ms INTEGER NOT NULL -- when it may be forgotten
);
