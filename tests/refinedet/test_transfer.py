from __future__ import annotations

import pytest
import torch

import refinedet
from refinedet.data import VOC_CLASSES
from refinedet.transfer import VOC_IN_COCO, subsample_classes

# COCO's 80 names in the order of their labels, of which PASCAL VOC has twenty at these places (from 1)
PLACES = {
    "aeroplane": 5, "bicycle": 2, "bird": 15, "boat": 9, "bottle": 40, "bus": 6, "car": 3, "cat": 16, "chair": 57,
    "cow": 20, "diningtable": 61, "dog": 17, "horse": 18, "motorbike": 4, "person": 1, "pottedplant": 59, "sheep": 19,
    "sofa": 58, "train": 7, "tvmonitor": 63,
}  # fmt: skip
COCO = [f"other {i}" for i in range(1, 81)]
for name, place in PLACES.items():
    COCO[place - 1] = VOC_IN_COCO.get(name, name)


def test_coco_to_voc_copies_the_listed_rows():
    torch.manual_seed(0)
    model = refinedet.create_model("refinedet192_small", 81)
    voc = subsample_classes(model, COCO, VOC_CLASSES, same=VOC_IN_COCO)
    assert voc.num_classes == 21 and voc.spec.options == model.spec.options
    for level in range(4):
        for kind in ("weight", "bias"):
            old, new = (getattr(m.odm.cls[level], kind) for m in (model, voc))
            for anchor in range(new.shape[0] // 21):
                assert torch.equal(new[anchor * 21], old[anchor * 81])
                for label, name in enumerate(VOC_CLASSES, start=1):
                    assert torch.equal(new[anchor * 21 + label], old[anchor * 81 + PLACES[name]])
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith("odm.cls")}
    assert all(torch.equal(voc.state_dict()[key], value) for key, value in rest.items())


def test_scores_of_the_kept_classes_keep_their_logits():
    torch.manual_seed(0)
    model = refinedet.create_model("refinedet192_small", 5).eval()
    some = subsample_classes(model, ["a", "b", "c", "d"], ["d", "b"])
    images = torch.randn(1, 3, 64, 64)
    old, new = (m.head_outputs(images) for m in (model, some))
    torch.testing.assert_close(new.odm_logits, old.odm_logits[..., [0, 4, 2]])
    torch.testing.assert_close(new.arm_logits, old.arm_logits)


def test_class_weights_stay_with_their_classes():
    model = refinedet.create_model("refinedet192_small", 5, class_weights=[1.0, 2.0, 3.0, 4.0])
    some = subsample_classes(model, ["a", "b", "c", "d"], ["d", "b"])
    assert some.config.loss.class_weights == (4.0, 2.0) and some.criterion.class_weights.tolist() == [1, 4, 2]
    assert model.config.loss.class_weights == (1.0, 2.0, 3.0, 4.0)


def test_unknown_classes_are_named():
    model = refinedet.create_model("refinedet192_small", 3)
    with pytest.raises(ValueError, match="new_names: the model has no classes horse, unicorn"):
        subsample_classes(model, ["cat", "dog"], ["cat", "horse", "unicorn"])
    with pytest.raises(ValueError, match="class_names: expected 2 names, got 1"):
        subsample_classes(model, ["cat"], ["cat"])
