"""What a call of each op costs on a tiny input, beside a bare call through torch's dispatcher.

The bare op is registered by torch.library, takes and returns as many tensors as ours, and does nothing but make its
results. Ours must not take more than twice its time. Both are timed under `torch.inference_mode`, as every forward
case: there autograd costs nothing, whose kernels, in Python, add 3 to 10 microseconds to a call elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ..case import Case, Peer, Target

BARE = "bare call"
LEAST_RATIO = 0.5  # of the bare call's time to ours

_library = torch.library.Library("refinedet_benchmarks", "DEF")


@cache
def bare_op(taken: int, returned: int) -> Callable[..., Any]:
    name = f"bare_{taken}_{returned}"
    results = ", ".join(["Tensor"] * returned)
    _library.define(f"{name}({', '.join(f'Tensor a{i}' for i in range(taken))}) -> ({results})")
    if returned == 1:
        _library.impl(name, lambda *_: torch.empty(1), "CPU")
    else:
        _library.impl(name, lambda *_: tuple(torch.empty(1) for _ in range(returned)), "CPU")
    return getattr(torch.ops.refinedet_benchmarks, name).default


def boxes(count: int) -> Tensor:
    corners = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    return torch.cat([corners, corners + 0.5], dim=1)


def tiny_detector() -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = [(1, 4, 2), (1, 4, 4), (1, 4, 3), (1, 4, 4)]
    return [*(torch.randn(shape, generator=rng) for shape in shapes), boxes(4)]


def tiny_map(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


# op: tiny inputs, other arguments, how many tensors it returns
CALLS: dict[str, tuple[Callable[[], list[Tensor]], dict[str, Any], int]] = {
    "match_anchors": (
        lambda: [boxes(4), boxes(2), torch.tensor([1, 2]), torch.tensor([0, 2])],
        {},
        3,
    ),
    "filter_anchors": (lambda: [tiny_map(1, 4, 2)], {}, 2),
    "filter_anchors_mask": (lambda: [tiny_map(1, 4, 2)], {}, 1),
    "decode_boxes": (lambda: [tiny_map(4, 4), boxes(4)], {}, 1),
    "encode_boxes": (lambda: [boxes(4) + 0.1, boxes(4)], {}, 1),
    "decode_cascade": (lambda: [tiny_map(1, 4, 4), tiny_map(1, 4, 4), boxes(4)], {}, 1),
    "mine_hard_negatives": (lambda: [tiny_map(1, 4).abs(), torch.tensor([[1, 0, 0, 0]])], {}, 1),
    "mined_cross_entropy": (lambda: [tiny_map(1, 4, 3), torch.tensor([[1, 0, 0, 0]])], {}, 4),
    "smooth_l1_box_loss": (
        lambda: [tiny_map(1, 4, 4), boxes(4), boxes(1), torch.tensor([[0, -1, -1, -1]])],
        {},
        1,
    ),
    "deconv_sum": (lambda: [tiny_map(1, 1, 1, 1), tiny_map(1, 1, 2, 2), tiny_map(1), tiny_map(1, 1, 2, 2)], {}, 1),
    "deform_align": (lambda: [tiny_map(1, 1, 1, 1), tiny_map(1, 2, 1, 1), tiny_map(1, 1, 1, 1)], {}, 1),
    "nms": (lambda: [boxes(4), torch.rand(4)], {"iou_threshold": 0.5}, 1),
    "batched_nms": (lambda: [boxes(4), torch.rand(4), torch.tensor([0, 0, 1, 1])], {"iou_threshold": 0.5}, 1),
    "batched_nms_padded": (lambda: [boxes(4), torch.rand(4), torch.tensor([0, 0, 1, 1])], {"iou_threshold": 0.5}, 2),
    "multiclass_nms": (lambda: [boxes(4)[None], tiny_map(1, 4, 2).sigmoid()], {"keep_top_k": 4}, 4),
    "detect": (tiny_detector, {"keep_top_k": 4}, 4),
}


def cases() -> Iterator[Case]:
    for op, (make, settings, returned) in CALLS.items():
        taken = len(make())
        yield Case(
            "call overhead",
            f"{op}, {taken} tensors to {returned}",
            _with(getattr(rx, op), settings),
            make,
            _with(getattr(rx.reference, op), settings),
            {BARE: Peer(bare_op(taken, returned), agrees=lambda got, expected: True)},
            targets=(Target(LEAST_RATIO, BARE),),
            short=True,
            threads=(1,),
        )


def _with(op: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    return lambda *given: op(*given, **settings)


def test_call_overhead(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
