"""One row of the table: a case checked, timed beside its peers, and held to its targets."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from ..case import Peer, Target
from .case import MEGABYTES, MICROSECONDS, GpuCase, GpuPeer
from .device import Ceilings, Device
from .prepared import Prepared

Row = dict[str, Any]


def verify(case: GpuCase, inputs: list[Any], known: Prepared) -> str:
    """AssertionError where ours is wrong; why that could not be found out, else "".

    A reference that does not run here says nothing against the op."""
    if case.expectation and known.agrees(case, inputs, case.call(case.ours, inputs)):
        return ""
    try:
        expected = case.call(case.expected, inputs)
    except Exception as error:
        return in_a_line(error)
    case.check(inputs, expected)
    return ""


def smoke(case: GpuCase) -> Row:
    """The case once, checked."""
    with case.settings():
        inputs = case.build()
        case.check(inputs, case.call(case.expected, inputs))
    return {}


def measure(case: GpuCase, device: Device, ceilings: Ceilings | None, known: Prepared) -> Row:
    """Ours and the peers timed in turn; graphs are compared with graphs where a peer can be captured, and else the
    peer's call with our call. What fails costs its own cell: a peer that cannot run stands there with its error, and
    where the expected result cannot be computed ours is timed all the same, unchecked."""
    with case.settings():
        inputs = case.build()
        run = partial(case.call, case.ours, inputs)
        row: Row = {"op": case.op, "case": case.name, "direction": case.direction, "dtype": case.dtype}
        row["unchecked"] = verify(case, inputs, known)
        row["megabytes"] = device.peak(run) / 1e6
        row["ours"] = {"call": asdict(device.timer.call(run))}
        if case.capturable:
            row["ours"]["graph"] = asdict(device.timer.graph(run))
        row["peers"] = {
            name: None if peer is None else _time_peer(case, peer, inputs, device) for name, peer in case.peers.items()
        }
    row["ratios"] = {name: ratio(row, name) for name in case.peers}
    row["floor_us"] = None if ceilings is None else floor_of(case, ceilings)
    row["over_floor"] = None if row["floor_us"] is None else fastest(row) / row["floor_us"]
    row["targets"] = [judge(row, target) for target in case.targets]
    return row


def _time_peer(case: GpuCase, peer: Peer, inputs: list[Any], device: Device) -> dict[str, Any]:
    """Times by kind, and "error" where the peer did not come as far as that."""
    found: dict[str, Any] = {}
    try:
        own = inputs if peer.prepare is None else list(peer.prepare(*inputs))
        run = partial(case.call, peer.run, own)
        found["call"] = asdict(device.timer.call(run))
        if case.capturable and not (isinstance(peer, GpuPeer) and not peer.capturable):
            found["graph"] = asdict(device.timer.graph(run))
    except Exception as error:  # the others are still worth measuring
        found["error"] = in_a_line(error)
    return found


def floor_of(case: GpuCase, ceilings: Ceilings) -> float:
    """Microseconds that no kernel for this case can beat on this GPU: its bytes, its products, or an empty launch."""
    moved = case.bytes / ceilings.copy * 1e6
    computed = case.work([]) / ceilings.products[case.products_dtype] * 1e6
    return max(moved, computed, ceilings.launch)


def fastest(row: Row) -> float:
    """Ours in microseconds, from a graph where it can be captured."""
    return row["ours"].get("graph", row["ours"]["call"])["median"]


def ratio(row: Row, peer: str) -> float | None:
    """How many times as fast as the peer, graph against graph or call against call; None without its time."""
    times = row["peers"].get(peer) or {}
    kind = "graph" if "graph" in times and "graph" in row["ours"] else "call"
    return times[kind]["median"] / row["ours"][kind]["median"] if kind in times else None


def judge(row: Row, target: Target) -> dict[str, Any]:
    """The target in words, what was measured, and whether that reaches it; None where it was not measured."""
    limit = target.ratio
    if target.over in (MICROSECONDS, MEGABYTES):
        value = fastest(row) if target.over == MICROSECONDS else row["megabytes"]
        return {"text": f"at most {limit:g} {target.over}", "value": value, "reached": value <= limit}
    if target.over == "floor":
        value, text = row["over_floor"], f"within {limit:g}x of the floor"
        return {"text": text, "value": value, "reached": None if value is None else value <= limit}
    value = ratio(row, target.over)
    if limit < 1:
        # so many times its time: the same as the ratio turned over
        value = None if value is None else 1 / value
        text = f"within {1 / limit:g}x of {target.over}"
        return {"text": text, "value": value, "reached": None if value is None else value <= 1 / limit}
    return {"text": f"{limit:g}x {target.over}", "value": value, "reached": None if value is None else value >= limit}


def in_a_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
