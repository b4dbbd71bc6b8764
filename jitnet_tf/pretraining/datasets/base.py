"""A dataset of labeled images, however its labels are stored."""

import abc
import copy
import pathlib

import numpy as np

from jitnet_tf.base.errors import UserError
from jitnet_tf.pretraining.datasets import names
from teacher.images import UnreadableError, inspect

# The share of missing or damaged images above which the dataset is taken to be wrong.
MAX_UNREADABLE = 0.1
SHOWN = 8  # names in a message


class LabeledDataset(abc.ABC):
    """Images with labels, numbered from 0.

    A subclass calls `_set_images` once it knows its images, and implements `identity`, `_read` and
    `_count`.

    Args:
      file: the labels, a file or folder.
      folder: the folder of the images.
      label_maker: a LabelMaker.

    Attributes:
      file: the argument, as a text.
      unreadable: the images that are missing or damaged, file name → problem.
      categories: the names in the labels.
      unknown: those that neither a class nor COCO has; they are taken for background.
      absent: classes of the student that no label has.
      found: what the labels name: (name, id, number of objects or pixels).
      pixels: image → int64 [C + 1], see `count`; `census.take` sets it.
      notes: what the user has to know of the labels and of the folders, a sentence each.
    """

    advice = "check the folder of the images"
    counted = "objects"  # what `found` counts
    found = ()

    def __init__(self, file, folder, label_maker):
        self.file = str(file)
        self.unreadable = {}
        self.categories, self.unknown, self.absent = [], [], []
        self.pixels, self.notes = {}, []
        self._folder = pathlib.Path(folder)
        self._label_maker = label_maker

    def _set_images(self, images):
        """Sets the images; those without a readable file or label become `unreadable`.

        images: a dict for each, with its "file_name" and what the subclass adds.

        Raises:
          UserError: there is no such folder, or too many images are unreadable.
        """
        if not self._folder.is_dir():
            raise UserError(
                f"{str(self._folder)!r} is not a folder: give the images of {self.file!r}"
            )
        self._images = []
        self._total = len(images) + len(self.unreadable)
        self._max_unreadable = MAX_UNREADABLE * self._total
        for image in images:
            path = self._folder / image["file_name"]
            if problem := self._problem(image, path):
                self.unreadable[image["file_name"]] = f"{path} ({problem})"
            else:
                self._images.append(image)
        self.check_unreadable()

    def _problem(self, image, path):
        """Describes what is wrong with an image; empty if nothing. Pixels are not read yet."""
        return "" if path.is_file() else "missing"

    @property
    def names(self):
        """File names, in the order of the images' numbers."""
        return [image["file_name"] for image in self._images]

    def __len__(self):
        return len(self._images)

    @abc.abstractmethod
    def identity(self):
        """Returns bytes that differ for different labels."""

    def keep(self, numbers):
        """Drops all images except these, which are renumbered from 0."""
        self._images = [self._images[number] for number in numbers]
        # Images that were unreadable before do not count against those kept.
        self._total = len(self.unreadable) + len(self._images)
        self._max_unreadable = len(self.unreadable) + MAX_UNREADABLE * len(self._images)

    def subset(self, numbers):
        """Returns another dataset, of these images only."""
        part = copy.copy(self)
        part.unreadable, part.notes = {}, []
        part.keep(numbers)
        return part

    def check_unreadable(self):
        """Raises UserError if more images are unreadable than MAX_UNREADABLE allows."""
        if len(self.unreadable) > self._max_unreadable:
            example = next(iter(self.unreadable.values()))
            raise UserError(
                f"{len(self.unreadable)} of the {self._total} images of {self.file!r} are "
                f"missing or damaged, such as {example}: {self.advice}"
            )

    def path(self, number):
        """Returns the path of an image."""
        return self._folder / self._images[number]["file_name"]

    def read(self, number):
        """Reads an image with its labels and loss weights.

        Returns:
          uint8 RGB [H, W, 3]; class ids uint8 [H, W]; weights float32 [H, W], 0 where the class
          is not known.

        Raises:
          UnreadableError: the image or its label is damaged; added to `unreadable`.
        """
        return self._noting(self._read, number)

    def count(self, number):
        """Counts the pixels of an image's labels; of the image, only the header is read.

        Returns:
          int64 [C + 1]: the pixels of each class that have a loss, then those without; remarks on
          the image, see `images.inspect`.

        Raises:
          UnreadableError: as `read`, but for damaged pixels.
        """
        size, counts, remarks = self._noting(self._count, number)
        return counts, [*self._noting(lambda _, path: inspect(path, size), number), *remarks]

    def _noting(self, function, number):
        """Calls function(image, path) of an image; adds it to `unreadable` if it is that."""
        image = self._images[number]
        try:
            return function(image, self.path(number))
        except UnreadableError as error:
            self.unreadable[image["file_name"]] = str(error)
            raise

    def _bins(self, labels, weights):
        """Returns the counts of `count` from labels and loss weights."""
        classes = len(self._label_maker.groups.names)
        counts = np.bincount(np.where(weights > 0, labels, classes).ravel(), minlength=classes + 1)
        return counts.astype(np.int64)

    def showing(self, class_id):
        """Returns the numbers of images with this class, as far as known without reading them."""
        return []

    def nothing(self, why):
        """Returns the message that no class can be learned from the labels. why: a predicate."""
        classes = ", ".join(self._label_maker.groups.names[1:])
        there = self.found_in_words()
        doubts = "".join(f"; {doubt}" for doubt in self.doubts())
        return (
            f"{self.file!r} {why} of any of the classes {classes}{doubts}; it has "
            f"{there or 'no categories'}: choose other --class_groups, or labels of these"
            f"{self.advice_on_names()}"
        )

    def doubts(self):
        """Returns texts on labels that do not count."""
        return []

    def found_in_words(self):
        """Returns the names in the labels with ids and counts; those of nothing come last."""
        rows = sorted(self.found, key=lambda row: -row[2])
        some = [f"{name} (id {number}, {count} {self.counted})" for name, number, count in rows]
        more = [f"{len(some) - SHOWN} more"] if len(some) > SHOWN else []
        return ", ".join([*some[:SHOWN], *more])

    def advice_on_names(self):
        """Returns how unknown categories become classes, or ''."""
        if not self.unknown:
            return ""
        name = self.unknown[0]
        meant = names.meant(name)
        line = f"{meant} = {meant}, {name}" if meant else name
        return f"; to learn them, give --class_groups=FILE with lines such as '{line}'"

    @abc.abstractmethod
    def _read(self, image, path):
        """Implements `read`; an UnreadableError names the file."""

    @abc.abstractmethod
    def _count(self, image, path):
        """Returns the labels' (H, W), the counts of `count`, and remarks on the labels."""
