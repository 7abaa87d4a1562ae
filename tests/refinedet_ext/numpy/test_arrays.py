"""What the NumPy face makes of the things that people call arrays."""

from __future__ import annotations

import array

import numpy as np
import pytest
import torch

import refinedet_ext.numpy as rxn
from refinedet_ext.numpy._arrays import as_array, floating

FAR = np.array([[1e9, 0, 1e9 + 4, 4], [1e9 + 4, 0, 1e9 + 8, 4]])  # neighbours, of which float32 makes other boxes
SCORES = [0.9, 0.8]


class Holder:
    """Something with `__array__`, as a table of pandas."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


HOLDERS = {
    "array": lambda a: a,
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "memoryview": memoryview,
    "__array__": Holder,
    "tensor": torch.from_numpy,
    "list of arrays": list,
    "list of NumPy's numbers": lambda a: [list(row) for row in a],
}


@pytest.mark.parametrize("how", HOLDERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_holder_keeps_its_precision(how, dtype):
    values = np.array([[0.1, 0.2], [0.3, 0.4]], dtype)
    got = floating(HOLDERS[how](values), "boxes")
    assert got.dtype == dtype
    assert np.array_equal(got, values)


@pytest.mark.parametrize("how", HOLDERS)
def test_boxes_far_away(how):
    """In float32 both boxes would have the same corners."""
    boxes = np.array([[1e9, 0, 1e9 + 4, 4], [1e9 + 16, 0, 1e9 + 20, 4]])
    assert rxn.nms(HOLDERS[how](boxes), SCORES, 0.5).tolist() == [0, 1]
    near = np.array([[1e9, 0, 1e9 + 4, 4], [1e9 + 1, 0, 1e9 + 5, 4]])
    assert rxn.nms(HOLDERS[how](near), SCORES, 0.5).tolist() == [0]


def test_array_of_the_standard_library():
    assert floating(array.array("d", [0.1, 0.2]), "scores").dtype == np.float64
    assert floating(array.array("f", [0.1, 0.2]), "scores").dtype == np.float32


@pytest.mark.parametrize("values", [[0.5, 1], (1, 2), [[1, 2], [3.5, 4]], [], [[], []], 3, [True, False]])
def test_plain_lists_become_float32(values):
    got = floating(values, "scores")
    assert got.dtype == np.float32
    assert np.array_equal(got, np.asarray(values, np.float32))


def test_whole_numbers_of_another_holder_become_float32():
    assert floating(memoryview(np.arange(3)), "scores").dtype == np.float32


@pytest.mark.parametrize(
    "values",
    [[0.5, None], [[0.5, 1], [None, 2]], ["0.5", 1], [0.5j], [[0.5], [1, 2]], {"a": 1}, None, object(), "0.5"],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number_is_an_error(values):
    with pytest.raises(TypeError, match="scores: expected an array of numbers, got "):
        floating(values, "scores")


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64, np.longdouble, object])
def test_other_dtypes_are_named(dtype):
    with pytest.raises(TypeError, match="scores: expected dtype float16, float32 or float64, got "):
        floating(np.zeros(2, dtype), "scores")


MASKED = np.ma.masked_array([0.1, 0.2, 0.3], [False, True, False])


@pytest.mark.parametrize("values", [MASKED, [MASKED, MASKED], [0.1, np.ma.masked], MASKED.astype(int)], ids=repr)
def test_masked_values_are_an_error(values):
    for function in (as_array, floating):
        with pytest.raises(TypeError, match="scores: expected an array without masked values"):
            function(values, "scores")


def test_a_mask_of_nothing_is_none():
    assert floating(np.ma.masked_array([0.1, 0.2]), "scores").tolist() == [0.1, 0.2]
    assert floating(np.ma.masked_array([0.1, 0.2], [False, False]), "scores").tolist() == [0.1, 0.2]


def masked(values, dtype=None):
    values = np.asarray(values, dtype)
    mask = np.zeros(values.shape, bool)
    mask.flat[0] = True
    return np.ma.masked_array(values, mask)


BOXES = np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.float32)
DELTAS = np.zeros((1, 2, 4), np.float32)
LOGITS = np.zeros((1, 2, 2), np.float32)
ARGUMENTS = {
    "decode_boxes": {"deltas": DELTAS, "anchors": BOXES},
    "encode_boxes": {"boxes": BOXES, "anchors": BOXES},
    "decode_cascade": {"arm_deltas": DELTAS, "odm_deltas": DELTAS, "anchors": BOXES},
    "filter_anchors": {"arm_logits": LOGITS},
    "filter_anchors_mask": {"arm_logits": LOGITS},
    "nms": {"boxes": BOXES, "scores": np.ones(2, np.float32)},
    "batched_nms": {"boxes": BOXES, "scores": np.ones(2, np.float32), "idxs": np.zeros(2, np.int64)},
    "multiclass_nms": {"boxes": BOXES[None], "scores": LOGITS},
    "match_anchors": {
        "anchors": BOXES,
        "gt_boxes": BOXES[:1],
        "gt_labels": np.array([1]),
        "gt_offsets": np.array([0, 1]),
        "gt_ignore": np.array([False]),
    },
    "detect": {
        **{"arm_logits": LOGITS, "arm_deltas": DELTAS, "odm_logits": LOGITS, "odm_deltas": DELTAS},
        "anchors": BOXES,
    },
}


def call(name, arguments):
    more = {"iou_threshold": 0.5} if name in ("nms", "batched_nms") else {}
    return getattr(rxn, name)(**arguments, **more)


@pytest.mark.parametrize(("name", "argument"), [(name, key) for name, keys in ARGUMENTS.items() for key in keys])
def test_every_argument_of_every_function(name, argument):
    arguments = ARGUMENTS[name]
    call(name, arguments)
    with pytest.raises(TypeError, match=f"{argument}: expected an array without masked values"):
        call(name, arguments | {argument: masked(arguments[argument])})
    with_none = arguments[argument].tolist()
    inner = with_none
    while isinstance(inner[0], list):
        inner = inner[0]
    inner[0] = None
    with pytest.raises(TypeError, match=f"{argument}: expected "):
        call(name, arguments | {argument: with_none})


def test_kept_rows_are_not_masked():
    index, count = np.array([[0, 1]]), np.array([2])
    arguments = ARGUMENTS["decode_cascade"]
    for kept in ((masked(index), count), (index, masked(count))):
        with pytest.raises(TypeError, match="kept.* expected an array without masked values"):
            rxn.decode_cascade(**arguments, kept=rxn.KeptAnchors(*kept))


@pytest.mark.parametrize(
    "tensor", [torch.ones(2, 4, dtype=torch.bfloat16), torch.ones(2, 4, requires_grad=True)], ids=["bfloat16", "grad"]
)
def test_tensors_that_numpy_cannot_read_are_named(tensor):
    with pytest.raises(TypeError, match="anchors: expected an array of numbers, got a Tensor that NumPy cannot read: "):
        rxn.encode_boxes(np.ones((2, 4), np.float32), tensor)
