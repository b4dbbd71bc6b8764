"""The pixels of each class in datasets, counted before anything is learned from them."""

import collections
import concurrent.futures
import os

import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.pretraining.datasets.base import MAX_UNREADABLE
from teacher.images import UnreadableError, remarked

COUNTED = 1000  # images of a dataset; more would delay the start
MORE = 3  # images for each class that is labeled, but not in those
PART = 64  # images that are counted at a time
# A class above this share of the pixels that count is rather the background.
MAX_SHARE = 0.5


def take(dataset):
    """Counts the pixels of a dataset by class: sets its `pixels`, and adds to its `notes`.

    Up to COUNTED images are looked at, evenly spaced; more only while nothing is found to learn.

    Raises:
      UserError: there is nothing to learn, or too many images are unreadable.
    """
    total = len(dataset)
    step = -(-total // COUNTED)
    sample = list(range(0, total, max(step, 1)))
    rest = [number for number in range(total) if step and number % step]
    remarks = collections.defaultdict(list)
    with progress_bar(total=len(sample), desc="counting pixels", leave=False, delay=1) as progress:
        unreadable = _count(dataset, sample, remarks, progress)
        if unreadable > MAX_UNREADABLE * len(sample):
            dataset.check_unreadable()  # its message is better
            raise UserError(
                f"{unreadable} of {len(sample)} images of {dataset.file!r} that were looked at are "
                f"missing or damaged, such as {next(reversed(dataset.unreadable.values()))}: "
                f"{dataset.advice}"
            )
        for start in range(0, len(rest), PART):
            if _learnable(dataset):
                break
            part = rest[start : start + PART]
            progress.total += len(part)
            _count(dataset, part, remarks, progress)
        if not _learnable(dataset):
            raise UserError(dataset.nothing("has no pixel"))
        for class_id in np.flatnonzero(pixels(dataset)[1:-1] == 0) + 1:
            _count(dataset, dataset.showing(class_id)[:MORE], remarks, progress)
    dataset.notes += [f"{dataset.file}: {doubt}" for doubt in dataset.doubts()]
    if dataset.unknown:
        dataset.notes.append(
            f"{dataset.file}: of no class and not COCO's, taken for background: "
            f"{', '.join(dataset.unknown)}{dataset.advice_on_names()}"
        )
    dataset.notes += [f"{dataset.file}: {sentence}" for sentence in remarked(remarks)]


def _count(dataset, numbers, remarks, progress):
    """Counts images; returns the number of unreadable ones."""

    def count(number):
        try:
            return number, dataset.count(number)
        except UnreadableError:
            return number, None

    unreadable, names = 0, dataset.names
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(numbers), PART):
            for number, counted in pool.map(count, numbers[start : start + PART]):
                progress.update()
                if counted is None:
                    unreadable += 1
                    # Threads add them in any order.
                    name = names[number]
                    dataset.unreadable[name] = dataset.unreadable.pop(name)
                    continue
                dataset.pixels[names[number]], found = counted
                for remark in found:
                    remarks[remark].append(names[number])
    return unreadable


def pixels(dataset):
    """Returns the counts of all counted images of a dataset, int64 [C + 1]; see `count`."""
    return _rows(dataset).sum(axis=0)


def _rows(dataset):
    rows = [dataset.pixels[name] for name in dataset.names if name in dataset.pixels]
    classes = len(next(iter(dataset.pixels.values()), (0, 0)))
    return np.reshape(rows, (len(rows), classes)).astype(np.int64)


def _learnable(dataset):
    return bool(dataset.pixels) and pixels(dataset)[1:-1].any()


def describe(dataset, class_names):
    """Returns the counts of a dataset as plain values, for summary.json."""
    rows = _rows(dataset)
    counts, images = rows.sum(axis=0).tolist(), (rows > 0).sum(axis=0).tolist()
    return {
        "labels": dataset.file,
        "images": len(dataset),
        "counted": len(rows),
        "pixels": dict(zip(class_names, counts[:-1], strict=True)),
        "pixels_without_loss": counts[-1],
        "images_with": dict(zip(class_names, images[:-1], strict=True)),
    }


def table(described):
    """Returns the counts of `describe` as lines of text; classes without a pixel are left out."""
    counts, without = described["pixels"], described["pixels_without_loss"]
    total = max(sum(counts.values()) + without, 1)
    counted, images = described["counted"], described["images"]
    some = f"{images} images" if counted == images else f"{counted} of {images} images"
    rows = [
        f"  {name:<32}{count / total:>9.3%}  in {described['images_with'][name]} images"
        for name, count in counts.items()
        if count
    ]
    rows += [f"  {'without loss':<32}{without / total:>9.3%}"] if without else []
    return [f"pixels in {some}, labeled by {described['labels']}", *rows]


def notes(datasets, class_names):
    """Returns what datasets that are learned from together lack, a sentence each."""
    lines = []
    counts = sum(map(pixels, datasets))[:-1]
    found = "; ".join(text for one in datasets if (text := one.found_in_words()))
    if absent := [name for name, count in zip(class_names, counts, strict=True) if not count]:
        lines.append(f"no image shows {', '.join(absent)}; labeled are {found}")
    share, name = max(zip((counts / max(counts.sum(), 1))[1:], class_names[1:], strict=True))
    if share > MAX_SHARE:
        lines.append(
            f"{name!r} is on {share:.0%} of the pixels: check that names and ids of the labels "
            "belong together"
        )
    return lines
