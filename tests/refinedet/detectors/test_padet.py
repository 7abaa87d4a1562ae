from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import refinedet
from refinedet.backbones import SmallNet
from refinedet.complexity import measure
from refinedet.detectors import PADet, PADetConfig
from refinedet.detectors.padet_entries import SMALL_SHARES, anchors_of
from refinedet.heads import FeatureAlignment
from refinedet.heads.feature_alignment import ALIGNMENTS
from refinedet.necks.encoder_decoder import EncoderDecoder, halve

from .test_refinedet import make_batch


def tiny(**options):
    torch.manual_seed(0)
    backbone = SmallNet(stem=(16, 16), channels=(16, 16, 16, 16), depths=(0, 0, 0, 0))
    options = {"input_size": 128, "decoder_channels": 16, **anchors_of(128, SMALL_SHARES), **options}
    return PADet(backbone, PADetConfig.from_options(**options), num_classes=4)


@pytest.mark.parametrize(
    ("name", "anchors", "millions"),
    [
        ("padet384_vgg16", 18400, 39.6),
        ("padet512_vgg16", 32756, 43.1),
        ("padet384_resnet101", 18400, 62.0),
        ("padet512_resnet101", 32756, 65.5),
    ],
)
def test_anchors_and_parameters(name, anchors, millions):
    found = measure(name, 81)
    assert found.anchors == anchors
    assert found.parameters / 1e6 == pytest.approx(millions, abs=0.1)


def test_the_other_reading_of_512_has_six_levels():
    found = measure("padet512_vgg16", 81, encoder_maps=5, **anchors_of(512, (4, 10, 26, 42, 58, 74, 90)))
    assert found.anchors == 32720
    with torch.device("meta"), pytest.raises(ValueError, match="anchor_sizes: expected one for each of 6 levels"):
        refinedet.create_model("padet512_vgg16", 81, encoder_maps=5)
    with pytest.raises(ValueError, match="encoder_maps: expected an integer of at least 4, got 3"):
        refinedet.create_model("padet512_vgg16", 81, encoder_maps=3)


def test_first_anchors_are_ssds():
    """Of 384: 7 and 15 percent of the input, ratios 2 and 3; four boxes a cell on the two coarsest levels."""
    model = tiny(input_size=384, **anchors_of(384, (7, 15, 33, 51, 69, 87)))
    anchors = model.anchor_generator(((48, 48), (24, 24), (12, 12), (6, 6), (1, 1)), (384, 384))
    sides = anchors[:6, 2:] - anchors[:6, :2]
    expected = [(0.07, 0.07), ((0.07 * 0.15) ** 0.5,) * 2]
    for ratio in (2, 3):
        expected += [(0.07 * ratio**0.5, 0.07 / ratio**0.5), (0.07 / ratio**0.5, 0.07 * ratio**0.5)]
    torch.testing.assert_close(sides, torch.tensor(expected), rtol=1e-4, atol=1e-6)
    assert model.anchor_generator.per_cell == (6, 6, 6, 4, 4)
    torch.testing.assert_close(anchors[-4:].mean(0)[:2] + anchors[-4:].mean(0)[2:], torch.ones(2))  # around the middle


@pytest.mark.parametrize(("before", "after"), [(3, 1), (2, 1), (1, 1), (5, 2), (8, 4)])
def test_top_map(before, after):
    x = torch.arange(before**2, dtype=torch.float32).reshape(1, 1, before, before)
    assert halve(x).shape[2:] == (after, after)
    assert halve(x).flatten()[-1] == x.max()


def test_decoder_passes_the_map_before_its_smoothing():
    decoder = EncoderDecoder((8, 4), channels=4).eval()
    maps = [torch.randn(1, 8, 6, 6), torch.randn(1, 4, 3, 3)]
    top = decoder.skips[1](maps[1])
    up = decoder.ups[0](F.interpolate(top, size=(6, 6), mode="bilinear", align_corners=False))
    below = decoder.skips[0](maps[0]) + up
    expected = [decoder.smooth[0](below), decoder.smooth[1](top), decoder.smooth[2](F.max_pool2d(top, 3, 2))]
    for got, want in zip(decoder(maps), expected, strict=True):
        torch.testing.assert_close(got, want)
    with pytest.raises(ValueError, match="maps: expected 2 levels, got 1"):
        decoder(maps[:1])


@pytest.mark.parametrize("alignment", ALIGNMENTS[:-1])
def test_alignment_starts_as_a_plain_convolution(alignment):
    fam = FeatureAlignment(8, 3, alignment=alignment).eval()
    x, deltas = torch.randn(2, 8, 7, 5), torch.randn(2, 12, 7, 5)
    plain = F.relu(fam.norm(F.conv2d(x, fam.align.weight, padding=1)))
    torch.testing.assert_close(fam(x, deltas), plain, rtol=1e-4, atol=1e-5)


def test_disentangled_equals_the_sum_of_shift_and_offsets():
    torch.manual_seed(0)
    fam = FeatureAlignment(8, 3).eval()
    for conv in (fam.shift, fam.offset):
        torch.nn.init.normal_(conv.weight, std=0.5)
    x, deltas = torch.randn(1, 8, 7, 5), torch.randn(1, 12, 7, 5)
    shift = fam.shift(torch.cat([deltas[:, 0::4], deltas[:, 1::4]], dim=1))
    offset = fam.offset(torch.cat([deltas[:, 2::4], deltas[:, 3::4]], dim=1))
    whole = fam.align(x, offset + shift.repeat(1, 9, 1, 1))
    torch.testing.assert_close(fam(x, deltas), F.relu(fam.norm(whole)), rtol=1e-4, atol=1e-5)
    assert fam.shift.weight.shape == (2, 6, 1, 1) and fam.offset.weight.shape == (18, 6, 1, 1)


def test_the_two_coarsest_levels_are_not_aligned():
    assert len(tiny().fam) == 3 and len(tiny(alignment="none").fam) == 0


def test_one_logit_is_the_binary_cross_entropy():
    model = tiny().eval()
    outputs = model.head_outputs(torch.randn(1, 3, 128, 128))
    z = outputs.arm_logits[..., 1]
    assert not outputs.arm_logits[..., 0].any()
    ce = F.cross_entropy(outputs.arm_logits.flatten(0, 1), torch.ones(z.numel(), dtype=torch.int64))
    torch.testing.assert_close(ce, F.binary_cross_entropy_with_logits(z.flatten(), torch.ones(z.numel())))
    assert tiny(promotion_score="softmax").eval().head_outputs(torch.randn(1, 3, 128, 128)).arm_logits[..., 0].any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"promotion": "score", "alignment": "none"},
        {"promotion": "score", "alignment": "implicit"},
        {"promotion": "box", "theta": 1.0, "filtering": "none"},
        {"promotion": "box", "theta": 1.0, "filtering": "none", "alignment": "none", "odm_negative_ratio": 3.0},
        {"promotion": "none", "theta": 1.0, "filtering": "none", "alignment": "none"},
        {"promotion": "none", "theta": 1.0, "filtering": "none", "alignment": "implicit"},
        *({"alignment": name} for name in ALIGNMENTS[1:]),
    ],
)
def test_every_ablation_trains_and_detects(options):
    model, batch = tiny(**options), make_batch([2, 0])
    losses = model.loss(model(batch.images), batch)
    losses["total"].backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    unused = {name for name in without if not name.startswith("fam.")}
    assert losses["total"].isfinite() and not unused
    alone = {"score": ("arm_cls", "apm.loc"), "box": ("arm_loc", "apm.cls"), "none": ("", "apm.")}
    term, absent = alone.get(options.get("promotion", "both"), (None, "?"))
    if term is not None:  # the other branch is neither built nor trained
        assert {name for name in ("arm_cls", "arm_loc") if losses[name] > 0} == ({term} if term else set())
        assert not any(name.startswith(absent) for name, _ in model.named_parameters())
    before = [p.detach().clone() for p in model.parameters()]
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    found = model.eval()(batch.images)
    assert found.boxes.shape == (2, 300, 4) and found.boxes.isfinite().all()


def test_the_detection_stage_trains_on_all_negatives_that_the_promotion_leaves():
    model, batch = tiny(), make_batch([2, 1])
    losses = model.loss(model(batch.images), batch)
    assert losses["arm_negatives"] == 3 * losses["arm_positives"]
    assert losses["odm_negatives"] > 20 * losses["odm_positives"]
    outputs = model(batch.images)
    sure = outputs.arm_logits.detach().clone()
    sure[..., 1] = -10
    assert model.loss(outputs._replace(arm_logits=sure), batch)["odm_negatives"] == 0


def test_models_of_the_paper_mine_in_the_first_stage_and_small_ones_in_both():
    for name in refinedet.list_models("padet*"):
        loss = refinedet.model_entry(name).config.loss
        mined = name.endswith(("_small", "_efficientnet_lite0"))
        assert (loss.arm_negative_ratio, loss.odm_negative_ratio) == (3, 3 if mined else "all"), name
        assert (loss.matching, loss.arm_neg_iou, loss.odm_neg_iou) == ("argmax", 0.3, 0.3)


def test_heads_start_by_their_inputs():
    """Logits of a deviation of about 1; by the outputs, of which the scores have but six, about 6.5."""
    x = torch.randn(1, 256, 24, 24).relu()
    spread = {}
    for mode in ("fan_in", "fan_out"):
        torch.manual_seed(0)
        backbone = SmallNet(stem=(16, 16), channels=(16, 16, 16, 16), depths=(0, 0, 0, 0))
        config = PADetConfig.from_options(input_size=128, head_init=mode, **anchors_of(128, SMALL_SHARES))
        scores = PADet(backbone, config, 21).apm.cls[0]
        spread[mode] = scores(x).std().item()
        assert not scores.bias.any()
    assert spread["fan_in"] == pytest.approx(1.0, abs=0.25)
    assert spread["fan_out"] / spread["fan_in"] == pytest.approx((256 / 6) ** 0.5, rel=1e-3)


def test_without_promotion_there_is_one_loss():
    model, batch = tiny(promotion="none", alignment="none", theta=1.0), make_batch([2, 1])
    losses = model.loss(model(batch.images), batch)
    assert losses["arm_cls"] == 0 and losses["arm_loc"] == 0 and losses["odm_cls"] > 0


def test_bf16_compile_save_and_load(tmp_path):
    model = refinedet.create_model("padet192_small", 4).eval()
    images = torch.randn(1, 3, 192, 192)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        model.to(memory_format=torch.channels_last)  # minutes in the other layout, without bfloat16 instructions
        assert model(images.to(memory_format=torch.channels_last)).boxes.isfinite().all()
    model.to(memory_format=torch.contiguous_format)
    expected = model.head_outputs(images)
    compiled = torch.compile(model.head_outputs, fullgraph=True, backend="aot_eager")(images)
    for a, b in zip(compiled, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    refinedet.save_model(model, tmp_path / "m.safetensors")
    again = refinedet.load_model(tmp_path / "m.safetensors").model
    for a, b in zip(again.head_outputs(images), expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"promotion": "all"}, "promotion: expected"),
        ({"promotion": "none", "theta": 1.0}, "alignment: expected implicit or none where promotion is none"),
        ({"promotion": "score"}, "alignment: expected implicit or none where promotion is score"),
        ({"promotion": "box"}, "theta: expected 1.0 where promotion is 'box'"),
        ({"head_init": "fan_avg"}, "head_init: expected"),
        ({"alignment": "both"}, "alignment: expected"),
        ({"promotion_score": "relu"}, "promotion_score: expected"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
