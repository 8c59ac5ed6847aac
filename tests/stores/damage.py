"""Damage to the database of `furnished.py`: by its name, what is done to it, and every fault that must be named.

In the SQL ``:plain`` is the id of the conversation `plain`, ``:plain_3`` of its third entry, ``:cut_call_3`` the call
that this entry is about and ``:cut_theirs_3`` what the model calls that, ``:run`` the run under way;
``swap(text, old, new)`` replaces. The faults use the same names.
"""

from __future__ import annotations

Damage = dict[str, tuple[list[str], list[str]]]
BEYOND = "it lies beyond the head, and no run is under way"

LOG: Damage = {
    "a hole": (["DELETE FROM entry WHERE conversation = :served AND position = 2"], ["served, entry 2: it is missing"]),
    "a missing beginning": (
        ["DELETE FROM entry WHERE conversation = :served AND position = 1"],
        ["served, entry 1: it is missing"],
    ),
    "a missing end": (
        ["DELETE FROM entry WHERE conversation = :served AND position = 3"],
        ["served, entry 3: it is missing"],
    ),
    "a head beyond the entries": (
        ["UPDATE conversation SET head = 5 WHERE id = :served"],
        ["served, entry 4: it is missing", "served, entry 5: it is missing"],
    ),
    "a head before the entries": (
        ["UPDATE conversation SET head = 2 WHERE id = :served"],
        [f"served, entry 3: {BEYOND}"],
    ),
    "a hole in what a run has written": (
        ["DELETE FROM entry WHERE conversation = :busy AND position = 3"],
        ["busy, entry 3: it is missing"],
    ),
    "a result that is missing": (
        ["DELETE FROM entry WHERE id = :answered_3"],
        ["answered, entry 3: it is missing"],
    ),
    "a hole that two branches stand on": (
        ["DELETE FROM entry WHERE conversation = :parent AND position = 1"],
        ["parent, entry 1: it is missing"],
    ),
    "a hole in what only a branch stands on": (
        ["DELETE FROM entry WHERE conversation = :trunk AND position = 1"],
        ["trunk, entry 1: it is missing"],
    ),
    "an id that was given before on the way": (
        ["UPDATE entry SET id = :parent_2, body = swap(body, id, :parent_2) WHERE id = :branch_3"],
        ["branch, entry 3: its id parent_2 was given to an earlier entry already"],
    ),
    "a body that is no JSON": (
        ["UPDATE entry SET body = x'7b' WHERE id = :plain_3"],
        ["plain, entry 3: its body is no entry: Input data was truncated"],
    ),
    "a body that is no UTF-8": (
        ["UPDATE entry SET body = CAST(x'ff' || body AS BLOB) WHERE id = :plain_3"],
        ["plain, entry 3: its body is no entry: JSON is malformed: invalid character (byte 0)"],
    ),
    "a body that is no entry": (
        ["""UPDATE entry SET body = swap(body, '"role":"user"', '"role":"king"') WHERE id = :plain_3"""],
        ["plain, entry 3: its body is no entry: Invalid enum value 'king' - at `$.role`"],
    ),
    "a body of another kind": (
        ["UPDATE entry SET kind = 'message.output' WHERE id = :plain_3"],
        ["plain, entry 3: its row says message.output, its body message.input"],
    ),
    "a body with another id": (
        ["UPDATE entry SET body = swap(body, id, 'msg_x') WHERE id = :plain_3"],
        ["plain, entry 3: its row says plain_3, its body msg_x"],
    ),
    "a body about another call": (
        ["UPDATE entry SET body = swap(body, tool_call_id, 'another') WHERE id = :answered_2"],
        ["answered, entry 2: its row is about call answered_call_2, its body about another"],
    ),
    "what the engine keeps is no JSON": (
        ["UPDATE entry SET private = x'7b' WHERE id = :plain_2"],
        ["plain, entry 2: what the engine keeps of it cannot be read"],
    ),
    "a second result": (
        [
            """INSERT INTO entry SELECT workspace, conversation, 5, 'fr_x', kind, tool_call_id, covers,
            swap(body, id, 'fr_x'), prompt, private FROM entry WHERE id = :answered_3""",
            "UPDATE conversation SET head = 5 WHERE id = :answered",
        ],
        [
            "answered, entry 5: it answers call answered_call_2, which is not open here",
            "answered, entry 5: a chat message answers call answered_call_2, which the prompt has not left open",
        ],
    ),
    "a result before its call": (
        [
            "UPDATE entry SET position = 99 WHERE id = :answered_2",
            "UPDATE entry SET position = 2 WHERE id = :answered_3",
            "UPDATE entry SET position = 3 WHERE id = :answered_2",
        ],
        [
            "answered, entry 2: it answers call answered_call_2, which is not open here",
            "answered, entry 2: a chat message answers call answered_call_2, which the prompt has not left open",
            "answered, entry 4: it comes before the results of the calls answered_call_2",
            "answered, entry 4: a chat message comes before the results of the calls answered_call_2",
        ],
    ),
    "a result of another call": (
        [
            """UPDATE entry SET tool_call_id = 'other', body = swap(body, tool_call_id, 'other'),
            prompt = swap(prompt, tool_call_id, 'other') WHERE id = :parallel_4"""
        ],
        [
            "parallel, entry 4: it answers call other, which is not open here",
            "parallel, entry 4: a chat message answers call other, which the prompt has not left open",
            "parallel, entry 6: it comes before the results of the calls parallel_call_2",
            "parallel, entry 6: a chat message comes before the results of the calls parallel_call_2",
        ],
    ),
    "a message between results": (
        [
            "UPDATE entry SET position = 99 WHERE id = :parallel_5",
            "UPDATE entry SET position = 5 WHERE id = :parallel_6",
            "UPDATE entry SET position = 6 WHERE id = :parallel_5",
        ],
        [
            "parallel, entry 5: it comes before the results of the calls parallel_call_3",
            "parallel, entry 5: a chat message comes before the results of the calls parallel_call_3",
        ],
    ),
    "a user who speaks before a result": (
        [
            """INSERT INTO entry SELECT workspace, :waiting, 3, 'msg_x', kind, NULL, covers, swap(body, id, 'msg_x'),
            prompt, private FROM entry WHERE id = :plain_1""",
            "UPDATE conversation SET head = 3 WHERE id = :waiting",
        ],
        [
            "waiting, entry 3: it comes before the results of the calls waiting_call_2",
            "waiting, entry 3: a chat message comes before the results of the calls waiting_call_2",
        ],
    ),
    "a user who speaks in the middle of a turn": (
        [
            """UPDATE entry SET kind = 'message.input', tool_call_id = NULL, covers = 1,
            body = swap((SELECT body FROM entry WHERE id = :plain_3), :plain_3, id),
            prompt = (SELECT prompt FROM entry WHERE id = :plain_3) WHERE id = :parallel_9"""
        ],
        [
            "parallel, entry 9: it comes before the results of the calls parallel_call_8",
            "parallel, entry 9: no chat message of the prompt stands for the entries before it, from 8 on",
            "parallel, entry 9: a chat message comes before the results of the calls parallel_call_8",
        ],
    ),
    "a model that speaks before the result that a branch began with": (
        [
            "UPDATE entry SET position = 99 WHERE id = :cut_3",
            "UPDATE entry SET position = 3 WHERE id = :cut_4",
            "UPDATE entry SET position = 4 WHERE id = :cut_3",
        ],
        [
            "cut, entry 3: it comes before the results of the calls parallel_call_2",
            "cut, entry 3: a chat message comes before the results of the calls parallel_call_2",
        ],
    ),
    "a result for the model's own name of a call": (
        ["UPDATE entry SET prompt = swap(prompt, :foreign_theirs_2, 'other') WHERE id = :foreign_3"],
        [
            "foreign, entry 3: a chat message answers call other, which the prompt has not left open",
            "foreign, entry 4: a chat message comes before the results of the calls foreign_theirs_2",
            "foreign, entry 6: the calls that are open behind it are not those that the prompt leaves open",
        ],
    ),
    "a name of the model's for an open call that is lost": (
        ["UPDATE entry SET private = NULL WHERE id = :foreign_6"],
        ["foreign, entry 6: the calls that are open behind it are not those that the prompt leaves open"],
    ),
    "a call that is open already": (
        [
            """UPDATE entry SET tool_call_id = :parallel_call_8, body = swap(body, :parallel_call_9, :parallel_call_8)
            WHERE id = :parallel_9"""
        ],
        [
            "parallel, entry 9: it makes call parallel_call_8, which is open already",
            "parallel, entry 9: the calls that are open behind it are not those that the prompt leaves open",
        ],
    ),
    "a prompt that does not know an open call": (
        ["""UPDATE entry SET prompt = CAST('{"role":"assistant","content":""}' AS BLOB) WHERE id = :waiting_2"""],
        ["waiting, entry 2: the calls that are open behind it are not those that the prompt leaves open"],
    ),
    "a prompt that is no JSON": (
        ["UPDATE entry SET prompt = CAST('{' AS BLOB) WHERE id = :plain_2"],
        ["plain, entry 2: its chat messages cannot be read: JSON is malformed: object keys must be strings (byte 2)"],
    ),
    "a prompt without messages": (
        ["UPDATE entry SET prompt = x'' WHERE id = :plain_2"],
        ["plain, entry 2: its chat messages are none"],
    ),
    "a chat message of no role": (
        ["""UPDATE entry SET prompt = swap(prompt, '"user"', '"king"') WHERE id = :plain_3"""],
        ["plain, entry 3: a chat message is of role king"],
    ),
    "a prompt that covers too much": (
        ["UPDATE entry SET covers = 2 WHERE id = :plain_2"],
        ["plain, entry 2: its chat messages cover 2 entries, of the 1 that have none yet"],
    ),
    "a prompt that covers nothing": (
        ["UPDATE entry SET covers = 0 WHERE id = :plain_2"],
        [
            "plain, entry 2: its chat messages cover 0 entries, of the 1 that have none yet",
            "plain, entry 2: no chat message of the prompt stands for the entries before it, from 2 on",
        ],
    ),
    "a prompt that covers too little": (
        ["UPDATE entry SET covers = 1 WHERE id = :parallel_3"],
        [
            "parallel, entry 3: no chat message of the prompt stands for the entries before it, from 2 on",
            "parallel, entry 3: a chat message comes before the results of the calls parallel_call_2",
        ],
    ),
    "a cover without a prompt": (
        ["UPDATE entry SET covers = 1 WHERE id = :parallel_2"],
        ["parallel, entry 2: it covers entries without a chat message"],
    ),
    "an end without a prompt": (
        ["UPDATE entry SET covers = 0, prompt = NULL WHERE id = :plain_4"],
        ["plain, entry 4: no chat message of the prompt stands for it"],
    ),
}

BRANCHES: Damage = {
    "a branch without ground": (
        ["DELETE FROM segment WHERE conversation = :branch"],
        [
            "branch: it has not the segments of a branch, or is none",
            "branch, entry 1: it is missing",
            "branch, entry 2: it is missing",
        ],
    ),
    "segments that are not counted through": (
        ["UPDATE segment SET ordinal = 2 WHERE conversation = :leaf AND ordinal = 1"],
        ["leaf: it has not the segments of a branch, or is none"],
    ),
    "segments in the wrong order": (
        [
            "UPDATE segment SET ordinal = 9 WHERE conversation = :leaf AND ordinal = 0",
            "UPDATE segment SET ordinal = 0 WHERE conversation = :leaf AND ordinal = 1",
            "UPDATE segment SET ordinal = 1 WHERE conversation = :leaf AND ordinal = 9",
        ],
        [
            "leaf: its segments do not grow from one to the next",
            "branch, entry 1: it is missing",
            "branch, entry 2: it is missing",
        ],
    ),
    "a segment that goes beyond what there is": (
        ["UPDATE segment SET upto = 5 WHERE conversation = :branch"],
        [
            "branch: its head 4 lies before the end of what it stands on, 5",
            "branch: it stands on entry 5 of parent, which owns none there",
            "leaf: it stands on entry 4 of branch, which owns none there",
            "branch, entry 3: it has an entry of its own where it stands on another's",
            "branch, entry 4: it has an entry of its own where it stands on another's",
            "parent, entry 5: it is missing",
        ],
    ),
    "a segment of somebody who owns nothing there": (
        ["UPDATE segment SET owner = :branch, upto = 2 WHERE conversation = :survivor"],
        [
            "survivor: it stands on entry 2 of branch, which owns none there",
            "trunk: it was deleted and no branch stands on it, but it is kept",
            "branch, entry 1: it is missing",
            "branch, entry 2: it is missing",
        ],
    ),
    "ground that is not what was branched from": (
        ["UPDATE conversation SET parent_entry_id = :parent_1 WHERE id = :branch"],
        ["branch: it stands on parent_2, not on parent_1"],
    ),
    "ground that belongs to nobody": (
        ["DELETE FROM conversation WHERE id = :trunk"],
        [
            "survivor: it stands on entry 2 of trunk, which owns none there",
            "trunk: entry 1 belongs to no conversation",
            "trunk: entry 2 belongs to no conversation",
        ],
    ),
    "an entry of its own in the ground": (
        [
            """INSERT INTO entry SELECT workspace, :branch, 2, 'msg_x', kind, tool_call_id, covers, body, prompt,
            private FROM entry WHERE id = :parent_2"""
        ],
        ["branch, entry 2: it has an entry of its own where it stands on another's"],
    ),
    "more than branches need of what was deleted": (
        [
            """INSERT INTO entry SELECT workspace, :trunk, 3, 'msg_x', kind, tool_call_id, covers, body, prompt, private
            FROM entry WHERE id = :plain_3"""
        ],
        ["trunk, entry 3: it was deleted, and no branch stands on its entries behind 2"],
    ),
    "a name of what was deleted": (
        ["UPDATE conversation SET name = 'Secret' WHERE id = :trunk"],
        ["trunk: it was deleted, but more is kept of it than entries"],
    ),
    "settings of what was deleted": (
        ["""UPDATE conversation SET settings = CAST('{"model":"m"}' AS BLOB) WHERE id = :trunk"""],
        ["trunk: it was deleted, but more is kept of it than entries"],
    ),
    "a segment of nobody": (
        ["INSERT INTO segment SELECT workspace, 'conv_x', 0, owner, upto FROM segment WHERE conversation = :branch"],
        ["conv_x: segment 0 belongs to no conversation"],
    ),
}

ROWS: Damage = {
    "a time that is none": (
        ["UPDATE conversation SET created_at = 'yesterday' WHERE id = :plain"],
        ["plain: its row cannot be read: Invalid isoformat string: 'yesterday'"],
    ),
    "settings that are no object": (
        ["UPDATE conversation SET settings = CAST('[]' AS BLOB) WHERE id = :plain"],
        ["plain: its row cannot be read: what should be a JSON object is none"],
    ),
    "metadata that is no JSON": (
        ["UPDATE conversation SET metadata = CAST('{' AS BLOB) WHERE id = :plain"],
        ["plain: its row cannot be read: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"],
    ),
    "a label that is missing": (
        ["DELETE FROM label WHERE thing = :plain AND key = 'user'"],
        ["plain: label 'user' is not what its metadata says"],
    ),
    "a label of another value": (
        ["UPDATE label SET value = 'x' WHERE thing = :plain AND key = 'n'"],
        ["plain: label 'n' is not what its metadata says"],
    ),
    "a label too many": (
        ["INSERT INTO label VALUES ('here', :served, 'user', 'x')"],
        ["served: label 'user' is not what its metadata says"],
    ),
    "a label of nobody": (
        ["INSERT INTO label VALUES ('here', 'conv_x', 'user', 'x')"],
        ["conv_x: label 'user' belongs to no conversation or agent"],
    ),
    "a label of what was deleted": (
        ["INSERT INTO label VALUES ('here', :trunk, 'user', 'x')"],
        ["trunk: label 'user' belongs to no conversation or agent"],
    ),
    "a start that nobody hears of": (
        ["UPDATE conversation SET announced = 0 WHERE id = :served"],
        ["served: it was never announced, and no run is under way that could announce it"],
    ),
    "a settlement of nobody": (
        ["INSERT INTO settlement VALUES ('here', 'conv_x', 1, 'fc_x', 'allowed', NULL, 'run_x', '2026-01-01')"],
        ["conv_x: the settlement of fc_x belongs to no conversation"],
    ),
}

SETTLEMENTS: Damage = {
    "a settlement of another entry": (
        ["UPDATE settlement SET entry = 'fc_x' WHERE entry = :asked_4"],
        [
            "asked, entry 5: fc_x is settled, but waits for nothing here",
            "asked, entry 5: it comes before the results of the calls asked_call_4, asked_call_3, asked_call_2",
            "asked, entry 7: the calls that are open behind it are not those that the prompt leaves open",
        ],
    ),
    "a call that was allowed for nothing": (
        ["UPDATE settlement SET status = 'allowed' WHERE conversation = :denied"],
        [
            "denied, entry 4: call asked_call_2 was allowed, but nothing came of it",
        ],
    ),
    "a denied call that was executed": (
        ["UPDATE settlement SET status = 'denied' WHERE entry = :asked_4"],
        [
            "asked, entry 5: it comes before the results of the calls asked_call_3, asked_call_2",
            "asked, entry 5: a chat message answers call asked_call_4, which the prompt has not left open",
        ],
    ),
    "something else than what came of an allowed call": (
        ["UPDATE settlement SET status = 'allowed' WHERE entry = :asked_2"],
        [
            "asked, entry 7: it is not what came of call asked_call_2, which was allowed",
            "asked, entry 7: a chat message comes before the results of the calls asked_call_2",
            "asked, entry 7: the calls that are open behind it are not those that the prompt leaves open",
        ],
    ),
    "a result for a call that asks": (
        [
            "DELETE FROM settlement WHERE conversation = :asked",
            """UPDATE entry SET tool_call_id = :asked_call_2, body = swap(body, tool_call_id, :asked_call_2)
         WHERE id = :asked_6""",
        ],
        [
            "asked, entry 5: it comes before the results of the calls asked_call_4, asked_call_3, asked_call_2",
            "asked, entry 6: it answers call asked_call_2, which is not open here",
            "asked, entry 7: a chat message comes before the results of the calls asked_call_2",
            "asked, entry 7: the calls that are open behind it are not those that the prompt leaves open",
        ],
    ),
    "a settlement that is lost": (
        ["DELETE FROM settlement WHERE entry = :asked_2"],
        [
            "asked, entry 7: it comes before the results of the calls asked_call_2",
            "asked, entry 7: a chat message comes before the results of the calls asked_call_2",
        ],
    ),
    "a settlement that comes too late": (
        ["UPDATE settlement SET position = 9 WHERE conversation = :denied"],
        [
            "denied: the settlement of denied_2 lies beyond the head",
        ],
    ),
    "a settlement of no kind": (
        ["UPDATE settlement SET status = 'maybe' WHERE conversation = :denied"],
        [
            "denied: the settlement of denied_2 neither allows nor denies it",
        ],
    ),
    "a settlement of no run": (
        ["UPDATE settlement SET run_id = 'run_x' WHERE conversation = :denied"],
        [
            "denied: the settlement of denied_2 belongs to no run",
        ],
    ),
    "a settlement that no branch sees": (
        [
            """INSERT INTO settlement SELECT workspace, conversation, 7, 'fc_x', status, reason, run_id, settled_at
         FROM settlement WHERE conversation = :told LIMIT 1"""
        ],
        [
            "told, entry 7: it was deleted, and no branch sees the settlement that stands there",
        ],
    ),
}

RUNS: Damage = {
    "a run of nobody": (
        ["UPDATE run SET conversation = 'conv_x', id = 'run_x' WHERE conversation = :served"],
        ["conv_x: run run_x belongs to no conversation"],
    ),
    "a run that the conversation does not name": (
        ["UPDATE run SET state = 'running', ended_at = NULL, id = 'run_x' WHERE conversation = :served"],
        ["served: run run_x is under way, but the conversation does not name it"],
    ),
    "a run that is not under way": (
        ["UPDATE conversation SET run_id = 'run_x' WHERE id = :served"],
        ["served: run run_x is named as under way, but is not"],
    ),
    "a run that was let go": (
        ["UPDATE conversation SET run_id = NULL WHERE id = :busy"],
        [
            f"busy, entry 3: {BEYOND}",
            f"busy, entry 4: {BEYOND}",
            "busy: run run is under way, but the conversation does not name it",
        ],
    ),
    "a fencing number that is too high": (
        ["UPDATE run SET fence = 9, id = 'run_x' WHERE conversation = :served"],
        ["served: run run_x has a fencing number that the conversation did not give it"],
    ),
    "a fencing number that was lost": (
        ["UPDATE conversation SET fence = 9 WHERE id = :busy"],
        ["busy: run run has a fencing number that the conversation did not give it"],
    ),
    "a run from another head": (
        ["UPDATE run SET head = 1 WHERE id = :run"],
        ["busy: run run is under way from another head"],
    ),
    "a run in no state": (
        ["UPDATE run SET state = 'paused', id = 'run_x' WHERE conversation = :served"],
        ["served: run run_x is in no state that a run can be in"],
    ),
    "a run that ended and did not": (
        ["UPDATE run SET ended_at = NULL, id = 'run_x' WHERE conversation = :served"],
        ["served: run run_x is in no state that a run can be in"],
    ),
    "a request that is no JSON": (
        ["UPDATE run SET request = CAST('{' AS BLOB) WHERE id = :run"],
        ["busy: what run run was asked for, or what it used, cannot be read"],
    ),
    "a usage that is no JSON": (
        ["UPDATE run SET usage = CAST('{' AS BLOB) WHERE id = :run"],
        ["busy: what run run was asked for, or what it used, cannot be read"],
    ),
    "a run without its inputs": (
        ["""UPDATE run SET request = CAST('{"inputs":3}' AS BLOB) WHERE id = :run"""],
        ["busy: run run is under way without all of its inputs"],
    ),
    "a call of nobody": (
        ["UPDATE ledger SET conversation = 'conv_x', key = 'key_x' WHERE state = 'settled'"],
        [
            "conv_x: the record of tool call key_x belongs to no conversation",
            "conv_x: the record of tool call key_x belongs to no run",
        ],
    ),
    "a call of another conversation's run": (
        [
            """UPDATE ledger SET key = 'key_x', run_id = (SELECT id FROM run WHERE conversation = :served)
            WHERE state = 'settled'"""
        ],
        ["busy: the record of tool call key_x belongs to no run"],
    ),
    "a settled call without a result": (
        ["UPDATE ledger SET key = 'key_x', result = NULL WHERE state = 'settled'"],
        ["busy: the record of tool call key_x is neither reserved nor settled"],
    ),
    "a reserved call with a result": (
        ["UPDATE ledger SET key = 'key_x', result = CAST('{}' AS BLOB) WHERE state = 'reserved'"],
        ["busy: the record of tool call key_x is neither reserved nor settled"],
    ),
    "a result that is no JSON": (
        ["UPDATE ledger SET key = 'key_x', result = CAST('{' AS BLOB) WHERE state = 'settled'"],
        ["busy: the record of tool call key_x is neither reserved nor settled"],
    ),
    "a key of nobody": (
        ["UPDATE idempotency SET conversation = 'conv_x' WHERE key = 'k-start'"],
        [
            "conv_x: idempotency key 'k-start' belongs to no conversation",
            "conv_x: idempotency key 'k-start' belongs to no run",
        ],
    ),
    "a key of no run": (
        ["UPDATE idempotency SET run_id = 'run_x' WHERE key = 'k-start'"],
        ["plain: idempotency key 'k-start' belongs to no run"],
    ),
    "a key without its answer": (
        ["UPDATE idempotency SET response = NULL WHERE key = 'k-more'"],
        ["plain: idempotency key 'k-more' does not have the answer of its run"],
    ),
    "a key with an answer too early": (
        ["UPDATE idempotency SET response = CAST('{}' AS BLOB) WHERE key = 'k-busy'"],
        ["busy: idempotency key 'k-busy' does not have the answer of its run"],
    ),
    "a key of a run that failed": (
        ["UPDATE run SET state = 'failed' WHERE id = (SELECT run_id FROM idempotency WHERE key = 'k-more')"],
        ["plain: idempotency key 'k-more' does not have the answer of its run"],
    ),
    "an answer that is no JSON": (
        ["UPDATE idempotency SET response = CAST('{' AS BLOB) WHERE key = 'k-more'"],
        ["plain: idempotency key 'k-more' does not have the answer of its run"],
    ),
}

AGENTS: Damage = {
    "a current version that is missing": (
        ["UPDATE agent SET version = 7 WHERE id = :helper", "DELETE FROM label WHERE thing = :helper"],
        ["helper: its current version 7 is missing"],
    ),
    "a version that is missing": (
        ["DELETE FROM agent_version WHERE agent = :helper AND version = 0"],
        ["helper: it has not every version from 0 to 2"],
    ),
    "a version of nobody": (
        [
            """INSERT INTO agent_version SELECT workspace, 'ag_x', 0, name, body, created_at FROM agent_version
        WHERE agent = :helper AND version = 0"""
        ],
        ["ag_x: version 0 belongs to no agent"],
    ),
    "a version that is no JSON": (
        ["UPDATE agent_version SET body = CAST('{' AS BLOB) WHERE agent = :helper AND version = 0"],
        ["helper: its version 0 cannot be read: Input data was truncated"],
    ),
    "a version of a deleted agent that is none": (
        ["UPDATE agent_version SET body = CAST('{}' AS BLOB) WHERE agent = :gone AND version = 1"],
        ["gone: its version 1 cannot be read: Object missing required field `model`"],
    ),
    "a version under another name": (
        ["UPDATE agent_version SET name = 'other' WHERE agent = :helper AND version = 2"],
        ["helper: the row of its version 2 says 'other', its body 'newest'"],
    ),
    "an alias that leads nowhere": (
        ["UPDATE agent_alias SET version = 3 WHERE agent = :helper"],
        ["helper: alias 'beta' leads to no version"],
    ),
    "an alias of what was deleted": (
        ["INSERT INTO agent_alias SELECT workspace, :gone, alias, version, created_at, updated_at FROM agent_alias"],
        ["gone: alias 'beta' belongs to no agent"],
    ),
    "a label of a version that is not current": (
        ["UPDATE agent SET version = 2 WHERE id = :helper"],
        ["helper: label 'team' is not what its metadata says"],
    ),
    "a label of a deleted agent": (
        ["INSERT INTO label SELECT workspace, :gone, key, value FROM label WHERE thing = :helper"],
        ["gone: label 'team' belongs to no conversation or agent"],
    ),
    "a time of an agent's that is none": (
        ["UPDATE agent SET updated_at = 'yesterday' WHERE id = :helper"],
        ["helper: its row cannot be read: Invalid isoformat string: 'yesterday'"],
    ),
}

FILE: Damage = {
    "an index that is missing": (["DROP INDEX entry_id"], ["the file: index entry_id is missing"]),
    "an index that lacks rows": (
        [
            "DROP INDEX idempotency_expiry",
            "CREATE INDEX idempotency_expiry ON idempotency (expires_at) WHERE expires_at < ''",
            "PRAGMA writable_schema = ON",
            """UPDATE sqlite_schema SET sql = 'CREATE INDEX idempotency_expiry ON idempotency (expires_at)'
            WHERE name = 'idempotency_expiry'""",
        ],
        [
            *(f"the file: row {row} missing from index idempotency_expiry" for row in (1, 2, 3)),
            "the file: wrong # of entries in index idempotency_expiry",
        ],
    ),
    "a table that is missing": (
        ["DROP TABLE agent_alias"],
        [
            "the file: table agent_alias is missing",
            "the file: it cannot be read to its end: no such table: agent_alias",
        ],
    ),
    "a table of another form": (
        ["ALTER TABLE owner ADD COLUMN mood TEXT"],
        ["the file: table owner is not what this version made it"],
    ),
    "a row that refers to nothing": (
        ["INSERT INTO api_key VALUES (x'00', 'nowhere', 'n', 'h', '2026-01-01', NULL)"],
        ["the file: a row of api_key refers to what is not in workspace"],
    ),
}

DAMAGE = {**LOG, **BRANCHES, **ROWS, **SETTLEMENTS, **RUNS, **AGENTS, **FILE}
