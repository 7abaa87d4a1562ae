"""Memory and threads that cannot be had: in a process of its own, whose address space is limited."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.cpu_only,
    pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited by RLIMIT_AS of Linux"),
]

LIMIT = """
import resource
def limit(more):
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LIMIT + code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    ("call", "error", "messages"),
    [
        ("rx.decode_boxes(boxes, boxes)", "RuntimeError", ["could not allocate 128.0", "MiB", "(8388608, 4)"]),
        ("rx.decode_boxes(strided, boxes)", "RuntimeError", ["could not allocate", "(8388608, 4)"]),
        ("rx.nms(boxes, scores, 0.5)", "MemoryError", ["batched_nms: could not", "bytes of scratch"]),
        (
            "rx.mine_hard_negatives(boxes.view(1, -1), labels)",
            "MemoryError",
            ["mine_hard_negatives: could not allocate 268435456 bytes of scratch memory"],
        ),
    ],
)
def test_torch_says_how_much_and_for_what(call, error, messages):
    output = run(f"""
import torch, refinedet_ext as rx
torch.set_num_threads(2)
boxes = torch.zeros(1 << 23, 4)
rx.nms(boxes[:9000], boxes[:9000, 0], 0.5)
scores, strided, labels = torch.zeros(1 << 23), torch.zeros(4, 1 << 23).T, torch.zeros(1, 1 << 25, dtype=torch.int64)
limit(120 << 20)
try:
    {call}
except Exception as e:
    print(type(e).__name__, e)
print(rx.nms(boxes[:3], boxes[:3, 0], 0.5).tolist())
""")
    name, _, text = output.partition(" ")
    assert name == error, output
    for message in messages:
        assert message in text
    assert output.splitlines()[-1] == "[0, 1, 2]"  # and works on


def test_numpy_says_how_much_and_for_what():
    output = run("""
import numpy as np, refinedet_ext.numpy as rxn
boxes = np.zeros((1 << 23, 4), dtype=np.float32)
scores = np.zeros(1 << 23, dtype=np.float32)
rxn.nms(boxes[:9], scores[:9], 0.5)
limit(100 << 20)
for call in (lambda: rxn.nms(boxes, scores, 0.5), lambda: rxn.decode_boxes(boxes, boxes)):
    try:
        call()
    except MemoryError as e:
        print(e)
""")
    first, second = output.splitlines()
    assert "batched_nms: could not allocate" in first and "bytes of scratch memory" in first
    assert "Unable to allocate" in second and "(8388608, 4)" in second  # NumPy's own words


def test_numpy_goes_on_with_fewer_threads():
    output = run("""
import numpy as np, refinedet_ext.numpy as rxn
boxes = np.random.default_rng(0).random((200_000, 4), dtype=np.float32)
rxn.set_num_threads(1)
expected = rxn.decode_boxes(boxes, boxes)
rxn.set_num_threads(200)
limit(100 << 20)  # a thread's stack takes 8 MB of it
for _ in range(2):
    assert (rxn.decode_boxes(boxes, boxes) == expected).all()
with open("/proc/self/status") as status:
    print([int(line.split()[1]) for line in status if line.startswith("Threads:")][0])
""")
    assert int(output) < 100
