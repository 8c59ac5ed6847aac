-- The whole of the design from the first day on, also what later parts fill: a table that is empty costs nothing,
-- a log that has to be rewritten costs trust. Every table's key begins with the workspace (D13).

CREATE TABLE workspace (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    created_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
    digest      BLOB PRIMARY KEY,              -- of the key; the key itself is never stored
    workspace   TEXT NOT NULL REFERENCES workspace (id),
    name        TEXT NOT NULL,
    hint        TEXT NOT NULL,                 -- its last characters, to tell keys apart
    created_at  TEXT NOT NULL,
    revoked_at  TEXT
) STRICT, WITHOUT ROWID;

-- One heartbeat a process (D14); a run belongs to the owner that carries it.
CREATE TABLE owner (
    id            TEXT PRIMARY KEY,
    process       INTEGER NOT NULL,
    host          TEXT NOT NULL,
    started_at    TEXT NOT NULL,
    heartbeat_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation (
    workspace        TEXT NOT NULL,
    id               TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL,
    settings         BLOB NOT NULL,            -- model or agent, instructions, tools, completion_args, guardrails
    name             TEXT,
    description      TEXT,
    metadata         BLOB,
    head             INTEGER NOT NULL,         -- entries committed, absolute across segments
    fence            INTEGER NOT NULL,         -- grows with every run; a run may write while it holds the latest
    run_id           TEXT,                     -- the run in progress
    parent_id        TEXT,                     -- lineage of a branch
    parent_entry_id  TEXT,
    announced        INTEGER NOT NULL,         -- 0 while a start that does not stream is still running
    deleted_at       TEXT,                     -- set on what only branches still stand on
    PRIMARY KEY (workspace, id)
) STRICT;

-- What a branch stands on (D6), so that a deletion can find who still needs an entry.
CREATE TABLE segment (
    workspace     TEXT NOT NULL,
    conversation  TEXT NOT NULL,
    ordinal       INTEGER NOT NULL,
    owner         TEXT NOT NULL,
    upto          INTEGER NOT NULL,
    PRIMARY KEY (workspace, conversation, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX segment_owner ON segment (workspace, owner, upto);

-- The log. Rows beyond the conversation's head are the journal of the run in progress.
CREATE TABLE entry (
    workspace     TEXT NOT NULL,
    conversation  TEXT NOT NULL,
    position      INTEGER NOT NULL,
    id            TEXT NOT NULL,
    kind          TEXT NOT NULL,
    tool_call_id  TEXT,
    covers        INTEGER NOT NULL,            -- how many entries `prompt` renders, ending with this one
    body          BLOB NOT NULL,               -- as the API returns it
    prompt        BLOB,                        -- as it was sent to the model
    private       BLOB,
    PRIMARY KEY (workspace, conversation, position)
) STRICT;
CREATE UNIQUE INDEX entry_id ON entry (workspace, conversation, id);

-- A pending call that was settled: nothing stored is edited, the settlement is merged when the call is read (D1).
CREATE TABLE settlement (
    workspace     TEXT NOT NULL,
    conversation  TEXT NOT NULL,               -- the one that settled it
    position      INTEGER NOT NULL,            -- visible to branches cut at or after it
    entry         TEXT NOT NULL,
    status        TEXT NOT NULL,
    reason        TEXT,
    run_id        TEXT NOT NULL,
    settled_at    TEXT NOT NULL,
    PRIMARY KEY (workspace, conversation, entry)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    workspace     TEXT NOT NULL,
    id            TEXT NOT NULL,
    conversation  TEXT NOT NULL,
    operation     TEXT NOT NULL,
    state         TEXT NOT NULL,               -- running, done, failed, cancelled
    owner         TEXT NOT NULL,
    fence         INTEGER NOT NULL,
    head          INTEGER NOT NULL,            -- what it started from
    request       BLOB NOT NULL,               -- what an adopter needs to carry it on (D4)
    model_calls   INTEGER NOT NULL,
    handoffs      INTEGER NOT NULL,
    usage         BLOB,
    error         TEXT,
    code          INTEGER,                     -- the HTTP status that the error has
    started_at    TEXT NOT NULL,
    ended_at      TEXT,
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_conversation ON run (workspace, conversation, id);
CREATE INDEX run_running ON run (owner) WHERE state = 'running';

-- Tool effects are recorded once (D5): reserved, then settled; the row outlives a failed run.
CREATE TABLE ledger (
    workspace     TEXT NOT NULL,
    conversation  TEXT NOT NULL,
    key           TEXT NOT NULL,
    run_id        TEXT NOT NULL,
    tool          TEXT NOT NULL,
    arguments     BLOB NOT NULL,
    state         TEXT NOT NULL,               -- reserved, settled
    result        BLOB,
    reserved_at   TEXT NOT NULL,
    settled_at    TEXT,
    PRIMARY KEY (workspace, conversation, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    workspace     TEXT NOT NULL,
    scope         TEXT NOT NULL,               -- the operation and, but for start, the conversation
    key           TEXT NOT NULL,
    digest        BLOB NOT NULL,               -- of the body: another body under the same key is refused
    conversation  TEXT NOT NULL,               -- the one that it made or went on with
    run_id        TEXT NOT NULL,
    response      BLOB,
    expires_at    TEXT NOT NULL,
    PRIMARY KEY (workspace, scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_conversation ON idempotency (workspace, conversation);
CREATE INDEX idempotency_run ON idempotency (workspace, run_id);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

-- Metadata, a row a pair, so that a filter is a look-up. The value is a digest of its canonical JSON.
CREATE TABLE label (
    workspace  TEXT NOT NULL,
    thing      TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (workspace, thing, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent (
    workspace        TEXT NOT NULL,
    id               TEXT NOT NULL,
    version          INTEGER NOT NULL,         -- the current one
    source           TEXT NOT NULL,
    deployment_chat  INTEGER NOT NULL,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL,
    deleted_at       TEXT,                     -- versions outlive it while something refers to them
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_version (
    workspace   TEXT NOT NULL,
    agent       TEXT NOT NULL,
    version     INTEGER NOT NULL,
    name        TEXT NOT NULL,
    body        BLOB NOT NULL,
    created_at  TEXT NOT NULL,
    PRIMARY KEY (workspace, agent, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_alias (
    workspace   TEXT NOT NULL,
    agent       TEXT NOT NULL,
    alias       TEXT NOT NULL,
    version     INTEGER NOT NULL,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    PRIMARY KEY (workspace, agent, alias)
) STRICT, WITHOUT ROWID;

INSERT INTO workspace (id, name, created_at) VALUES ('local', 'local', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
