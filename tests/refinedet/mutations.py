"""Edits of a file's bytes, for tests that any reader ends in a result or in a named error."""

from __future__ import annotations

from hypothesis import strategies as st

Edits = list[tuple[float, int, bytes]]

PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"nan", b"-1e400", b"9" * 400, b"1e30", b"null", b"true", b"-1", b'"', b"[]", b"{}", b"\0", b": "]
    ),
    st.sampled_from(
        [b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud800", b"[" * 3000, b"9" * 5000, b"*a", b"&a ", b"<<: ", b"I32"]
    ),
)

EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), PIECES), min_size=1, max_size=3)
"""Place, from the beginning (0) to the end (1) of what is edited; bytes that go; bytes that come."""


def edited(data: bytes, edits: Edits) -> bytes:
    for place, cut, piece in edits:
        start = round(place * len(data))
        data = data[:start] + piece + data[start + cut :]
    return data
