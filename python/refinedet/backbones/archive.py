"""Whether a file of `torch.save` is as it was written: torch.load itself compares no checksums."""

from __future__ import annotations

import errno
import struct
import zipfile
from pathlib import Path

_DAMAGED = (zipfile.BadZipFile, EOFError, ValueError, OverflowError, struct.error, NotImplementedError)
"""What zipfile raises over bytes that are no archive."""


def check_intact(file: Path, what: str) -> None:
    """ValueError, beginning with `what` and the file, for an archive with a wrong checksum.

    The same for one that holds more than its own size, which `torch.save` never writes. Files that are no archives, as
    torch.save wrote them until 2020, pass: they have no checksums.
    """
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            packed = any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries)
            if packed or sum(entry.file_size for entry in entries) > file.stat().st_size:
                raise ValueError(f"{what}: {file} is not as torch.save writes files: expected plain entries, no others")
            wrong = archive.testzip()
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the file's beginning
            raise
        text = str(error)
        raise ValueError(text if str(file) in text else f"{what}: {file} is damaged: {text}") from None
    if wrong is not None:
        raise ValueError(f"{what}: {file} is damaged: the checksum of {wrong} in it is wrong")
