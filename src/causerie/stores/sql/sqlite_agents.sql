-- The statements about agents. Each that finds agents selects the same columns, in the order of `AgentRow`'s making.

-- name: find
-- `number` names a version, `alias` too; with neither it is the current one.
SELECT agent.id, source, deployment_chat, agent.created_at, agent.updated_at, agent.version,
    (SELECT MAX(version) FROM agent_version AS other WHERE other.workspace = agent.workspace AND other.agent = agent.id),
    one.version, one.name, one.body, one.created_at
FROM agent
JOIN agent_version AS one ON one.workspace = agent.workspace AND one.agent = agent.id
WHERE agent.workspace = :workspace AND agent.id = :id AND (deleted_at IS NULL OR :deleted)
  AND one.version = CASE
    WHEN :number IS NOT NULL THEN :number
    WHEN :alias IS NOT NULL THEN (
        SELECT version FROM agent_alias
        WHERE agent_alias.workspace = agent.workspace AND agent_alias.agent = agent.id AND alias = :alias)
    ELSE agent.version END;

-- name: exists
SELECT 1 FROM agent WHERE workspace = :workspace AND id = :id AND (deleted_at IS NULL OR :deleted);

-- name: there
-- `ids` is a JSON list.
SELECT id FROM agent
WHERE workspace = :workspace AND id IN (SELECT value FROM json_each(:ids)) AND deleted_at IS NULL;

-- name: page
-- `labels` is a JSON list of [key, value]: every pair has to be there. `sources` is a JSON list.
SELECT agent.id, source, deployment_chat, agent.created_at, agent.updated_at, agent.version,
    (SELECT MAX(version) FROM agent_version AS other WHERE other.workspace = agent.workspace AND other.agent = agent.id),
    one.version, one.name, one.body, one.created_at
FROM agent
JOIN agent_version AS one
  ON one.workspace = agent.workspace AND one.agent = agent.id AND one.version = agent.version
WHERE agent.workspace = :workspace AND deleted_at IS NULL
  AND (:before IS NULL OR agent.id < :before)
  AND (:deployment_chat IS NULL OR deployment_chat = :deployment_chat)
  AND (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources)))
  AND (:name IS NULL OR one.name = :name)
  AND (:search IS NULL OR instr(casefold(one.name), casefold(:search)) OR instr(agent.id, :search))
  AND (:id IS NULL OR agent.id = :id)
  AND NOT EXISTS (
    SELECT 1 FROM json_each(:labels) AS wanted
    WHERE NOT EXISTS (
        SELECT 1 FROM label
        WHERE label.workspace = agent.workspace AND label.thing = agent.id
          AND label.key = json_extract(wanted.value, '$[0]') AND label.value = json_extract(wanted.value, '$[1]')))
ORDER BY agent.id DESC LIMIT :limit OFFSET :offset;

-- name: versions
SELECT agent.id, source, deployment_chat, agent.created_at, agent.updated_at, agent.version,
    (SELECT MAX(version) FROM agent_version AS other WHERE other.workspace = agent.workspace AND other.agent = agent.id),
    one.version, one.name, one.body, one.created_at
FROM agent
JOIN agent_version AS one ON one.workspace = agent.workspace AND one.agent = agent.id
WHERE agent.workspace = :workspace AND agent.id = :id AND deleted_at IS NULL
ORDER BY one.version DESC LIMIT :limit OFFSET :offset;

-- name: add
INSERT INTO agent (workspace, id, version, source, deployment_chat, created_at, updated_at)
VALUES (:workspace, :id, :version, :source, :deployment_chat, :created_at, :updated_at);

-- name: add_version
INSERT INTO agent_version (workspace, agent, version, name, body, created_at)
VALUES (:workspace, :id, :version, :name, :body, :made_at);

-- name: update
UPDATE agent SET version = :version, deployment_chat = :deployment_chat, updated_at = :updated_at
WHERE workspace = :workspace AND id = :id;

-- name: set_alias
INSERT INTO agent_alias (workspace, agent, alias, version, created_at, updated_at)
VALUES (:workspace, :id, :alias, :version, :at, :at)
ON CONFLICT (workspace, agent, alias) DO UPDATE SET version = excluded.version, updated_at = excluded.updated_at
RETURNING alias, version, created_at, updated_at;

-- name: aliases
SELECT alias, version, created_at, updated_at FROM agent_alias
WHERE workspace = :workspace AND agent = :id ORDER BY alias;

-- name: drop_alias
DELETE FROM agent_alias WHERE workspace = :workspace AND agent = :id AND alias = :alias;

-- name: bury
UPDATE agent SET deleted_at = :at WHERE workspace = :workspace AND id = :id AND deleted_at IS NULL;

-- name: forget_aliases
DELETE FROM agent_alias WHERE workspace = :workspace AND agent = :id;

-- name: sweep_versions
-- Which versions a run under way began with is the engine's to know: as long as there is one, all of them stay.
DELETE FROM agent_version
WHERE EXISTS (
    SELECT 1 FROM agent
    WHERE agent.workspace = agent_version.workspace AND id = agent_version.agent AND deleted_at IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM run WHERE state = 'running' AND run.workspace = agent_version.workspace);

-- name: sweep
DELETE FROM agent
WHERE deleted_at IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM agent_version WHERE agent_version.workspace = agent.workspace AND agent_version.agent = agent.id);
