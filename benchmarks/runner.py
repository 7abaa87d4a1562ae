"""Checks a case, times ours, the peers and the floor in turn, and says what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from .case import FORWARD, Case, Peer, Target
from .machine import Rates, products_run
from .peers import COMPILE_SECONDS, compiled, limit
from .timing import Time, measure

OURS, FLOOR = "ours", "floor"  # names of contestants that no peer has
MISSING = "missing"


@dataclass(frozen=True)
class Row:
    """One case with one number of threads.

    peers: times, or why there is none ("missing", "not timed: ...", "failed: ...", "differs from the expected result").
    others: those of them that compute something else. floor: milliseconds, None where the case counts nothing.
    error: why the case failed, "" if it did not. skipped: why it was not run at all.
    """

    op: str
    case: str
    dtype: str
    direction: str
    threads: int
    ours: Time | None = None
    peers: dict[str, Time | str] = field(default_factory=dict)
    floor: float | None = None
    targets: tuple[Target, ...] = ()
    error: str = ""
    others: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.op, self.case, self.dtype, self.direction, self.threads

    def times(self) -> dict[str, Time]:
        return {name: time for name, time in self.peers.items() if isinstance(time, Time)}

    @property
    def best_peer(self) -> str | None:
        times = {name: time for name, time in self.times().items() if name not in self.others}
        return min(times, key=lambda name: times[name].median) if times else None

    def ratio(self, peer: str | None = None) -> float | None:
        """How many times as fast as that peer, or as the best one, ours is."""
        time = self.times().get(peer or self.best_peer or "")
        return time.median / self.ours.median if time and self.ours else None

    @property
    def over_floor(self) -> float | None:
        return self.ours.median / self.floor if self.floor and self.ours else None

    def reached(self, target: Target) -> bool | None:
        """None where that peer was not timed."""
        if target.over == FLOOR:
            return None if self.over_floor is None else self.over_floor <= target.ratio
        ratio = self.ratio(None if target.over == "best peer" else target.over)
        return None if ratio is None else ratio >= target.ratio

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Row:
        values = dict(values)
        values["ours"] = values["ours"] and Time(**values["ours"])
        values["peers"] = {n: t if isinstance(t, str) else Time(**t) for n, t in values["peers"].items()}
        values["targets"] = tuple(Target(**t) for t in values["targets"])
        values["others"] = tuple(values.get("others", ()))  # runs of before have none
        return Row(**values)


class Prepared:
    """A case that is built and checked: its contestants are ready to be called, in `mode()`."""

    def __init__(self, case: Case) -> None:
        """AssertionError where ours does not give what the case expects."""
        self.case = case
        self.inputs = case.build()
        with torch.no_grad() if case.direction == FORWARD else contextlib.nullcontext():
            self.expected = case.call(case.expected, self.inputs)
        self.check()

    def check(self) -> None:
        with self.mode():
            self.case.check(self.inputs, self.expected)

    def mode(self) -> Any:
        """What calls run in: nobody records for a backward in a forward."""
        return torch.inference_mode() if self.case.direction == FORWARD else contextlib.nullcontext()

    def ours(self) -> Callable[[], Any]:
        return lambda: self.case.call(self.case.ours, self.inputs)

    def peer(self, name: str, *, compile: bool = True) -> Callable[[], Any] | str:
        """A call of the peer, ready and checked, or why there is none."""
        peer = self.case.peers[name]
        if peer is None:
            return MISSING
        if peer.compile and not compile:
            return "not timed: left out"
        run = compiled(peer.run) if peer.compile else peer.run
        try:
            inputs = self._prepared(peer)
            with self.mode(), limit(COMPILE_SECONDS) if peer.compile else contextlib.nullcontext():
                if run is self.case.expected:
                    return lambda: self.case.call(run, inputs)
                if not self.case.peer_agrees(peer, self.case.call(run, inputs), self.expected):
                    return "differs from the expected result"
        except Exception as error:
            # a peer's fault, whatever it is, stops no benchmark of ours; the compiler wraps its own limit
            if "Limit: " in f"{type(error).__name__}: {error}":
                return f"not timed: not compiled within {COMPILE_SECONDS} s"
            return f"failed: {type(error).__name__}: {' '.join(str(error).split())[:160]}"
        return lambda: self.case.call(run, inputs)

    def _prepared(self, peer: Peer) -> Sequence[Any]:
        if peer.prepare is None:
            return self.inputs
        made = peer.prepare(*self.inputs)
        return [t.detach().requires_grad_() if isinstance(t, Tensor) and t.requires_grad else t for t in made]


@contextlib.contextmanager
def with_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_case(
    case: Case, rates: dict[int, Rates], *, seconds: float = 0.5, compile: bool = True, least: int = 3
) -> Iterator[Row]:
    """Rows of the case, one for each number of threads that it wants and `rates` has.

    A case that gives a wrong result yields one row with the error, one that this machine cannot time one with the
    reason; neither has a time.
    """
    head: dict[str, Any] = {"op": case.op, "case": case.name, "dtype": case.dtype, "direction": case.direction}
    threads = [count for count in case.threads if count in rates]
    if not threads:
        return
    if case.skip:
        yield Row(**head, threads=threads[0], skipped=case.skip)
        return
    try:
        with with_threads(threads[0]):
            prepared = Prepared(case)
    except Exception as error:
        yield Row(**head, threads=threads[0], error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return
    for count in threads:
        with with_threads(count):
            if count != threads[0]:
                prepared.check()
            contestants: dict[str, Callable[[], Any]] = {OURS: prepared.ours()}
            peers: dict[str, Time | str] = {}
            for name in case.peers:
                ready = prepared.peer(name, compile=compile)
                if isinstance(ready, str):
                    peers[name] = ready
                else:
                    contestants[name] = ready
            if case.products:
                contestants[FLOOR] = products_run(case.products, case.dtype)
            with prepared.mode():
                times = measure(contestants, seconds=seconds, least=least)
        if case.products:
            floor = times.pop(FLOOR).median
        else:
            floor = rates[count].floor(case.work(prepared.inputs), case.bytes, case.dtype)
        ours = times.pop(OURS)
        peers = {name: times.get(name, peers.get(name, MISSING)) for name in case.peers}
        targets = case.targets if count == 1 else ()  # the targets speak of one thread
        others = tuple(name for name, peer in case.peers.items() if peer is not None and peer.another)
        yield Row(**head, threads=count, ours=ours, peers=peers, floor=floor or None, targets=targets, others=others)
