-- Every statement of the SQLite store, by name. Parameters are named after columns.

-- name: load
SELECT id, created_at, updated_at, settings, name, description, metadata, head, parent_id, parent_entry_id, run_id
FROM conversation
WHERE workspace = :workspace AND id = :id AND announced >= :announced AND deleted_at IS NULL;

-- name: segments
SELECT owner, upto FROM segment WHERE workspace = :workspace AND conversation = :id ORDER BY ordinal;

-- name: page
-- `labels` is a JSON list of [key, value]: every pair has to be there.
SELECT id, created_at, updated_at, settings, name, description, metadata, head, parent_id, parent_entry_id, run_id
FROM conversation
WHERE workspace = :workspace AND announced = 1 AND deleted_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM json_each(:labels) AS wanted
    WHERE NOT EXISTS (
        SELECT 1 FROM label
        WHERE label.workspace = conversation.workspace AND label.thing = conversation.id
          AND label.key = json_extract(wanted.value, '$[0]') AND label.value = json_extract(wanted.value, '$[1]')))
ORDER BY id DESC LIMIT :limit OFFSET :offset;

-- name: entries
SELECT position, id, kind, body, tool_call_id, prompt, covers, private
FROM entry
WHERE workspace = :workspace AND conversation = :owner AND position > :after AND position <= :upto
ORDER BY position;

-- name: bodies
SELECT body FROM entry
WHERE workspace = :workspace AND conversation = :owner AND position > :after AND position <= :upto
ORDER BY position;

-- name: messages
SELECT body FROM entry
WHERE workspace = :workspace AND conversation = :owner AND position > :after AND position <= :upto
  AND kind IN ('message.input', 'message.output')
ORDER BY position;

-- name: settlements
SELECT position, entry, status FROM settlement
WHERE workspace = :workspace AND conversation = :owner AND position > :after AND position <= :upto
ORDER BY position, entry;

-- name: locate
SELECT position, kind FROM entry
WHERE workspace = :workspace AND conversation = :owner AND id = :id AND position > :after AND position <= :upto;

-- name: begin_new
INSERT INTO conversation (
    workspace, id, created_at, updated_at, settings, name, description, metadata, head, fence, run_id,
    parent_id, parent_entry_id, announced)
VALUES (
    :workspace, :id, :created_at, :updated_at, :settings, :name, :description, :metadata, :head, 1, :run_id,
    :parent_id, :parent_entry_id, :announced)
RETURNING fence;

-- name: begin_next
UPDATE conversation SET run_id = :run_id, fence = fence + 1
WHERE workspace = :workspace AND id = :id AND head = :head AND run_id IS NULL AND deleted_at IS NULL
RETURNING fence;

-- name: spoken_of
SELECT 1 FROM settlement WHERE workspace = :workspace AND conversation = :id AND entry = :entry;

-- name: in_the_way
SELECT run_id, head FROM conversation
WHERE workspace = :workspace AND id = :id AND announced = 1 AND deleted_at IS NULL;

-- name: add_segment
INSERT INTO segment (workspace, conversation, ordinal, owner, upto)
VALUES (:workspace, :conversation, :ordinal, :owner, :upto);

-- name: add_label
INSERT INTO label (workspace, thing, key, value) VALUES (:workspace, :thing, :key, :value);

-- name: add_run
INSERT INTO run (
    workspace, id, conversation, operation, state, owner, fence, head, request, model_calls, handoffs, started_at)
VALUES (
    :workspace, :id, :conversation, :operation, 'running', :owner, :fence, :head, :request, 0, 0, :started_at);

-- name: add_repeat
INSERT OR IGNORE INTO idempotency (workspace, scope, key, digest, conversation, run_id, expires_at)
VALUES (:workspace, :scope, :key, :digest, :conversation, :run_id, :expires_at);

-- name: answer_repeat
UPDATE idempotency SET response = :response WHERE workspace = :workspace AND run_id = :run_id;

-- name: release_repeat
DELETE FROM idempotency WHERE workspace = :workspace AND run_id = :run_id;

-- name: recall
SELECT digest, run_id, conversation, response FROM idempotency
WHERE workspace = :workspace AND scope = :scope AND key = :key AND expires_at > :now;

-- name: expire
DELETE FROM idempotency WHERE expires_at <= :now;

-- name: progress
UPDATE run SET model_calls = :model_calls, handoffs = :handoffs, usage = :usage
WHERE workspace = :workspace AND id = :run_id;

-- name: unfinished
SELECT workspace, id, conversation, operation, state, fence, head, request, model_calls, handoffs, usage, error,
    code, started_at, ended_at
FROM run WHERE state = 'running' ORDER BY id;

-- name: runs
SELECT workspace, id, conversation, operation, state, fence, head, request, model_calls, handoffs, usage, error,
    code, started_at, ended_at
FROM run WHERE workspace = :workspace AND conversation = :id ORDER BY id DESC LIMIT :limit;

-- name: run
SELECT workspace, id, conversation, operation, state, fence, head, request, model_calls, handoffs, usage, error,
    code, started_at, ended_at
FROM run WHERE workspace = :workspace AND conversation = :id AND id = :run_id;

-- name: take_over
UPDATE conversation SET fence = fence + 1
WHERE workspace = :workspace AND id = :id AND run_id = :run_id AND fence = :fence AND deleted_at IS NULL
RETURNING fence;

-- name: own_run
-- The interrupted model call counts: a run that brings its owner down is not carried on for ever.
UPDATE run SET owner = :owner, fence = :fence, model_calls = model_calls + 1 WHERE workspace = :workspace AND id = :run_id;

-- name: add_owner
INSERT INTO owner (id, process, host, started_at, heartbeat_at) VALUES (:id, :process, :host, :now, :now);

-- name: owner
SELECT 1 FROM owner WHERE id = :id;

-- name: retire_owners
DELETE FROM owner WHERE id <> :id;

-- name: beat
UPDATE owner SET heartbeat_at = :now WHERE id = :id;

-- name: reserved
SELECT state, result FROM ledger WHERE workspace = :workspace AND conversation = :id AND key = :key;

-- name: reserve
INSERT INTO ledger (workspace, conversation, key, run_id, tool, arguments, state, reserved_at)
VALUES (:workspace, :id, :key, :run_id, :tool, :arguments, 'reserved', :now);

-- name: settle
UPDATE ledger SET state = 'settled', result = :result, settled_at = :now
WHERE workspace = :workspace AND conversation = :id AND key = :key;

-- name: add_entry
INSERT INTO entry (workspace, conversation, position, id, kind, body, tool_call_id, prompt, covers, private)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: holds
SELECT 1 FROM conversation WHERE workspace = :workspace AND id = :id AND fence = :fence AND run_id = :run_id;

-- name: commit
UPDATE conversation SET head = :head, updated_at = :at, run_id = NULL, announced = 1
WHERE workspace = :workspace AND id = :id AND fence = :fence AND run_id = :run_id AND head = :start;

-- name: end_run
UPDATE run
SET state = :state, model_calls = :model_calls, handoffs = :handoffs, usage = :usage, error = :error, code = :code,
    ended_at = :at
WHERE workspace = :workspace AND id = :run_id AND state = 'running';

-- name: take_back
DELETE FROM entry
WHERE workspace = :workspace AND conversation = :id
  AND position > (SELECT head FROM conversation WHERE workspace = :workspace AND id = :id);

-- name: release
UPDATE conversation SET run_id = NULL WHERE workspace = :workspace AND id = :id AND run_id = :run_id;

-- name: unannounced
SELECT 1 FROM conversation WHERE workspace = :workspace AND id = :id AND announced = 0;

-- name: announce
UPDATE conversation SET announced = 1 WHERE workspace = :workspace AND id = :id;

-- name: lost
-- Starts that never told anybody their id, and that nobody can ask for again.
SELECT run.workspace, run.conversation, run.id, conversation.fence FROM run
JOIN conversation ON conversation.workspace = run.workspace AND conversation.id = run.conversation
WHERE run.state = 'running' AND conversation.announced = 0
  AND NOT EXISTS (SELECT 1 FROM idempotency WHERE idempotency.workspace = run.workspace AND run_id = run.id);

-- name: bury
UPDATE conversation
SET deleted_at = :at, fence = fence + 1, run_id = NULL, settings = x'7b7d', name = NULL, description = NULL,
    metadata = NULL
WHERE workspace = :workspace AND id = :id AND announced = 1 AND deleted_at IS NULL
RETURNING run_id;

-- name: needed
-- How far the surviving branches still stand on this conversation; NULL where none does.
SELECT MAX(segment.upto) FROM segment
JOIN conversation ON conversation.workspace = segment.workspace AND conversation.id = segment.conversation
WHERE segment.workspace = :workspace AND segment.owner = :id AND conversation.deleted_at IS NULL;

-- name: prune
DELETE FROM entry WHERE workspace = :workspace AND conversation = :id AND position > :upto;

-- name: buried
SELECT 1 FROM conversation WHERE workspace = :workspace AND id = :id AND deleted_at IS NOT NULL;

-- name: forget_conversation
DELETE FROM conversation WHERE workspace = :workspace AND id = :id;

-- name: forget_segments
DELETE FROM segment WHERE workspace = :workspace AND conversation = :id;

-- name: forget_labels
DELETE FROM label WHERE workspace = :workspace AND thing = :id;

-- name: forget_runs
DELETE FROM run WHERE workspace = :workspace AND conversation = :id;

-- name: forget_settlements
DELETE FROM settlement WHERE workspace = :workspace AND conversation = :id;

-- name: add_settlement
INSERT INTO settlement (workspace, conversation, position, entry, status, run_id, settled_at)
VALUES (:workspace, :id, :position, :entry, :status, :run_id, :at);

-- name: prune_settlements
DELETE FROM settlement WHERE workspace = :workspace AND conversation = :id AND position > :upto;

-- name: forget_made
DELETE FROM ledger
WHERE workspace = :workspace AND conversation = :id
  AND (substr(key, 1, length(:waited)) <> :waited OR EXISTS (
    SELECT 1 FROM settlement
    WHERE settlement.workspace = ledger.workspace AND settlement.conversation = ledger.conversation
      AND :waited || settlement.entry = ledger.key));

-- name: forget_ledger
DELETE FROM ledger WHERE workspace = :workspace AND conversation = :id;

-- name: forget_idempotency
DELETE FROM idempotency WHERE workspace = :workspace AND conversation = :id;
