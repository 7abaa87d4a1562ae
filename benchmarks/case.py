"""One thing to time: what is called with what, and how its result is checked first. For the CPU and the GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Op = Callable[..., Any]

FORWARD = "forward"
BOTH = "forward and backward"

# relative error of a whole result, in the norm, by the dtype of the products: float32 sums in another order; operands
# of 11 or 8 bits
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "float16": 4e-3, "bfloat16": 2e-2}
PEER_TOLERANCES = {"float64": 1e-8, "float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}  # peers round more often


@dataclass(frozen=True)
class Peer:
    """Another way to the same result.

    run: called with the case's inputs, or with what `prepare` makes of them (not timed).
    agrees: (its result, the expected one) -> bool, where the two have not the same form; None: close in the norm.
    compile: timed as torch.compile makes it.
    another: it computes something else of the same use; a target may name it, but it is never the best peer.
    """

    run: Op
    prepare: Op | None = None
    agrees: Callable[[Any, Any], bool] | None = None
    compile: bool = False
    another: bool = False


@dataclass(frozen=True)
class Target:
    """What the case must reach.

    ratio: times as fast as `over`, "best peer" or a peer's name; with over="floor" at most so many times the floor.
    """

    ratio: float
    over: str = "best peer"


@dataclass(frozen=True)
class Case:
    """`ours` and the peers are called with the inputs; `expected`, called with the same, gives what ours must.

    op, name, dtype, direction: the case's identity; dtype is that of the products, else of the inputs.
    inputs: makes the tensors; called when the case's turn has come.
    peers: by name; None stands for one that is not installed.
    direction: FORWARD, or BOTH: ours, peers and expected are differentiated too, by the inputs at the positions
        `gradients` (None: all that float). Ours must return one tensor then.
    exact: results are the expected bits, else close in the norm (`tolerance`, by default the dtype's).
    compare: another check, raises AssertionError(got, expected).
    bytes, flops: the least that must be moved and computed; flops may be a function of the inputs.
    products: (m, n, k) of the matrix products that the case cannot do without.
    short: belongs to the five-minute selection. threads: numbers of threads it is timed with.
    own_backward: with BOTH: ours, peers and expected run the backward themselves, as a training step does.
    skip: why this machine cannot time the case; "" where it can.
    """

    op: str
    name: str
    ours: Op
    inputs: Callable[[], Sequence[Any]]
    expected: Op
    peers: Mapping[str, Peer | None] = field(default_factory=dict)
    dtype: str = "float32"
    direction: str = FORWARD
    gradients: tuple[int, ...] | None = None
    exact: bool = False
    tolerance: float | None = None
    compare: Callable[[Any, Any], None] | None = None
    bytes: float = 0
    flops: float | Callable[..., float] = 0
    products: tuple[tuple[int, int, int], ...] = ()
    targets: tuple[Target, ...] = ()
    short: bool = False
    threads: tuple[int, ...] = (1, 2)
    own_backward: bool = False
    skip: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.op, self.name, self.dtype, self.direction

    def work(self, inputs: Sequence[Any]) -> float:
        return self.flops(*inputs) if callable(self.flops) else self.flops

    def title(self) -> str:
        return f"{self.op}, {self.name}, {self.dtype}, {self.direction}"

    def build(self) -> list[Any]:
        """The inputs, with gradients switched on where they are wanted."""
        made = list(self.inputs())
        if not self._differentiated():
            return made
        wanted = range(len(made)) if self.gradients is None else self.gradients
        for i in wanted:
            if isinstance(made[i], Tensor) and made[i].is_floating_point():
                made[i] = made[i].detach().requires_grad_()
        return made

    def call(self, op: Op, inputs: Sequence[Any]) -> Any:
        """`op` in the case's direction."""
        return with_gradients(op)(*inputs) if self._differentiated() else op(*inputs)

    def _differentiated(self) -> bool:
        return self.direction == BOTH and not self.own_backward

    def check(self, inputs: Sequence[Any], expected: Any) -> None:
        """AssertionError unless ours gives what is expected."""
        got = self.call(self.ours, inputs)
        if self.compare is not None:
            self.compare(got, expected)
        else:
            check_close(got, expected, 0.0 if self.exact else self.tolerance or TOLERANCES[self.dtype])

    def peer_agrees(self, peer: Peer, got: Any, expected: Any) -> bool:
        if peer.agrees is not None:
            return peer.agrees(got, expected)
        try:
            check_close(got, expected, PEER_TOLERANCES[self.dtype])
        except AssertionError:
            return False
        return True


SomeCase = TypeVar("SomeCase", bound=Case)


def both_ways(case: SomeCase, **changes: Any) -> list[SomeCase]:
    """The case, and the same forward and backward: three times the work of a forward, and at least twice its traffic.

    changes: what else is different of the second; it has no target of the first.
    """
    products = tuple(p for m, n, k in case.products for p in ((m, n, k), (m, k, n), (k, n, m)))
    changes = {"products": products, "bytes": 2 * case.bytes, "targets": (), **changes}
    if not callable(case.flops):
        changes = {"flops": 3 * case.flops, **changes}
    return [case, replace(case, direction=BOTH, **changes)]


def with_gradients(op: Op) -> Op:
    """The op's result and the gradients of all its inputs that require one."""

    def forward_and_backward(*inputs: Any) -> tuple[Tensor, ...]:
        out = op(*inputs)
        leaves = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
        return (out.detach(), *torch.autograd.grad(out, leaves, out.detach()))

    return forward_and_backward


def check_close(got: Any, expected: Any, tolerance: float) -> None:
    """Of tensors or tuples of them; tolerance 0 wants the same bits, else it bounds the relative error in the norm."""
    pair = (x if isinstance(x, (tuple, list)) else (x,) for x in (got, expected))
    for a, b in zip(*pair, strict=True):
        assert a.shape == b.shape, f"expected the shape {tuple(b.shape)}, got {tuple(a.shape)}"
        if tolerance == 0 or not a.is_floating_point():
            torch.testing.assert_close(a.cpu(), b.cpu(), rtol=0, atol=0, equal_nan=True)
            continue
        reference = b.detach().double().cpu()
        error = float((a.detach().double().cpu() - reference).norm() / reference.norm().clamp(min=1e-30))
        if not error <= tolerance:
            raise AssertionError(f"relative error {error:.2e}, allowed {tolerance:.0e}")


def precise(op: Op) -> Op:
    """The op computed in float64."""
    return lambda *inputs: op(*(t.double() if isinstance(t, Tensor) and t.is_floating_point() else t for t in inputs))


def on_cpu(op: Op) -> Op:
    """The op computed on the CPU."""
    return lambda *inputs: op(*(t.cpu() if isinstance(t, Tensor) else t for t in inputs))


def size_of(*tensors: Tensor) -> int:
    """Bytes."""
    return sum(t.numel() * t.element_size() for t in tensors)
