"""Text files as people have them: UTF-8 with or without a mark, UTF-16 as some editors write it."""

from __future__ import annotations

import codecs
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: str | Path) -> str:
    """The text of a file, without a byte order mark. Raises FileNotFoundError; ValueError naming the file."""
    data = Path(path).read_bytes()
    try:
        return data.decode(_encoding(data)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8 or UTF-16: {error}") from error


def _encoding(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    # Without a mark, UTF-16 shows in the first character, which is nearly always an ASCII one.
    if data[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if data[:1] == b"\0" else "utf-8"
