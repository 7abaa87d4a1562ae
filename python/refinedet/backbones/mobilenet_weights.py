"""Public ImageNet checkpoints of MobileNet V1, which torchvision has not, under this package's names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

# marvis/pytorch-mobilenet, and what took over its network (pytorch-ssd): six layers in a row for each block
IN_A_ROW = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1"}
# pytorchcv: units of stages 1 to 5
UNITS = (1, 2, 2, 6, 2)
PARTS = {"dw_conv.conv": "0.0", "dw_conv.bn": "0.1", "pw_conv.conv": "1.0", "pw_conv.bn": "1.1"}


def name_mobilenet_v1(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of either origin with the names of `MobileNetV1`, its classification layer as "classifier".

    Names that are neither's stay as they are, for the error about them. Keys that begin with "module.", as DataParallel
    leaves them, count without it.
    """
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    layers = {**_rows(), **_stages()}
    named = {}
    for key, value in state.items():
        layer, _, field = key.rpartition(".")
        named[f"{layers[layer]}.{field}" if layer in layers else key] = value
    return named


def _rows() -> dict[str, str]:
    blocks = range(1, 1 + sum(UNITS))
    inner = {f"model.{i}.{theirs}": f"features.{i}.{ours}" for i in blocks for theirs, ours in IN_A_ROW.items()}
    return {"model.0.0": "features.0.0", "model.0.1": "features.0.1", "fc": "classifier", **inner}


def _stages() -> dict[str, str]:
    first = {"conv": "features.0.0", "bn": "features.0.1"}
    layers = {f"features.init_block.{theirs}": ours for theirs, ours in first.items()}
    place = 0
    for stage, units in enumerate(UNITS, start=1):
        for unit in range(1, units + 1):
            place += 1
            for theirs, ours in PARTS.items():
                layers[f"features.stage{stage}.unit{unit}.{theirs}"] = f"features.{place}.{ours}"
    return {**layers, "output": "classifier"}
