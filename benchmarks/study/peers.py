"""Study 2: other people's detectors on the same photographs, in the same training time, on one core each.

    python -m benchmarks.study peers --data path/to/bccd --torchvision-python PYTHON --ultralytics-python PYTHON

Everybody trains on BCCD's 205 training photographs for so many minutes of a core, by its own recipe, on one thread and
without loader processes. The weights at the end, and those on the way, are measured on the 72 photographs of the test
part by this package's evaluator. After that every network is timed, one at a time, which wants a machine that does
nothing else. What is done is not done again; a training that was cut begins anew.

The first Python has torch, torchvision, onnx, onnxruntime and openvino, the second ultralytics and onnxslim besides.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .command import RESULTS, study_parser
from .peer_results import PeerResults
from .peer_runs import Failed, Peers, Plan
from .peer_training.contestants import CONTESTANTS
from .peers_page import best_time
from .runs import ROOT


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = study_parser("peers", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="BCCD, in VOC layout")
    parser.add_argument("--minutes", type=float, default=5.0, help="of a core, for every training (5)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[c.name for c in CONTESTANTS], help="contestants")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, on a core each (2)")
    parser.add_argument("--no-times", action="store_true", help="train, and time no network")
    parser.add_argument("--torchvision-python", metavar="PYTHON", help="skipped without one")
    parser.add_argument("--ultralytics-python", metavar="PYTHON", help="skipped without one")
    parser.add_argument("--list", action="store_true", help="name the trainings, and which are done, and end")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/study/peers", help="of what is under way")
    parser.add_argument(
        "--results", type=Path, default=RESULTS / "peers.json", help="the file to add to (in docs/studies)"
    )
    options = parser.parse_args(arguments)
    for name in ("minutes", "jobs"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name}: expected a positive number, got {getattr(options, name)}")
    return options


def main(arguments: list[str]) -> int:
    """0 where all that could be done is, 1 where a contestant failed, 130 where it was cut."""
    options = parse(arguments)
    pythons = {"ours": sys.executable, "vision": options.torchvision_python, "yolo": options.ultralytics_python}
    peers = Peers(options.data, options.folder, {name: python for name, python in pythons.items() if python})
    plans = [
        Plan(contestant, seed, options.minutes)
        for seed in options.seeds
        for contestant in CONTESTANTS
        if options.only is None or contestant.name in options.only
    ]
    if options.list:
        for plan in plans:
            print(plan.place, "" if peers.known(plan) is None else "(done)")
        return 0
    results = PeerResults(options.results)
    failed: list[Plan] = []

    def train(plan: Plan) -> None:
        begun, result = time.monotonic(), peers.known(plan)
        if result is None and plan.contestant.module in peers.pythons:
            try:
                result = peers.train(plan)
                say(plan, begun, f"AP {100 * result['points'][-1]['metrics']['AP']:.1f}")
            except Failed as error:
                failed.append(plan)
                say(plan, begun, f"FAILED: {error}")
        if result is not None:
            results.add_run(plan.contestant, plan.seed, plan.minutes, result)

    def measure(plan: Plan) -> None:
        begun, times = time.monotonic(), peers.known_speed(plan)
        if times is None and peers.known(plan) is not None and plan.contestant.module in peers.pythons:
            try:
                times = peers.time(plan)
                say(plan, begun, "{1:.1f} ms an image with {0}".format(*best_time(times["times"])))
            except Failed as error:
                failed.append(plan)
                say(plan, begun, f"FAILED: {error}")
        if times is not None:
            results.add_times(plan.contestant, times)

    for name in sorted({plan.contestant.module for plan in plans} - set(peers.pythons)):
        option = {"vision": "--torchvision-python", "yolo": "--ultralytics-python"}[name]
        print(f"peers: without {option}, what it trains is skipped; earlier rows stay", flush=True)
    try:
        peers.processes.in_parallel(plans, options.jobs, train)
        if not options.no_times:
            peers.processes.in_parallel([plan for plan in plans if plan.seed == options.seeds[0]], 1, measure)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", flush=True)
        return 130
    done = sum(peers.known(plan) is not None for plan in plans)
    print(f"{done} of {len(plans)} trainings done, {len(failed)} failures: {options.results}")
    return 1 if failed else 0


def say(plan: Plan, begun: float, outcome: str) -> None:
    print(f"{time.monotonic() - begun:6.0f} s  {plan.place}  {outcome}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
