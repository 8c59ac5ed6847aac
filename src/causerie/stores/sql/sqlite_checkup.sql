-- What a checkup asks. The statements of its second half each return what must not be: workspace, conversation, which.

-- name: keys
SELECT workspace, id FROM conversation ORDER BY workspace, id;

-- name: conversation
SELECT id, created_at, updated_at, settings, name, description, metadata, head, parent_id, parent_entry_id, run_id,
    deleted_at
FROM conversation WHERE workspace = :workspace AND id = :id;

-- name: size
SELECT COUNT(*) FROM entry;

-- name: labels
SELECT key, value FROM label WHERE workspace = :workspace AND thing = :id ORDER BY key;

-- name: ordinals
SELECT ordinal FROM segment WHERE workspace = :workspace AND conversation = :id ORDER BY ordinal;

-- name: underground
-- Entries of its own where those of others should be.
SELECT position FROM entry
WHERE workspace = :workspace AND conversation = :id AND position <= :ground
ORDER BY position;

-- name: owned
-- Behind which position a conversation's own entries begin, and where they end as far as they count.
SELECT
    COALESCE((
        SELECT MAX(upto) FROM segment
        WHERE segment.workspace = conversation.workspace AND segment.conversation = conversation.id), 0),
    CASE WHEN deleted_at IS NULL THEN head ELSE COALESCE((
        SELECT MAX(position) FROM entry
        WHERE entry.workspace = conversation.workspace AND entry.conversation = conversation.id), 0) END
FROM conversation WHERE workspace = :workspace AND id = :id;

-- name: kept
-- How far a deleted conversation still has entries, and settlements, and how far living branches stand on it.
SELECT
    (SELECT MAX(position) FROM entry WHERE workspace = :workspace AND conversation = :id),
    (SELECT MAX(position) FROM settlement WHERE workspace = :workspace AND conversation = :id),
    (SELECT MAX(segment.upto) FROM segment
     JOIN conversation ON conversation.workspace = segment.workspace AND conversation.id = segment.conversation
     WHERE segment.workspace = :workspace AND segment.owner = :id AND conversation.deleted_at IS NULL);

-- name: agents
SELECT workspace, id, version, created_at, updated_at, deleted_at FROM agent ORDER BY workspace, id;

-- name: agent_versions
SELECT version, name, body, created_at FROM agent_version
WHERE workspace = :workspace AND agent = :id ORDER BY version;

-- ---- what must not be

-- name: lost_entries
SELECT DISTINCT workspace, conversation, position FROM entry
WHERE NOT EXISTS (
    SELECT 1 FROM conversation WHERE conversation.workspace = entry.workspace AND id = entry.conversation);

-- name: lost_segments
SELECT workspace, conversation, ordinal FROM segment
WHERE NOT EXISTS (
    SELECT 1 FROM conversation WHERE conversation.workspace = segment.workspace AND id = segment.conversation);

-- name: lost_labels
SELECT workspace, thing, key FROM label
WHERE NOT EXISTS (
    SELECT 1 FROM conversation
    WHERE conversation.workspace = label.workspace AND id = label.thing AND deleted_at IS NULL)
  AND NOT EXISTS (
    SELECT 1 FROM agent WHERE agent.workspace = label.workspace AND id = label.thing AND deleted_at IS NULL);

-- name: lost_runs
SELECT workspace, conversation, id FROM run
WHERE NOT EXISTS (
    SELECT 1 FROM conversation
    WHERE conversation.workspace = run.workspace AND id = run.conversation AND deleted_at IS NULL);

-- name: lost_calls
SELECT workspace, conversation, key FROM ledger
WHERE NOT EXISTS (
    SELECT 1 FROM conversation
    WHERE conversation.workspace = ledger.workspace AND id = ledger.conversation AND deleted_at IS NULL);

-- name: lost_keys
SELECT workspace, conversation, key FROM idempotency
WHERE NOT EXISTS (
    SELECT 1 FROM conversation
    WHERE conversation.workspace = idempotency.workspace AND id = idempotency.conversation AND deleted_at IS NULL);

-- name: lost_settlements
SELECT workspace, conversation, entry FROM settlement
WHERE NOT EXISTS (
    SELECT 1 FROM conversation WHERE conversation.workspace = settlement.workspace AND id = settlement.conversation);

-- name: settlements_in_no_state
SELECT workspace, conversation, entry FROM settlement WHERE status NOT IN ('allowed', 'denied');

-- name: settlements_of_no_run
SELECT settlement.workspace, settlement.conversation, entry FROM settlement
JOIN conversation ON conversation.workspace = settlement.workspace AND conversation.id = settlement.conversation
WHERE conversation.deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM run
    WHERE run.workspace = settlement.workspace AND run.id = settlement.run_id AND run.conversation = settlement.conversation);

-- name: runs_unnamed
SELECT run.workspace, run.conversation, run.id FROM run
JOIN conversation ON conversation.workspace = run.workspace AND conversation.id = run.conversation
WHERE run.state = 'running' AND conversation.deleted_at IS NULL AND conversation.run_id IS NOT run.id;

-- name: runs_not_running
SELECT workspace, id, run_id FROM conversation
WHERE run_id IS NOT NULL AND deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM run
    WHERE run.workspace = conversation.workspace AND run.conversation = conversation.id
      AND run.id = conversation.run_id AND run.state = 'running');

-- name: runs_overtaken
SELECT run.workspace, run.conversation, run.id FROM run
JOIN conversation ON conversation.workspace = run.workspace AND conversation.id = run.conversation
WHERE run.fence > conversation.fence
   OR (run.id = conversation.run_id AND run.state = 'running' AND run.fence <> conversation.fence);

-- name: runs_from_elsewhere
SELECT run.workspace, run.conversation, run.id FROM run
JOIN conversation ON conversation.workspace = run.workspace AND conversation.id = run.conversation
WHERE run.id = conversation.run_id AND run.state = 'running' AND run.head <> conversation.head;

-- name: runs_in_no_state
SELECT workspace, conversation, id FROM run
WHERE state NOT IN ('running', 'done', 'failed', 'cancelled') OR (state = 'running') = (ended_at IS NOT NULL);

-- name: runs_unreadable
SELECT workspace, conversation, id FROM run
WHERE NOT json_valid(CAST(request AS TEXT)) OR NOT json_valid(COALESCE(CAST(usage AS TEXT), '{}'));

-- name: runs_without_inputs
SELECT run.workspace, run.conversation, run.id FROM run
WHERE state = 'running' AND json_valid(CAST(request AS TEXT))
  AND COALESCE(json_extract(CAST(request AS TEXT), '$.inputs'), 0) > (
    SELECT COUNT(*) FROM entry
    WHERE entry.workspace = run.workspace AND entry.conversation = run.conversation AND position > run.head);

-- name: starts_unseen
SELECT workspace, id, '' FROM conversation WHERE announced = 0 AND run_id IS NULL AND deleted_at IS NULL;

-- name: calls_in_no_state
SELECT workspace, conversation, key FROM ledger
WHERE state NOT IN ('reserved', 'settled')
   OR (state = 'settled') <> (result IS NOT NULL) OR (state = 'settled') <> (settled_at IS NOT NULL)
   OR NOT json_valid(COALESCE(CAST(result AS TEXT), '{}'));

-- name: calls_of_no_run
SELECT workspace, conversation, key FROM ledger
WHERE NOT EXISTS (
    SELECT 1 FROM run
    WHERE run.workspace = ledger.workspace AND id = ledger.run_id AND run.conversation = ledger.conversation);

-- name: keys_of_no_run
SELECT workspace, conversation, key FROM idempotency
WHERE NOT EXISTS (
    SELECT 1 FROM run
    WHERE run.workspace = idempotency.workspace AND id = idempotency.run_id
      AND run.conversation = idempotency.conversation);

-- name: keys_answered_wrongly
-- A run that failed lets go of its key; one that ended otherwise has left its answer under it, and no other has.
SELECT idempotency.workspace, idempotency.conversation, key FROM idempotency
JOIN run ON run.workspace = idempotency.workspace AND run.id = idempotency.run_id
WHERE run.state = 'failed' OR (run.state = 'running') <> (response IS NULL)
   OR NOT json_valid(COALESCE(CAST(response AS TEXT), '{}'));

-- name: tombstones_telling
SELECT workspace, id, '' FROM conversation
WHERE deleted_at IS NOT NULL AND (
    run_id IS NOT NULL OR settings <> x'7b7d' OR name IS NOT NULL OR description IS NOT NULL OR metadata IS NOT NULL);

-- name: lost_versions
SELECT workspace, agent, version FROM agent_version
WHERE NOT EXISTS (SELECT 1 FROM agent WHERE agent.workspace = agent_version.workspace AND id = agent_version.agent);

-- name: lost_aliases
SELECT workspace, agent, alias FROM agent_alias
WHERE NOT EXISTS (
    SELECT 1 FROM agent
    WHERE agent.workspace = agent_alias.workspace AND id = agent_alias.agent AND deleted_at IS NULL);

-- name: aliases_astray
SELECT workspace, agent, alias FROM agent_alias
WHERE NOT EXISTS (
    SELECT 1 FROM agent_version
    WHERE agent_version.workspace = agent_alias.workspace AND agent_version.agent = agent_alias.agent
      AND agent_version.version = agent_alias.version);

-- name: agents_without_current
SELECT workspace, id, version FROM agent
WHERE NOT EXISTS (
    SELECT 1 FROM agent_version
    WHERE agent_version.workspace = agent.workspace AND agent_version.agent = agent.id
      AND agent_version.version = agent.version);

-- name: agents_with_gaps
SELECT workspace, agent, MAX(version) FROM agent_version
GROUP BY workspace, agent HAVING MIN(version) <> 0 OR COUNT(*) <> MAX(version) + 1;
