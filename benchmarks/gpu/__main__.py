"""Times every op on the GPU beside its peers and floors: a table, and JSON.

python -m benchmarks.gpu [--out FOLDER] [--only TEXT ...] [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

import refinedet_ext as rx

from ..case import FORWARD
from ..peers import version_of
from .box_cases import coding_cases, detect_cases, loss_cases, matching_cases, mining_cases, nms_cases
from .case import GpuCase
from .feature_cases import deconv_cases, deform_cases
from .network import network_rows
from .timing import Ceilings, Time, Timer, measure_ceilings

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
    captured, and else the peer's call with our call."""
    inputs = case.build()
    case.check(inputs, case.call(case.expected, inputs))
    ours = {"call": timer.call(lambda: case.call(case.ours, inputs))}
    if case.capturable:
        ours["graph"] = timer.graph(lambda: case.call(case.ours, inputs))
    peers: dict[str, dict[str, Time] | None] = {}
    for name, peer in case.peers.items():
        if peer is None:
            peers[name] = None
            continue
        times = {"call": timer.call(partial(case.call, peer.run, inputs))}
        if case.peers_capturable and case.capturable:
            times["graph"] = timer.graph(partial(case.call, peer.run, inputs))
        peers[name] = times
    best = min((t["call"].median for t in peers.values() if t), default=None)
    best_graph = min((t["graph"].median for t in peers.values() if t and "graph" in t), default=None)
    floor = floor_of(case, ceilings)
    fastest = ours.get("graph", ours["call"])
    return {
        "op": case.op if case.direction == FORWARD else f"{case.op}, {case.direction}",
        "case": case.name,
        "ours": {k: asdict(v) for k, v in ours.items()},
        "peers": {n: t and {k: asdict(v) for k, v in t.items()} for n, t in peers.items()},
        "ratio_call": best and best / ours["call"].median,
        "ratio_graph": best_graph and best_graph / fastest.median,
        "floor_us": floor,
        "over_floor": fastest.median / floor,
    }


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
        peers = "; ".join(
            f"{name} missing"
            if times is None
            else f"{name} {show(times['call']['median'])} / {show(times.get('graph', {}).get('median'))}"
            for name, times in row["peers"].items()
        )
        lines.append(
            f"| {row['op']} | {row['case']} | {show(ours['call'])} | {show(ours.get('graph'))} | {peers} "
            f"| {show(row['ratio_call'])} | {show(row['ratio_graph'])} | {show(row['over_floor'])} |"
        )
    return "\n".join(lines)


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
    head, rows, failed = header(ceilings), [], 0
    for case in all_cases("cuda"):
        if options.only and not any(text in f"{case.op} {case.name}" for text in options.only):
            continue
        if time.monotonic() - began > options.seconds:
            rows.append({"op": case.op, "case": case.name, "error": "not reached in the time given"})
            continue
        try:
            rows.append(measure(case, timer, ceilings))
        except Exception as error:  # the others are still worth measuring
            failed += 1
            rows.append({"op": case.op, "case": case.name, "error": " ".join(str(error).split())[:200]})
    if not options.only and time.monotonic() - began < options.seconds:
        rows += network_rows(timer)
    text = table(head, rows)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu.json").write_text(json.dumps({"machine": head, "rows": rows}, indent=1))
        (options.out / "gpu.md").write_text(text + "\n")
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
