"""A typical small call of every op, in its variants: what the tests of transforms run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx


@dataclass(frozen=True)
class Call:
    """`run(*tensors)` gives a tensor or a tuple of some; its gradients are for the tensors at `differentiable`."""

    run: Callable[..., Any]
    tensors: tuple[Tensor, ...]
    differentiable: tuple[int, ...] = ()
    floating: bool = True  # whether a result is
    fixed_size: bool = True  # whether the results' shapes do not depend on the data

    def outputs(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        result = self.run(*(tensors or self.tensors))
        return (result,) if isinstance(result, Tensor) else tuple(result)

    def loss(self, *tensors: Tensor) -> Tensor:
        """A number with a different gradient for every element."""
        out = next(part for part in self.outputs(*tensors) if part.is_floating_point())
        return (out * torch.arange(1.0, out.numel() + 1).reshape(out.shape)).sum()

    def leaves(self) -> tuple[Tensor, ...]:
        return tuple(
            t.clone().requires_grad_() if i in self.differentiable else t.clone() for i, t in enumerate(self.tensors)
        )

    def gradients(self) -> tuple[Tensor, ...]:
        leaves = self.leaves()
        return torch.autograd.grad(self.loss(*leaves), [leaves[i] for i in self.differentiable])


_rng = torch.Generator().manual_seed(11)


def _randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_rng)


def _boxes(*shape: int) -> Tensor:
    corner = torch.rand(*shape, 2, generator=_rng)
    return torch.cat([corner, corner + 0.2 + torch.rand(*shape, 2, generator=_rng)], dim=-1)


LABELS = torch.tensor([[1, 0, 0, -1, 0], [0, 2, 0, 0, 0]])
ELIGIBLE = torch.tensor([[True, True, False, True, True], [True, True, True, False, True]])
TARGETS = torch.tensor([[1, 2, 0, 0, 0], [0, 2, 1, 0, 0]])
GT_INDEX = torch.tensor([[0, -1, 2, -1, 1], [1, 1, -1, -1, 2]])
KEPT = rx.KeptAnchors(torch.tensor([[0, 2, -1, -1, -1], [1, 3, 4, -1, -1]]), torch.tensor([2, 3]))
IDXS = torch.tensor([0, 1, 1, 0, 1])

CALLS = {
    "decode_boxes": Call(rx.decode_boxes, (_randn(2, 5, 4), _boxes(5)), (0, 1)),
    "decode_boxes, clipped": Call(
        lambda d, a: rx.decode_boxes(d, a, (0.2, 0.1, 0.1, 0.3), clip_to=(0.9, 1.1)), (_randn(5, 4), _boxes(5)), (0, 1)
    ),
    "encode_boxes": Call(rx.encode_boxes, (_boxes(2, 5), _boxes(5)), (0, 1)),
    "encode_boxes, anchors per image": Call(rx.encode_boxes, (_boxes(2, 5), _boxes(2, 5)), (0, 1)),
    "decode_cascade": Call(rx.decode_cascade, (_randn(2, 5, 4), _randn(2, 5, 4), _boxes(5)), (0, 1, 2)),
    "decode_cascade, kept": Call(
        lambda arm, odm, a, i, n: rx.decode_cascade(arm, odm, a, kept=rx.KeptAnchors(i, n)),
        (_randn(2, 5, 4), _randn(2, 5, 4), _boxes(2, 5), *KEPT),
        (0, 1, 2),
    ),
    "mined_cross_entropy": Call(rx.mined_cross_entropy, (_randn(2, 5, 3), LABELS), (0,)),
    "mined_cross_entropy, targets": Call(
        lambda x, y, e, t: rx.mined_cross_entropy(x, y, ratio=2.0, min_negatives=1, eligible=e, targets=t),
        (_randn(2, 5, 3), LABELS, ELIGIBLE, TARGETS),
        (0,),
    ),
    "smooth_l1_box_loss": Call(rx.smooth_l1_box_loss, (_randn(2, 5, 4), _boxes(5), _boxes(3), GT_INDEX), (0,)),
    "smooth_l1_box_loss, anchors per image": Call(
        lambda d, a, g, i: rx.smooth_l1_box_loss(d, a, g, i, (0.2, 0.1, 0.1, 0.3), beta=0.5),
        (_randn(2, 5, 4), _boxes(2, 5), _boxes(3), GT_INDEX),
        (0,),
    ),
    "deconv_sum": Call(
        rx.deconv_sum, (_randn(2, 3, 2, 3), _randn(3, 4, 2, 2), _randn(4), _randn(2, 4, 4, 5)), (0, 1, 2, 3)
    ),
    "deconv_sum, relu": Call(
        lambda x, w, y: rx.deconv_sum(x, w, None, y, activation="relu"),
        (_randn(2, 3, 2, 3), _randn(3, 4, 2, 2), _randn(2, 4, 4, 6)),
        (0, 1, 2),
    ),
    "deform_align": Call(
        rx.deform_align, (_randn(2, 4, 5, 5), _randn(2, 8, 4, 4) * 0.3, _randn(3, 4, 2, 2)), (0, 1, 2)
    ),
    "deform_align, all": Call(
        lambda x, o, w, b, m, c: rx.deform_align(x, o, w, b, (1, 2), 1, (2, 1), m, center=c),
        (
            *(_randn(2, 4, 5, 5), _randn(2, 16, 5, 3) * 0.3, _randn(6, 2, 2, 2), _randn(6)),
            *(torch.rand(2, 8, 5, 3, generator=_rng), _randn(2, 4, 5, 3) * 0.3),
        ),
        (0, 1, 2, 3, 4, 5),
    ),
    "match_anchors": Call(rx.match_anchors, (_boxes(5), _boxes(3), torch.tensor([1, 2, 1]), torch.tensor([0, 2, 3]))),
    "match_anchors, ignore": Call(
        lambda a, g, y, o, i: rx.match_anchors(a, g, y, o, positive_iou=0.4, force_match="argmax", gt_ignore=i),
        (_boxes(2, 5), _boxes(3), torch.tensor([1, 2, 1]), torch.tensor([0, 2, 3]), torch.tensor([False, True, False])),
    ),
    "filter_anchors": Call(lambda x: rx.filter_anchors(x, 0.6), (_randn(2, 5, 2),), floating=False),
    "filter_anchors_mask": Call(lambda x: rx.filter_anchors_mask(x, 0.6), (_randn(2, 5, 2),), floating=False),
    "mine_hard_negatives": Call(rx.mine_hard_negatives, (_randn(2, 5).abs(), LABELS), floating=False),
    "mine_hard_negatives, eligible": Call(
        lambda x, y, e: rx.mine_hard_negatives(x, y, ratio=1.0, min_negatives=1, eligible=e),
        (_randn(2, 5).abs(), LABELS, ELIGIBLE),
        floating=False,
    ),
    "nms": Call(lambda b, s: rx.nms(b, s, 0.3), (_boxes(5), _randn(5)), floating=False, fixed_size=False),
    "batched_nms": Call(
        lambda b, s, i: rx.batched_nms(b, s, i, 0.3), (_boxes(5), _randn(5), IDXS), floating=False, fixed_size=False
    ),
    "batched_nms_padded": Call(
        lambda b, s, i: rx.batched_nms_padded(b, s, i, 0.3), (_boxes(5), _randn(5), IDXS), floating=False
    ),
    "multiclass_nms": Call(
        lambda b, s: rx.multiclass_nms(b, s, keep_top_k=4), (_boxes(2, 5), torch.rand(2, 5, 3, generator=_rng))
    ),
    "detect": Call(
        lambda *tables: rx.detect(*tables, keep_top_k=4, clip_to=(1.0, 1.0)),
        (_randn(2, 5, 2), _randn(2, 5, 4), _randn(2, 5, 3), _randn(2, 5, 4), _boxes(5)),
    ),
}

DIFFERENTIABLE = {name: call for name, call in CALLS.items() if call.differentiable}
