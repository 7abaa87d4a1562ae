"""The loss with RefineDetLite's strategies: against a loop in plain Python, and what it reduces to."""

from __future__ import annotations

import math

import pytest
import torch

from refinedet import MultiBoxLoss
from refinedet.losses import LossConfig

from .oracle import CLASSES, decode, expected, iou, log_softmax, make_outputs, make_truth, match

TERMS = ("arm_cls", "arm_loc", "odm_cls", "odm_loc")
WEIGHTS = (1.0, 2.5, 4.0, 10.0)
PLUSPLUS = {
    "box_loss": "giou",
    "soft_label_alpha": 0.25,
    "anchor_weight_beta": 0.9,
    "class_weights": WEIGHTS,
    "task_balance": "uncertainty",
}


def loss(**options):
    return MultiBoxLoss(strategies=LossConfig(**options))


def hull_area(a, b):
    return (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def giou_distance(a, b):
    overlap = iou(a, b)
    union = (area(a) + area(b)) / (1 + overlap)
    hull = hull_area(a, b)
    return 1 - (overlap - (hull - union) / hull)


def guided(log_p, label, overlap):
    """eta times equation 2, with equation 3's label written out."""
    own = 1 - 0.25 * (1 - overlap if label else overlap)
    eta = 1 / (1 + 0.9 * (overlap - 1)) if label else 1.0
    total = 0.0
    for c, lp in enumerate(log_p):
        y = own if c == label else (1 - own) / (len(log_p) - 1)
        if y > 0:
            total += (1.0, *WEIGHTS)[c] * y * (math.log(y) - lp)
    return eta * total


def plusplus(outputs, truth):
    """The four terms as the options above make them, image by image and anchor by anchor."""
    arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = (t.double().tolist() for t in outputs)
    boxes, labels, offsets = (t.tolist() for t in truth)
    sums, counts = dict.fromkeys(TERMS, 0.0), {"arm": 0, "odm": 0}
    for b in range(len(arm_logits)):
        mine, classes = boxes[offsets[b] : offsets[b + 1]], labels[offsets[b] : offsets[b + 1]]
        refined = [decode(d, a) for d, a in zip(arm_deltas[b], anchors, strict=True)]
        final = [decode(d, r) for d, r in zip(odm_deltas[b], refined, strict=True)]
        kept = [math.exp(log_softmax(row)[0]) <= 0.99 for row in arm_logits[b]]
        stages = {
            "arm": (arm_logits[b], anchors, refined, [1] * len(mine), [True] * len(anchors)),
            "odm": (odm_logits[b], refined, final, classes, kept),
        }
        for name, (logits, references, decoded, wanted, eligible) in stages.items():
            matched, overlaps = match(references, mine)
            pool, positives = [], 0
            for a, g in enumerate(matched):
                log_p = log_softmax(logits[a])
                near = max((iou(decoded[a], box) for box in mine), default=0.0)
                if g is None:
                    if overlaps[a] < 0.5 and eligible[a]:
                        value = guided(log_p, 0, near) if name == "odm" else -log_p[0]
                        pool.append((-log_p[0], value))
                    continue
                positives += 1
                if name == "odm":
                    sums["odm_cls"] += guided(log_p, wanted[g], iou(decoded[a], mine[g]))
                else:
                    sums["arm_cls"] -= log_p[1]
                sums[f"{name}_loc"] += giou_distance(decoded[a], mine[g])
            # the hardest by plain cross entropy, whatever they then cost
            pool.sort(key=lambda entry: -entry[0])
            sums[f"{name}_cls"] += sum(value for _, value in pool[: 3 * positives])
            counts[name] += positives
    return {name: value / max(1, counts[name[:3]]) for name, value in sums.items()}


@pytest.mark.parametrize("counts", [(1,), (3, 0, 7), (12, 12)])
@pytest.mark.parametrize("background", [0.0, 4.0])
def test_plusplus_equals_the_loop(counts, background):
    outputs, truth = make_outputs(len(counts), seed=1, background=background), make_truth(counts)
    criterion = loss(**PLUSPLUS)
    s = [0.5, -1.0, 2.0, 0.25]
    criterion.balance.log_variance.data = torch.tensor(s)
    got, want = criterion(outputs, *truth), plusplus(outputs, truth)
    for name in TERMS:
        assert got[name].item() == pytest.approx(want[name], rel=1e-4), name
    factors = (1, 0.5, 1, 0.5)
    total = sum(f * math.exp(-v) * want[n] + v / 2 for f, v, n in zip(factors, s, TERMS, strict=True))
    assert got["total"].item() == pytest.approx(total, rel=1e-4)


class Doubled(MultiBoxLoss):
    """Twice the smooth L1 where GIoU would stand."""

    def _distance(self, *args):
        return 2 * super()._distance(*args)


def test_plusplus_without_its_constants_is_the_basic_loss():
    outputs, truth = make_outputs(3), make_truth((3, 0, 7))
    neutral = LossConfig(
        soft_label_alpha=0.0, anchor_weight_beta=0.0, class_weights=(1.0,) * 4, task_balance="uncertainty"
    )
    assert neutral.guides_classes
    got, want = Doubled(strategies=neutral)(outputs, *truth), MultiBoxLoss()(outputs, *truth)
    torch.testing.assert_close(got["total"], want["total"])
    for name in ("arm_cls", "odm_cls"):
        torch.testing.assert_close(got[name], want[name])
    got_grads = torch.autograd.grad(got["total"], outputs[:4])
    want_grads = torch.autograd.grad(want["total"], outputs[:4])
    for a, b in zip(got_grads, want_grads, strict=True):
        torch.testing.assert_close(a, b)


def test_defaults_are_the_basic_loss_bit_for_bit():
    outputs, truth = make_outputs(2), make_truth((3, 2))
    got, want = loss()(outputs, *truth), MultiBoxLoss()(outputs, *truth)
    assert all(torch.equal(got[name], want[name]) for name in want)
    assert not list(loss().parameters()) and not loss().state_dict()


def test_focal_without_its_constants_is_the_basic_loss_over_all_negatives():
    outputs, truth = make_outputs(2, background=2.0), make_truth((3, 2))
    focal = loss(cls_loss="focal", focal_gamma=0.0, focal_alpha=None)(outputs, *truth)
    everyone = MultiBoxLoss(negative_ratio=1e6)(outputs, *truth)
    for name in ("total", *TERMS, "arm_negatives", "odm_negatives"):
        torch.testing.assert_close(focal[name], everyone[name], msg=name)


def test_focal_by_the_loop():
    outputs, truth = make_outputs(1), make_truth((2,))
    got = loss(cls_loss="focal")(outputs, *truth)
    matched, overlaps = match(outputs.anchors.tolist(), truth[0].tolist())
    total = 0.0
    for row, g, overlap in zip(outputs.arm_logits[0].tolist(), matched, overlaps, strict=True):
        background, thing = log_softmax(row)
        if g is not None:
            total -= 0.25 * (1 - math.exp(thing)) ** 2 * thing
        elif overlap < 0.5:
            total -= 0.75 * (1 - math.exp(background)) ** 2 * background
    assert got["arm_cls"].item() == pytest.approx(total / int(got["arm_positives"]), rel=1e-4)


def test_class_weights_reach_their_class_alone():
    outputs, truth = make_outputs(1), make_truth((2,))
    truth = (truth[0], torch.tensor([2, 2]), truth[2])
    plain = loss()(outputs, *truth)["odm_cls"]
    others = loss(class_weights=(5.0, 1.0, 5.0, 5.0))(outputs, *truth)["odm_cls"]
    own = loss(class_weights=(1.0, 5.0, 1.0, 1.0))(outputs, *truth)["odm_cls"]
    torch.testing.assert_close(plain, others)
    assert plain < own < 5 * plain


def test_sampled_normalizer_divides_the_classification_alone():
    outputs, truth = make_outputs(2), make_truth((3, 2))
    got, want = loss(normalizer="sampled")(outputs, *truth), MultiBoxLoss()(outputs, *truth)
    assert got["arm_loc"] == want["arm_loc"] and got["odm_loc"] == want["odm_loc"]
    torch.testing.assert_close(got["arm_cls"], want["arm_cls"] / 4)  # one positive to three negatives


def test_overlaps_are_constants():
    outputs, truth = make_outputs(2), make_truth((3, 2))
    losses = loss(**PLUSPLUS)(outputs, *truth)
    grads = torch.autograd.grad(losses["odm_cls"], outputs[:4], allow_unused=True, materialize_grads=True)
    assert grads[2].any() and not grads[0].any() and not grads[1].any() and not grads[3].any()


@pytest.mark.parametrize("box_loss", ["smooth_l1", "giou"])
@pytest.mark.parametrize("balance", ["fixed", "uncertainty"])
def test_box_terms_weigh_what_is_asked(box_loss: str, balance: str) -> None:
    outputs, truth = make_outputs(2), make_truth((3, 2))
    plain, heavy = (
        loss(box_loss=box_loss, task_balance=balance, box_loss_weight=weight)(outputs, *truth) for weight in (1.0, 10.0)
    )
    for stage in ("arm", "odm"):
        torch.testing.assert_close(heavy[f"{stage}_loc"], 10 * plain[f"{stage}_loc"])
        assert torch.equal(heavy[f"{stage}_cls"], plain[f"{stage}_cls"])
    share = 0.5 if balance == "uncertainty" else 1.0  # of the box terms in equation 6
    more = share * 9 * (plain["arm_loc"] + plain["odm_loc"])
    torch.testing.assert_close(heavy["total"], plain["total"] + more)


def test_giou_of_the_second_stage_leaves_the_first_alone():
    outputs, truth = make_outputs(2), make_truth((3, 2))
    losses = loss(box_loss="giou")(outputs, *truth)
    grads = torch.autograd.grad(losses["odm_loc"], outputs[:4], allow_unused=True, materialize_grads=True)
    assert grads[3].any() and not grads[0].any() and not grads[1].any() and not grads[2].any()


OPTIONS = [PLUSPLUS, {**PLUSPLUS, "cls_loss": "focal"}, {"box_loss": "giou"}, {"normalizer": "sampled"}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("images", [0, 1, 3])
def test_without_any_positive(options, images):
    outputs, criterion = make_outputs(images), loss(**options)
    losses = criterion(outputs, *make_truth((0,) * images))
    losses["total"].backward()
    for tensor in (*outputs[:4], *criterion.parameters()):
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all()
    if options.get("cls_loss") == "focal":  # all negatives train, objects or not
        return
    assert losses["total"].item() == 0
    assert not any(tensor.grad.any() for tensor in (*outputs[:4], *criterion.parameters()))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("value", [-1e30, -1e4, 1e4, 1e30])
@pytest.mark.parametrize("field", ["arm_deltas", "odm_deltas"])
def test_extreme_offsets_stay_finite(options, value, field):
    outputs = make_outputs(2)
    outputs = outputs._replace(**{field: torch.full_like(outputs.arm_deltas, value).requires_grad_()})
    losses = loss(**options)(outputs, *make_truth((2, 3)))
    losses["total"].backward()
    assert all(torch.isfinite(v).all() for v in losses.values())
    assert all(torch.isfinite(t.grad).all() for t in outputs[:4])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "box", [[0.4, 0.4, 0.4, 0.4], [0.6, 0.6, 0.4, 0.4], [-3.0, -3.0, -2.0, -2.0], [-5.0, -5.0, 5.0, 5.0]]
)
def test_odd_boxes_stay_finite(options, box):
    outputs = make_outputs(1)
    losses = loss(**options)(outputs, torch.tensor([box]), torch.tensor([1]), torch.tensor([0, 1]))
    losses["total"].backward()
    assert all(torch.isfinite(v).all() for v in losses.values())
    assert all(torch.isfinite(t.grad).all() for t in outputs[:4])


def test_crowds_guide_nobody():
    outputs, (boxes, labels, offsets) = make_outputs(1), make_truth((3,))
    criterion = loss(soft_label_alpha=0.25, anchor_weight_beta=0.9)
    everything = criterion(outputs, boxes, labels, offsets, torch.ones(3, dtype=torch.bool))
    assert everything["total"] == 0


def test_half_outputs_and_double_outputs():
    truth = make_truth((2, 3))
    outputs = make_outputs(2)
    half = outputs._replace(
        **{n: getattr(outputs, n).detach().bfloat16().requires_grad_() for n in outputs._fields[:4]}
    )
    losses = loss(**PLUSPLUS)(half, *truth)
    losses["total"].backward()
    assert losses["total"].dtype == torch.float32 and half.odm_deltas.grad.dtype == torch.bfloat16
    double = make_outputs(2, dtype=torch.float64)
    losses = loss(**PLUSPLUS)(double, truth[0].double(), *truth[1:])
    assert losses["total"].dtype == torch.float64


def test_the_oracle_of_the_basic_loss_still_holds_beside_unused_options():
    outputs, truth = make_outputs(2), make_truth((3, 2))
    got = loss(focal_gamma=5.0, class_weight_largest=3.0)(outputs, *truth)
    assert got["total"].item() == pytest.approx(expected(outputs, truth)["total"], rel=1e-4)


def test_weights_still_to_be_counted_are_named():
    with pytest.raises(ValueError, match="class_weights: expected numbers by now, got 'data'"):
        loss(class_weights="data")(make_outputs(1), *make_truth((1,)))


def test_wrong_number_of_weights_is_named():
    with pytest.raises(
        ValueError, match=f"class_weights: expected {CLASSES - 1} numbers, one per foreground class, got 2"
    ):
        loss(class_weights=(1.0, 2.0))(make_outputs(1), *make_truth((1,)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box_loss": "iou"}, r"box_loss: expected one of \['smooth_l1', 'giou'\], got 'iou'"),
        ({"box_loss_weight": -1}, "box_loss_weight: expected a number from 0 to 1000000.0, got -1"),
        ({"cls_loss": "bce"}, r"cls_loss: expected one of \['cross_entropy', 'focal'\], got 'bce'"),
        ({"focal_gamma": -1}, "focal_gamma: expected a number from 0 to 100, got -1"),
        ({"focal_alpha": 2}, "focal_alpha: expected a number from 0 to 1, got 2"),
        ({"soft_label_alpha": 1.5}, "soft_label_alpha: expected a number from 0 to 1, got 1.5"),
        ({"anchor_weight_beta": 1}, "anchor_weight_beta: expected a number from 0 to below 1, got 1"),
        ({"anchor_weight_beta": "0.9"}, "anchor_weight_beta: expected a number from 0 to 1, got '0.9'"),
        ({"class_weights": "auto"}, r"class_weights: expected one of \['data'\], got 'auto'"),
        ({"class_weights": (1.0, -1.0)}, "class_weights: expected non-negative numbers, 'data' or None, got"),
        ({"class_weights": 5}, "class_weights: expected non-negative numbers, 'data' or None, got 5"),
        ({"class_weights": ()}, "class_weights: expected non-negative numbers, 'data' or None, got"),
        ({"class_weight_largest": 0}, "class_weight_largest: expected a number from 1 to 1000000.0, got 0"),
        ({"task_balance": "auto"}, r"task_balance: expected one of \['fixed', 'uncertainty'\], got 'auto'"),
        ({"normalizer": "all"}, r"normalizer: expected one of \['positives', 'sampled'\], got 'all'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LossConfig(**options)
