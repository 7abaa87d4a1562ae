"""Whether a file of `torch.save` is as it was written: torch.load itself compares no checksums."""

from __future__ import annotations

import errno
import struct
import zipfile
from pathlib import Path

MAGIC = b"PK\x03\x04"  # by which torch.load tells archives from the files that torch.save wrote until 2020

_DAMAGED = (zipfile.BadZipFile, EOFError, ValueError, OverflowError, struct.error, NotImplementedError)
"""What zipfile raises over bytes that are no archive."""


def check_intact(file: Path, what: str) -> None:
    """ValueError, beginning with `what` and the file, for an archive that is cut off or has a wrong checksum.

    The same for one that holds more than its own size, which `torch.save` never writes. Files that are no archives
    pass: they have no checksums.
    """
    with open(file, "rb") as content:
        if content.read(len(MAGIC)) != MAGIC:
            return
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            packed = any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries)
            unlike = packed or sum(entry.file_size for entry in entries) > file.stat().st_size
            wrong = None if unlike else archive.testzip()
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the file's beginning
            raise
        raise ValueError(f"{what}: {file} is cut off or damaged: {error}") from None
    if unlike:
        raise ValueError(f"{what}: {file} is not as torch.save writes files: expected entries as they are, got packed")
    if wrong is not None:
        raise ValueError(f"{what}: {file} is cut off or damaged: the checksum of {wrong} in it is wrong")
