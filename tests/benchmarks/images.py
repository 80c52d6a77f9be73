"""Images per second that trainings read from folders and tar shards, beside a plain loader of PIL, in one run.

`python -m tests.benchmarks.images [--quick] [--json]` prints a table and, last, one JSON line.

JPEG files are decoded, scaled, cut to the middle square and normalised in two processes. Ours: the batches of a
recipe's data (`StreamedSamples`), in the order of its seed. The plain loader is what anyone would write: a `Dataset`
that opens a file with PIL, and torch's `DataLoader`. Both have started before the clock does, and take turns.

- `images_folder`, `images_tar`, `images_plain`: images per second of wall time, medians.
- `folder_ratio`, `tar_ratio`: images per second of processor time, of all processes, over those of the plain loader:
  the median over the turns.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.streamed import samples_of

SIZE, BATCH, PROCESSES, CLASSES, WARM = 64, 32, 2, 4, 12  # pixels, images, processes, classes, batches before the clock


def jpeg(rng: np.random.Generator) -> bytes:
    """A smooth picture of 200 x 150 pixels."""
    coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8))
    content = io.BytesIO()
    coarse.resize((200, 150), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
    return content.getvalue()


def write(folder: Path, images: int) -> None:
    """The same pictures as files in folders, and in one tar shard."""
    rng = np.random.default_rng(0)
    with tarfile.open(folder / "train-000.tar", "w") as tar:
        for n in range(images):
            content, kind = jpeg(rng), n % CLASSES
            place = folder / "train" / str(kind)
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{n:06d}.jpg").write_bytes(content)
            for ending, data in (("jpg", content), ("cls", str(kind).encode())):
                about = tarfile.TarInfo(f"{n:06d}.{ending}")
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))


class Plain(Dataset[tuple[Tensor, int]]):
    """Image files, as PIL reads them."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted((folder / "train").glob("*/*.jpg"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, n: int) -> tuple[Tensor, int]:
        image = Image.open(self.files[n]).convert("RGB")
        scale = SIZE / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)))
        left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
        pixels = torch.from_numpy(np.array(image.crop((left, top, left + SIZE, top + SIZE))))
        return (pixels.permute(2, 0, 1).float() / 255 - 0.5) / 0.5, int(self.files[n].parent.name)


def plain(folder: Path) -> Iterator[Any]:
    """Batches without an end."""
    pictures = Plain(folder)
    sampler = RandomSampler(pictures, replacement=True, num_samples=10**9)
    return iter(DataLoader(pictures, BATCH, sampler=sampler, num_workers=PROCESSES))


def ours(folder: Path, data: Mapping[str, Any]) -> Iterator[Any]:
    """The batches of a recipe, without an end."""
    net, evaluate = {"net": "cnn", "channels": [2]}, {"splits": ["train"], "first": 8}
    stored = {**data, "folder": str(folder), "size": SIZE, "processes": PROCESSES}
    fields = {"data": stored, "net": net, "evaluate": evaluate, "steps": 1, "batch_size": BATCH}
    recipe = Recipe.model_validate(fields)
    samples = samples_of([recipe], recipe.data.load(folder))
    step = 0
    while True:
        yield samples.batch(step)
        step += 1


def processor() -> float:
    """Processor time of this process and all that it has started, s."""
    me = psutil.Process()
    return sum(p.cpu_times().user + p.cpu_times().system for p in (me, *me.children(recursive=True)))


def rates(start: Callable[[], Iterator[Any]], batches: int) -> tuple[float, float]:
    """Images per second of wall time, and of processor time."""
    source = start()
    for _ in range(WARM):
        next(source)
    wall, busy = time.perf_counter(), processor()
    for _ in range(batches):
        next(source)
    wall, busy = time.perf_counter() - wall, processor() - busy
    return batches * BATCH / wall, batches * BATCH / busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    given = parser.parse_args()
    torch.set_num_threads(1)
    images, batches, turns = (512, 50, 3) if given.quick else (2048, 200, 7)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, images)
        sides: dict[str, Callable[[], Iterator[Any]]] = {
            "folder": lambda: ours(folder, {"source": "image_folder", "splits": {"train": "train"}}),
            "tar": lambda: ours(folder, {"source": "webdataset", "shards": {"train": "*.tar"}, "classes": CLASSES}),
            "plain": lambda: plain(folder),
        }
        seen = [{name: rates(start, batches) for name, start in sides.items()} for _ in range(turns)]
    figures = {f"images_{name}": statistics.median(turn[name][0] for turn in seen) for name in sides}
    for name in ("folder", "tar"):
        ratios = sorted(turn[name][1] / turn["plain"][1] for turn in seen)
        figures[f"{name}_ratio"] = statistics.median(ratios)
        if not given.json:
            print(f"{name} over plain, processor time, n = {turns}: {', '.join(f'{r:.2f}' for r in ratios)}")
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
