"""What the table says of a row."""

from __future__ import annotations

from benchmarks.case import Target
from benchmarks.table import absent, cells, gains, number, table, verdict

from .cases import TARGETS, row


def test_cells():
    assert cells(row(2.0, peer=8.0, targets=TARGETS)) == [
        *("twice", "N=8", "float32", "forward", "1"),
        *("2", "8 product", "4", "4", "2%"),
        "3x: reached; within 1.5x of the floor: NOT REACHED",
    ]


def test_a_failure_takes_the_place_of_the_time():
    assert cells(row(ours=None, error="AssertionError: no"))[5:] == ["FAILED: AssertionError: no", "", "", "", "", ""]


def test_what_was_not_run_says_why():
    skipped = row(ours=None, skipped="no such instruction")
    assert cells(skipped)[5:] == ["not run: no such instruction", "", "", "", "", ""]
    assert gains([skipped, row(2.0, threads=2)]) == []


def test_verdicts():
    assert verdict(row(1.0, peer=2.9), Target(3.0)) == "3x: NOT REACHED"
    assert verdict(row(1.0, peer=3.0), Target(3.0)) == "3x: reached"
    assert verdict(row(1.0, peer=None), Target(3.0)) == "3x: not measured"
    assert verdict(row(1.0, peer=3.0), Target(2.0, "product")) == "2x product: reached"
    assert verdict(row(1.0, peer=3.0), Target(2.0, "other")) == "2x other: not measured"
    assert verdict(row(0.75), Target(1.5, "floor")) == "within 1.5x of the floor: reached"
    assert verdict(row(0.76), Target(1.5, "floor")) == "within 1.5x of the floor: NOT REACHED"
    assert verdict(row(1.0, floor=None), Target(1.5, "floor")) == "within 1.5x of the floor: not measured"


def test_a_target_reached_without_a_peer_says_so():
    peers = {**row().peers, "mmcv": "missing"}
    assert verdict(row(peers=peers), Target(3.0)) == "3x: reached, without mmcv"


def test_every_line_is_as_wide():
    lines = table([row(), row(case="a longer name of a case", targets=TARGETS)])
    assert len(lines) == 4 and len(set(map(len, lines))) == 1


def test_absent_peers():
    assert absent([row(peer=None), row(peer=None, op="other"), row()]) == ["- product missing: twice, other"]


def test_gains_of_two_threads():
    short = [row(0.9, case="short"), row(0.8, case="short", threads=2)]
    lines = gains([row(2.0), row(1.0, threads=2), *short, row(2.0, case="x"), row(1.5, case="x", threads=2)])
    assert len(lines) == 4
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["reached", "NOT REACHED"]
    assert gains([row(2.0)]) == []


def test_numbers():
    assert [number(x) for x in (1234.5, 12.345, 0.012345, 0.00012345, None)] == [
        "1234",
        "12.3",
        "0.0123",
        "0.00012",
        "",
    ]
