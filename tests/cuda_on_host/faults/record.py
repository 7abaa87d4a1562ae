"""What is known of earlier runs."""

from __future__ import annotations

from pathlib import Path
from threading import Lock


class Record:
    """Outcomes by key, in a file with a line for each; "" as an outcome is that nothing was noticed.

    A key names all that an outcome depends on, so what is known need not be run again, in an interrupted run or after
    a change elsewhere.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = Lock()
        self.known: dict[str, str] = {}
        if file.exists():
            lines = file.read_text(encoding="utf-8").splitlines()
            self.known = {key: noticed for key, _, noticed in (line.partition(" ") for line in lines)}

    def get(self, key: str) -> str | None:
        return self.known.get(key)

    def add(self, key: str, noticed: str) -> None:
        with self.lock:
            self.known[key] = noticed
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(f"{key} {noticed}\n")
