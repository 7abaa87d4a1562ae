"""Images per second of the training pipeline, beside albumentations and torchvision's transforms v2.

    python -m benchmarks.pipeline [--data path/to/voc] [--sizes 320 512] [--workers 0 1 2] [--seconds 10] [--json FILE]

From JPEG files to batches of uint8 pixels and boxes, with the steps of SSD's training in all three: colours
(brightness, contrast, saturation, hue, each with probability 0.5), zooming out up to four times as wide (probability
0.5), a crop that keeps objects, the resize to the network's input, and a flip. Each library has its own loader of
files, its own crop and its own random numbers; a batch is what its users would feed a network. Where they offer several
ways, the faster one: torchvision gets pixels as tensors, and resizes are linear in all three (ours takes one of five
interpolations by default, which is the line "as trained").

The contestants take turns, a batch at a time without workers and a few seconds each with them, on one thread, so that
another process on the machine slows all of them. Peers that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from refinedet.data import DetectionDataset, TrainPipeline, VOCDetection, build_loader
from refinedet.data.synthetic import render_dataset

from .peers import optional, version_of

BATCH = 16
MEAN = (104.0, 117.0, 123.0)
RENDERED, SIDE = 96, 640


class Records:
    """Path, boxes (N, 4) and labels (N,) of every image: what a peer's users write their data sets around."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self.records = [dataset.record(index) for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.records)


class Albumentations(Records, Dataset[Any]):
    def __init__(self, dataset: DetectionDataset, size: int) -> None:
        super().__init__(dataset)
        a = optional("albumentations")
        still = (1, 1)  # a factor that changes nothing
        self.transform = a.Compose(
            [
                a.ColorJitter((0.875, 1.125), still, still, (0, 0), p=0.5),
                a.ColorJitter(still, (0.5, 1.5), still, (0, 0), p=0.5),
                a.ColorJitter(still, still, (0.5, 1.5), (0, 0), p=0.5),
                a.ColorJitter(still, still, still, (-0.1, 0.1), p=0.5),
                a.CropAndPad(percent=(0.0, 1.5), keep_size=False, fill=MEAN, p=0.5),
                a.RandomSizedBBoxSafeCrop(size, size, interpolation=cv2.INTER_LINEAR),
                a.HorizontalFlip(p=0.5),
            ],
            bbox_params=a.BboxParams("pascal_voc", label_fields=["labels"], min_visibility=0.01),
            seed=0,
        )

    def __getitem__(self, index: int) -> Any:
        record = self.records[index]
        image = cv2.imread(record.path)
        out = self.transform(image=image, bboxes=record.boxes, labels=record.labels)
        return torch.from_numpy(np.ascontiguousarray(out["image"].transpose(2, 0, 1))), out["bboxes"], out["labels"]


class Torchvision(Records, Dataset[Any]):
    def __init__(self, dataset: DetectionDataset, size: int) -> None:
        super().__init__(dataset)
        v2 = optional("torchvision.transforms.v2")
        fill: Any = dict.fromkeys([optional("torchvision.tv_tensors").Image], MEAN[::-1])
        self.transform = v2.Compose(
            [
                v2.RandomPhotometricDistort(p=0.5),
                v2.RandomZoomOut(fill=fill, p=0.5),
                v2.RandomIoUCrop(),
                v2.Resize((size, size), antialias=False),
                v2.RandomHorizontalFlip(p=0.5),
                v2.SanitizeBoundingBoxes(),
            ]
        )

    def __getitem__(self, index: int) -> Any:
        tv = optional("torchvision.tv_tensors")
        io = optional("torchvision.io")
        record = self.records[index]
        image = tv.Image(io.decode_jpeg(io.read_file(record.path), mode=io.ImageReadMode.RGB))
        boxes = tv.BoundingBoxes(torch.from_numpy(record.boxes), format="XYXY", canvas_size=image.shape[-2:])
        image, target = self.transform(image, {"boxes": boxes, "labels": torch.from_numpy(record.labels)})
        return image.as_subclass(torch.Tensor), target["boxes"].numpy(), target["labels"].numpy()


def stack(samples: list[Any]) -> Any:
    images, boxes, labels = zip(*samples, strict=True)
    return torch.stack(images), boxes, labels


def start_worker(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


Loader = Callable[[int], Any]


def contestants(dataset: DetectionDataset, size: int) -> dict[str, Loader]:
    """How each makes a loader with a number of workers."""

    def ours(**options: Any) -> Loader:
        def make(workers: int) -> Any:
            pipeline = TrainPipeline(size, **options)
            return build_loader(dataset, pipeline, batch_size=BATCH, shuffle=True, drop_last=True, workers=workers)

        return make

    def peer(kind: Any) -> Loader:
        def make(workers: int) -> Any:
            more: dict[str, Any] = {"persistent_workers": True, "worker_init_fn": start_worker} if workers else {}
            samples = kind(dataset, size)
            return DataLoader(samples, BATCH, True, drop_last=True, num_workers=workers, collate_fn=stack, **more)

        return make

    found = {"refinedet": ours(interpolations=("linear",)), "refinedet as trained": ours()}
    if optional("albumentations") is not None:
        found["albumentations"] = peer(Albumentations)
    if optional("torchvision") is not None:
        found["torchvision v2"] = peer(Torchvision)
    return found


def endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def measure(loaders: dict[str, Loader], workers: int, seconds: float, rounds: int = 5) -> dict[str, float]:
    """Images per second of each, the median of some rounds in which all take their turn.

    With workers only one contestant's exist at a time: those of the others would go on filling their queues.
    """
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, make in loaders.items():
            batches = endless(make(workers))
            for _ in range(1 + 3 * workers):  # starts, and lets go of what was prepared while it started
                next(batches)
            started, images = time.perf_counter(), 0
            while time.perf_counter() - started < seconds / rounds:
                next(batches)
                images += BATCH
            rates[name].append(images / (time.perf_counter() - started))
            batches.close()  # type: ignore[attr-defined]
    return {name: statistics.median(found) for name, found in rates.items()}


def photographs(data: str | None, folder: Path) -> DetectionDataset:
    """The training images of a VOC data set, or rendered ones: JPEG files of 640 x 640 pixels."""
    if data is not None:
        return VOCDetection(data, "train", classes="auto", quiet=True)
    from refinedet.data import COCODetection

    made = render_dataset(folder, train=RENDERED, test=1, size=SIDE, seed=0)
    return COCODetection(made.images["train"], made.annotations["train"], quiet=True)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder in VOC's layout; rendered images by default")
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 512])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each contestant, size and number of workers")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        dataset = photographs(options.data, Path(folder))
        for size in options.sizes:
            loaders = contestants(dataset, size)
            for workers in options.workers:
                rates = measure(loaders, workers, options.seconds)
                rows.append({"size": size, "workers": workers, "images_per_second": rates})
                line = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
                peers = [rate for name, rate in rates.items() if not name.startswith("refinedet")]
                ratio = f"; {rates['refinedet'] / max(peers):.2f} times the best peer" if peers else ""
                print(f"{size} px, {workers} workers: {line} images/s{ratio}", flush=True)
    versions = {name: version_of(name) for name in ("cv2", "torch", "albumentations", "torchvision")}
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    content = {"rows": rows, "versions": versions}
    if options.json is not None:
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return content


if __name__ == "__main__":
    main()
