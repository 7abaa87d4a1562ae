"""A typical call of every op, on any device: what the tests of streams, graphs and synchronisation run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx
from benchmarks.inputs import detector_outputs, ground_truth, pyramid_anchors

ANCHORS = 6375


@dataclass(frozen=True)
class Call:
    """`run(*inputs(seed))` gives a tuple of tensors; `exact` where the GPU's bits are the CPU's."""

    run: Callable[..., tuple[Tensor, ...]]
    inputs: Callable[[int], tuple[Tensor, ...]]
    exact: bool = True
    capturable: bool = True


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _deltas(seed: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, ANCHORS, 4, generator=_rng(seed))


def _anchors() -> Tensor:
    return pyramid_anchors(320)


def _tuple(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def _decode(deltas: Tensor, anchors: Tensor) -> tuple[Tensor, ...]:
    deltas = deltas.detach().requires_grad_()
    boxes = rx.decode_boxes(deltas, anchors, clip_to=(1.0, 1.0))
    return boxes.detach(), *torch.autograd.grad(boxes, deltas, torch.ones_like(boxes))


def _encode(boxes: Tensor, anchors: Tensor) -> tuple[Tensor, ...]:
    boxes = boxes.detach().requires_grad_()
    deltas = rx.encode_boxes(boxes, anchors)
    return deltas.detach(), *torch.autograd.grad(deltas, boxes, torch.ones_like(deltas))


def _cascade(arm: Tensor, odm: Tensor, anchors: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
    kept = rx.filter_anchors(logits, 0.9)
    return rx.decode_cascade(arm, odm, anchors, kept=kept), *kept, rx.filter_anchors_mask(logits, 0.9)


def _truth(seed: int) -> tuple[Tensor, ...]:
    """Always 36 boxes in 4 images, so that other seeds have the same shapes; the second image has none."""
    rng = _rng(seed)
    boxes, labels, _ = ground_truth(40, 2.0, rng)
    return boxes[:36], labels[:36], torch.tensor([0, 9, 9, 20, 36])


def _matching(force: str) -> Callable[..., tuple[Tensor, ...]]:
    return lambda *args: tuple(rx.match_anchors(*args, negative_iou=0.4, force_match=force))


def _mining(seed: int) -> tuple[Tensor, ...]:
    rng = _rng(seed)
    labels = (torch.rand(4, ANCHORS, generator=rng) < 0.01).long() - (
        torch.rand(4, ANCHORS, generator=rng) < 0.05
    ).long()
    return torch.rand(4, ANCHORS, generator=rng), labels


def _losses(
    logits: Tensor, labels: Tensor, deltas: Tensor, anchors: Tensor, boxes: Tensor, index: Tensor
) -> tuple[Tensor, ...]:
    logits, deltas = logits.detach().requires_grad_(), deltas.detach().requires_grad_()
    mined = rx.mined_cross_entropy(logits, labels)
    distance = rx.smooth_l1_box_loss(deltas, anchors, boxes, index)
    ones = torch.ones_like(distance)
    grads = torch.autograd.grad((mined.loss, distance), (logits, deltas), (ones, ones))
    return mined.loss.detach(), *mined[1:], distance.detach(), *grads


def _losses_inputs(seed: int) -> tuple[Tensor, ...]:
    rng, labels = _rng(seed), _mining(seed)[1]
    index = torch.where(labels > 0, torch.randint(36, labels.shape, generator=rng), -1)
    return torch.randn(4, ANCHORS, 21, generator=rng), labels, _deltas(seed, 4), _anchors(), _truth(seed)[0], index


def _outputs(seed: int) -> tuple[Tensor, ...]:
    return *detector_outputs(_anchors(), 2, 21, 390, 1400, _rng(seed)), _anchors()


def _scored(seed: int) -> tuple[Tensor, ...]:
    rng = _rng(seed)
    return _deltas(seed).mul_(0.01) + _anchors(), torch.rand(2, ANCHORS, 20, generator=rng) ** 8


def _clustered(seed: int) -> tuple[Tensor, ...]:
    rng = _rng(seed)
    boxes = _anchors() + 0.01 * torch.randn(ANCHORS, 4, generator=rng)
    return boxes, torch.rand(ANCHORS, generator=rng), torch.randint(20, (ANCHORS,), generator=rng)


def _deconv(*tensors: Tensor) -> tuple[Tensor, ...]:
    leaves = [t.detach().requires_grad_() for t in tensors]
    out = rx.deconv_sum(*leaves, activation="relu")
    return out.detach(), *torch.autograd.grad(out, leaves, torch.ones_like(out))


def _deconv_inputs(seed: int) -> tuple[Tensor, ...]:
    rng = _rng(seed)
    shapes = (2, 32, 10, 10), (32, 48, 2, 2), (48,), (2, 48, 20, 19)
    return tuple(torch.randn(shape, generator=rng) for shape in shapes)


def _deform(input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor, center: Tensor) -> tuple[Tensor, ...]:
    leaves = [t.detach().requires_grad_() for t in (input, offset, weight, mask, center)]
    out = rx.deform_align(*leaves[:3], None, 1, 2, 2, leaves[3], center=leaves[4])
    return out.detach(), *torch.autograd.grad(out, leaves, torch.ones_like(out))


def _deform_inputs(seed: int) -> tuple[Tensor, ...]:
    rng = _rng(seed)
    shapes = (2, 32, 20, 20), (2, 36, 20, 20), (24, 32, 3, 3), (2, 18, 20, 20), (2, 4, 20, 20)
    return tuple(torch.randn(shape, generator=rng) for shape in shapes)


CALLS = {
    "decode_boxes": Call(_decode, lambda seed: (_deltas(seed), _anchors())),
    "encode_boxes": Call(_encode, lambda seed: (_deltas(seed).mul_(0.02) + _anchors(), _anchors())),
    "decode_cascade and filter_anchors": Call(
        _cascade, lambda seed: (_deltas(seed), _deltas(seed + 1), _anchors(), _deltas(seed + 2)[..., :2] * 3)
    ),
    **{
        f"match_anchors {force}": Call(_matching(force), lambda seed: (_anchors(), *_truth(seed)))
        for force in ("bipartite", "argmax", "none")
    },
    "mined_cross_entropy and smooth_l1_box_loss": Call(_losses, _losses_inputs, exact=False),
    "mine_hard_negatives": Call(lambda *args: (rx.mine_hard_negatives(*args),), _mining),
    **{
        f"multiclass_nms {method}": Call(
            lambda boxes, scores, method=method: tuple(rx.multiclass_nms(boxes, scores, method=method)), _scored
        )
        for method in ("hard", "linear", "gaussian")
    },
    "multiclass_nms without limits": Call(
        lambda boxes, scores: tuple(rx.multiclass_nms(boxes, scores, score_threshold=0.5, top_k=None)), _scored
    ),
    "detect": Call(lambda *args: tuple(rx.detect(*args)), _outputs),
    "nms": Call(
        lambda boxes, scores: (rx.nms(boxes, scores, 0.45),), lambda seed: _clustered(seed)[:2], capturable=False
    ),
    "batched_nms": Call(lambda *args: (rx.batched_nms(*args, 0.45),), _clustered, capturable=False),
    "batched_nms_padded": Call(lambda *args: _tuple(rx.batched_nms_padded(*args, 0.45)), _clustered),
    "deconv_sum": Call(_deconv, _deconv_inputs, exact=False),
    "deform_align": Call(_deform, _deform_inputs, exact=False),
}


def on(device: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.to(device) for t in inputs)


def same(call: Call, got: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """Bit for bit, or within what sums of a few hundred float32 products in another order give."""
    tolerance = {"rtol": 0, "atol": 0} if call.exact else {"rtol": 1e-4, "atol": 1e-3}
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu(), **tolerance)
