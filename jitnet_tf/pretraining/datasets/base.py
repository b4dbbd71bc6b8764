"""A dataset of labeled images, however its labels are stored."""

import abc
import copy
import pathlib

from jitnet_tf.base.errors import UserError
from teacher.images import UnreadableError

# The share of missing or damaged images above which the dataset is taken to be wrong.
MAX_UNREADABLE = 0.1


class LabeledDataset(abc.ABC):
    """Images with labels, numbered from 0.

    A subclass calls `_set_images` once it knows its images, and implements `identity` and `_read`.

    Args:
      file: the labels, a file or folder.
      folder: the folder of the images.
      label_maker: a LabelMaker.

    Attributes:
      file: the argument, as a text.
      unreadable: the images that are missing or damaged, file name → problem.
      unknown: names of labeled classes that are not COCO's; they are taken for background.
      absent: classes of the student that no label has.
    """

    advice = "check the folder of the images"

    def __init__(self, file, folder, label_maker):
        self.file = str(file)
        self.unreadable = {}
        self.unknown, self.absent = [], []
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
        part.unreadable = {}
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
        image = self._images[number]
        try:
            return self._read(image, self.path(number))
        except UnreadableError as error:
            self.unreadable[image["file_name"]] = str(error)
            raise

    @abc.abstractmethod
    def _read(self, image, path):
        """Implements `read`; an UnreadableError names the file."""
