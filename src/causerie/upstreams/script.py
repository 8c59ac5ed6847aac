"""A script for the rehearsal model: rules that say what to answer and when, read from a TOML file.

No I/O but reading that file. What a script may say is told in docs/rehearsal.md; what it may not is refused here,
with the file, the rule and its line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from causerie.errors import SettingsError
from causerie.types.base import encode

from .reply import Call, Chunking, Failure, Reply, Tokens
from .scene import Scene

Seconds = Annotated[float, Meta(ge=0)]

_FIELD = re.compile(r"\{\{(\w+)\}\}|\{(\w+)\}")
_KNOWN_FIELDS = frozenset({"user", "result", "turn", "model"})
_RULE_HEADER = re.compile(r"\s*\[\[\s*rules\s*\]\]")
_PLACE = re.compile(r"(?P<what>.*) - at `\$(?:\.rules\[(?P<rule>\d+)\])?(?P<key>.*)`", re.DOTALL)


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] | str = {}


class _Line(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is answered."""

    text: str | None = None
    reasoning: str | None = None
    calls: list[_Call] | None = None
    error: Failure | None = None
    delay: Seconds | None = None
    pace: Seconds | None = None
    chunk: Chunking | None = None
    usage: Tokens | None = None
    finish: str | None = None

    def answers(self) -> bool:
        return not (self.text is None and self.reasoning is None and self.calls is None)

    def says_something(self) -> bool:
        return self.answers() or self.error is not None

    def templates(self) -> Iterator[str]:
        yield from (text for text in (self.text, self.reasoning) if text is not None)
        if self.error is not None:
            yield self.error.message
        for call in self.calls or ():
            yield from _texts_in(call.arguments)


class _Rule(_Line, kw_only=True):
    """When it is answered: every condition that is given has to hold."""

    user: str | None = None
    user_regex: str | None = None
    result_of: str | None = None
    turn: Annotated[int, Meta(ge=1)] | None = None
    model: str | None = None
    sequence: list[_Line] | None = None

    def match(self, scene: Scene, model: str) -> dict[str, str] | None:
        """Return what the templates may name if the rule speaks in this scene, else None."""
        groups: dict[str, str] = {}
        if self.result_of is None and scene.results:
            return None
        if self.result_of is not None and not any(self.result_of in (result.name, "*") for result in scene.results):
            return None
        if self.turn not in (None, scene.turn) or self.model not in (None, model):
            return None
        if self.user is not None and self.user.lower() not in scene.user.lower():
            return None
        if self.user_regex is not None:
            found = re.search(self.user_regex, scene.user)
            if found is None:
                return None
            groups = {str(number): text or "" for number, text in enumerate(found.groups(), 1)}
            groups |= {name: text or "" for name, text in found.groupdict().items()}
        result = "\n".join(result.output for result in scene.results)
        return {"user": scene.user, "result": result, "turn": str(scene.turn), "model": model, **groups}


class Script(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Rules, the first that fits speaks; and how everything is said where a rule does not say it."""

    rules: list[_Rule] = []
    delay: Seconds = 0.0
    pace: Seconds = 0.0
    chunk: Chunking = "word"

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read a script from a file.

        Raises:
            SettingsError: it cannot be read, or says something that it may not; the message names the line.
        """
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"The rehearsal script {path} cannot be read: {error}") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, name: str = "script") -> Script:
        """Read a script from its text; `name` is what a message calls it.

        Raises:
            SettingsError: it says something that it may not.
        """
        try:
            script = msgspec.convert(tomllib.loads(text), cls)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{name}: this is no TOML: {error}") from error
        except msgspec.ValidationError as error:
            raise _misread(name, text, str(error)) from error
        for number, rule in enumerate(script.rules):
            if fault := _fault_of(rule):
                raise _fault(name, text, number, *fault)
        return script

    def reply(self, scenes: list[Scene], model: str) -> Reply | None:
        """Return what the script answers in the last of these scenes; None where it says nothing to that."""
        chosen = self._choose(scenes[-1], model)
        if chosen is None:
            return None
        rule, values = chosen
        line: _Line = rule
        if rule.sequence:
            earlier = sum(self._speaks(rule, scene, model) for scene in scenes[:-1])
            line = rule.sequence[min(earlier, len(rule.sequence) - 1)]
        return self._rendered(line, values)

    def spoken(self, reply: Reply) -> Reply:
        """Return a reply that the script did not write, at the script's pace."""
        return msgspec.structs.replace(reply, delay=self.delay, pace=self.pace, chunk=self.chunk)

    def _choose(self, scene: Scene, model: str) -> tuple[_Rule, dict[str, str]] | None:
        for rule in self.rules:
            values = rule.match(scene, model)
            if values is not None:
                return rule, values
        return None

    def _speaks(self, rule: _Rule, scene: Scene, model: str) -> bool:
        chosen = self._choose(scene, model)
        return chosen is not None and chosen[0] is rule

    def _rendered(self, line: _Line, values: Mapping[str, str]) -> Reply:
        failure = line.error
        if failure is not None:
            failure = msgspec.structs.replace(failure, message=_filled(failure.message, values))
        return Reply(
            text=_filled(line.text or "", values),
            reasoning=_filled(line.reasoning or "", values),
            calls=tuple(Call(call.name, _arguments(call.arguments, values)) for call in line.calls or ()),
            failure=failure,
            delay=self.delay if line.delay is None else line.delay,
            pace=self.pace if line.pace is None else line.pace,
            chunk=line.chunk or self.chunk,
            usage=line.usage,
            finish=line.finish,
        )


def _fault_of(rule: _Rule) -> tuple[str, str] | None:
    """Return the key and the fault of a rule that has the right types and still makes no sense."""
    fields = set(_KNOWN_FIELDS)
    if rule.user_regex is not None:
        try:
            pattern = re.compile(rule.user_regex)
        except re.error as error:
            return "user_regex", f"this is no regular expression: {error}"
        fields |= {str(number) for number in range(1, pattern.groups + 1)} | set(pattern.groupindex)
    if rule.sequence is not None and (rule.says_something() or not rule.sequence):
        return "sequence", "it has to have items, and the rule itself must not answer too"
    for number, line in enumerate(rule.sequence or [rule]):
        key = f"sequence[{number}]" if rule.sequence else ""
        if not line.says_something():
            return key, "it says nothing: give it text, reasoning, calls, error or sequence"
        if line.error is not None and line.error.times is not None and not line.answers():
            return key, "an error with times needs an answer for the time after: text, reasoning or calls"
        for template in line.templates():
            for _, field in _FIELD.findall(template):
                if field and field not in fields:
                    return key, f"{{{field}}} is not known; write {{{{{field}}}}} to mean it literally"
    return None


def _misread(name: str, text: str, why: str) -> SettingsError:
    found = _PLACE.fullmatch(why)
    if found is None:
        return SettingsError(f"{name}: {why}")
    key = found["key"].strip(".")
    if found["rule"] is not None:
        return _fault(name, text, int(found["rule"]), key, found["what"])
    return SettingsError(f"{name}: {key + ': ' if key else ''}{found['what']}")


def _fault(name: str, text: str, rule: int, key: str, what: str) -> SettingsError:
    headers = [number for number, line in enumerate(text.splitlines(), 1) if _RULE_HEADER.match(line)]
    line = f" (line {headers[rule]})" if rule < len(headers) else ""
    return SettingsError(f"{name}: rule {rule + 1}{line}: {key + ': ' if key else ''}{what}")


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: f"{{{found[1]}}}" if found[1] else values[found[2]], template)


def _arguments(template: dict[str, Any] | str, values: Mapping[str, str]) -> str:
    # A text is sent as it is, also when it is no JSON: a model may do that, and an application has to bear it.
    return _filled(template, values) if isinstance(template, str) else encode(_filled_in(template, values)).decode()


def _filled_in(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _filled(value, values)
    if isinstance(value, dict):
        return {key: _filled_in(item, values) for key, item in value.items()}
    return [_filled_in(item, values) for item in value] if isinstance(value, list) else value


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(item)
