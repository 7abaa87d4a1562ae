from __future__ import annotations

import pytest
import torch

from refinedet.devices import resolve_device


def test_devices_that_are_here():
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("device", "message"), [("gpu", "such as cpu or cuda, got 'gpu'"), ("cuda:99", "torch sees")])
def test_devices_that_are_not(device, message):
    with pytest.raises(ValueError, match=f"device: expected one .*{message}"):
        resolve_device(device)
