"""Times every op on the GPU beside its peers and floors: a table, and JSON.

python -m benchmarks.gpu [--out FOLDER] [--only TEXT ...] [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

import refinedet_ext as rx

from ..case import FORWARD, Peer
from ..peers import version_of
from .box_cases import coding_cases, detect_cases, loss_cases, matching_cases, mining_cases, nms_cases
from .case import GpuCase
from .feature_cases import deconv_cases, deform_cases
from .network import network_rows
from .timing import Ceilings, Timer, measure_ceilings

ROWS = "rows.jsonl"
MAKERS = (nms_cases, detect_cases, matching_cases, mining_cases, loss_cases, coding_cases, deconv_cases, deform_cases)


def all_cases(device: str, *, small: bool = False) -> Iterator[GpuCase]:
    for make in MAKERS:
        yield from make(device, small)


def floor_of(case: GpuCase, ceilings: Ceilings) -> float:
    """Microseconds that no kernel for this case can beat on this GPU: its bytes, its products, or an empty launch."""
    moved = case.bytes / ceilings.copy * 1e6
    computed = case.work([]) / ceilings.products[case.dtype] * 1e6
    return max(moved, computed, ceilings.launch)


def measure(case: GpuCase, timer: Timer, ceilings: Ceilings) -> dict[str, Any]:
    """One row of the table. Ours and the peers are timed in turn; graphs are compared with graphs where a peer can be
    captured, and else the peer's call with our call. What fails costs its own cell: a peer that cannot run stands there
    with its error, and where the expected result cannot be computed ours is timed all the same, unchecked."""
    inputs = case.build()
    unchecked = ""
    try:
        expected = case.call(case.expected, inputs)
    except Exception as error:  # a reference that does not run here says nothing against the op
        unchecked = in_a_line(error)
    else:
        case.check(inputs, expected)
    ours = {"call": timer.call(lambda: case.call(case.ours, inputs))}
    if case.capturable:
        ours["graph"] = timer.graph(lambda: case.call(case.ours, inputs))
    peers = {name: None if peer is None else _time_peer(case, peer, inputs, timer) for name, peer in case.peers.items()}
    timed = [times for times in peers.values() if times is not None and "call" in times]
    best = min((times["call"]["median"] for times in timed), default=None)
    best_graph = min((times["graph"]["median"] for times in timed if "graph" in times), default=None)
    floor = floor_of(case, ceilings)
    fastest = ours.get("graph", ours["call"])
    return {
        "op": case.op if case.direction == FORWARD else f"{case.op}, {case.direction}",
        "case": case.name,
        "ours": {k: asdict(v) for k, v in ours.items()},
        "unchecked": unchecked,
        "peers": peers,
        "ratio_call": best and best / ours["call"].median,
        "ratio_graph": best_graph and best_graph / fastest.median,
        "floor_us": floor,
        "over_floor": fastest.median / floor,
    }


def _time_peer(case: GpuCase, peer: Peer, inputs: list[Any], timer: Timer) -> dict[str, Any]:
    """Times by kind, and "error" where the peer did not come as far as that."""
    found: dict[str, Any] = {}
    try:
        own = inputs if peer.prepare is None else list(peer.prepare(*inputs))
        run = partial(case.call, peer.run, own)
        found["call"] = asdict(timer.call(run))
        if case.peers_capturable and case.capturable:
            found["graph"] = asdict(timer.graph(run))
    except Exception as error:  # the others are still worth measuring
        found["error"] = in_a_line(error)
    return found


def in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def header(ceilings: Ceilings) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "torchvision": version_of("torchvision"),
        "python": platform.python_version(),
        "build": rx.build_info(),
        "copy_bytes_per_second": ceilings.copy,
        "products_per_second": ceilings.products,
        "launch_us": ceilings.launch,
    }


def table(head: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    def show(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}"

    lines = [
        f"{head['gpu']}, torch {head['torch']}, torchvision {head['torchvision']}, {head['date']}. Copy "
        f"{head['copy_bytes_per_second'] / 1e12:.2f} TB/s; products "
        + ", ".join(f"{k} {v / 1e12:.0f} TFLOP/s" for k, v in head["products_per_second"].items())
        + f"; empty launch in a graph {head['launch_us']:.1f} us.",
        "",
        "Microseconds, median with a cold L2. `graph`: replayed from a CUDA graph; `call`: as a program calls it.",
        "",
        "| op | case | ours, call | ours, graph | peers (call / graph) | ratio, call | ratio, graph | over the floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['op']} | {row['case']} | FAILED: {row['error']} | | | | | |")
            continue
        ours = {k: v["median"] for k, v in row["ours"].items()}
        peers = "; ".join(f"{name} {_peer_text(times, show)}" for name, times in row["peers"].items())
        checked = f", unchecked: {row['unchecked']}" if row.get("unchecked") else ""
        lines.append(
            f"| {row['op']} | {row['case']}{checked} | {show(ours['call'])} | {show(ours.get('graph'))} | {peers} "
            f"| {show(row['ratio_call'])} | {show(row['ratio_graph'])} | {show(row['over_floor'])} |"
        )
    return "\n".join(lines)


def _peer_text(times: dict[str, Any] | None, show: Callable[[float | None], str]) -> str:
    if times is None:
        return "missing"
    shown = [show(times.get(kind, {}).get("median")) for kind in ("call", "graph")]
    return f"{' / '.join(shown)}{' FAILED: ' + times['error'] if 'error' in times else ''}"


class Rows:
    """The rows measured so far, and a file that has each as soon as it is there, a line of JSON each: what ends the
    process costs the row that it is at."""

    def __init__(self, file: Path | None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._file = file

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(row) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md")
    parser.add_argument("--only", nargs="*", default=[], help="cases whose op or name contains one of these")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no further case after this time")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    began = time.monotonic()
    timer = Timer()
    ceilings = measure_ceilings(timer)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    head, failed = header(ceilings), 0
    rows = Rows(None if options.out is None else options.out / ROWS)
    for case in all_cases("cuda"):
        if options.only and not any(text in f"{case.op} {case.name}" for text in options.only):
            continue
        if time.monotonic() - began > options.seconds:
            rows.add({"op": case.op, "case": case.name, "error": "not reached in the time given"})
            continue
        try:
            rows.add(measure(case, timer, ceilings))
        except Exception as error:  # the others are still worth measuring
            failed += 1
            rows.add({"op": case.op, "case": case.name, "error": in_a_line(error)})
    if not options.only and time.monotonic() - began < options.seconds:
        for row in network_rows(timer):
            rows.add(row)
    text = table(head, rows.rows)
    if options.out is not None:
        (options.out / "gpu.json").write_text(json.dumps({"machine": head, "rows": rows.rows}, indent=1))
        (options.out / "gpu.md").write_text(text + "\n")
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
