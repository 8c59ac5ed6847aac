"""What a person typed becomes what a conversation is given: text, and the images that it names with ``@``."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from causerie.errors import AttachmentError
from causerie.types.content import ImageURLChunk, InputChunk, TextChunk
from causerie.types.entries import MessageInputEntry

LARGEST = 20 * 1024 * 1024

_NAMED = re.compile(r'(?<!\S)@(?:"(?P<quoted>[^"\n]+)"|(?P<plain>(?:\\.|[^\s\\])+))')
_ESCAPED = re.compile(r"\\(.)")
_ENDING = ".,;:!?)"
_KINDS = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
)


def inputs_of(text: str) -> str | list[MessageInputEntry]:
    """Return the inputs that `text` stands for; ``@@`` at the start of a word is a literal ``@``.

    Raises:
        AttachmentError: a file that it names is not there, is no image, or is too large.
    """
    chunks: list[InputChunk] = []
    said, end = "", 0
    for found in _NAMED.finditer(text):
        plain = found["plain"] or ""
        said += text[end : found.start()]
        if plain.startswith("@"):
            said, end = said + plain, found.end()
            continue
        file, after = _file(found["quoted"], plain)
        chunks += [*_text(said), ImageURLChunk(image_url=_data_url(file))]
        said, end = after, found.end()
    said += text[end:]
    return [MessageInputEntry(role="user", content=[*chunks, *_text(said)])] if chunks else said


def _text(said: str) -> list[TextChunk]:
    return [TextChunk(text=said.strip())] if said.strip() else []


def _file(quoted: str | None, plain: str) -> tuple[Path, str]:
    """Return the file, and what of the word is the sentence's: its full stop, unless there is a file with that name."""
    if quoted is not None:
        return _at_home(quoted), ""
    name = _ESCAPED.sub(r"\1", plain)
    shorter = name.rstrip(_ENDING)
    if shorter and not _exists(_at_home(name)):
        return _at_home(shorter), name[len(shorter) :]
    return _at_home(name), ""


def _at_home(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # nobody of that name lives here
        return Path(name)


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except ValueError:  # no name that a file could have
        return False


def _data_url(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise AttachmentError(f"@{file} is {size / 1e6:.1f} MB; an image may have {LARGEST / 1e6:.0f} MB.")
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise AttachmentError(
            f"@{file} cannot be attached ({reason}). Write @@ where the word itself is meant."
        ) from error
    for kind, beginning in _KINDS:
        if beginning.match(data):
            return f"data:{kind};base64,{base64.b64encode(data).decode()}"
    raise AttachmentError(f"@{file} is no image that can be attached: it is not PNG, JPEG, GIF or WebP.")
