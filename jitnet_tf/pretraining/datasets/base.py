"""What sets of photographs with labels share, however the labels are stored."""

import abc
import copy
import pathlib

from jitnet_tf.base.errors import UserError
from teacher import images

# More than this part of the photographs missing or unreadable is a mistake, not an accident.
MAX_LOST = 0.1


class LabeledDataset(abc.ABC):
    """Photographs with labels, numbered from 0: what a student is trained and judged on.

    A kind of set calls `_take` when it knows its photographs, and provides `identity` and
    `_read`.

    Args:
      file: where the labels are, a file or folder.
      folder: of the photographs.
      label_maker: a LabelMaker.

    Attributes:
      file: as a text.
      names: file names, in the order of their numbers.
      lost: what could not be read, a text by file name.
      unknown: names of what is labelled that are none of COCO's and so taken for background.
      absent: classes of the student that nothing is labelled as.
    """

    advice = "check the folder of the photographs"

    def __init__(self, file, folder, label_maker):
        self.file = str(file)
        self.lost = {}
        self.unknown, self.absent = [], []
        self._folder = pathlib.Path(folder)
        self._label_maker = label_maker

    def _take(self, images):
        """Notes the photographs, dicts with a "file_name" each; those not there are lost.

        Raises:
          UserError: too many are lost.
        """
        self._images = images
        self._announced = len(images) + len(self.lost)
        self._may_lose = MAX_LOST * self._announced
        if not self._folder.is_dir():
            raise UserError(
                f"{str(self._folder)!r} is not a folder: give the photographs of {self.file!r}"
            )
        there = []
        for image in images:
            path = self._folder / image["file_name"]
            if problem := self._missing(image, path):
                self.lost[image["file_name"]] = f"{path} ({problem})"
            else:
                there.append(image)
        self._images = there
        self.check_lost()

    def _missing(self, image, path):
        """What is not there of a photograph, or cannot be what it should: a text; "" for all."""
        return "" if path.is_file() else "missing"

    @property
    def names(self):
        """File names, in the order of their numbers."""
        return [image["file_name"] for image in self._images]

    def __len__(self):
        return len(self._images)

    @abc.abstractmethod
    def identity(self):
        """Bytes that tell the labels from others."""

    def keep(self, numbers):
        """Forgets all photographs but those of these numbers, which are numbered anew."""
        self._images = [self._images[number] for number in numbers]
        self._announced = len(self.lost) + len(self._images)
        self._may_lose = len(self.lost) + MAX_LOST * len(self._images)

    def subset(self, numbers):
        """Another set, with the photographs of these numbers alone."""
        part = copy.copy(self)
        part.lost = {}
        part.keep(numbers)
        return part

    def check_lost(self):
        """UserError where more photographs were lost than could be by accident."""
        if len(self.lost) > self._may_lose:
            example = next(iter(self.lost.values()))
            raise UserError(
                f"{len(self.lost)} of the {self._announced} photographs of {self.file!r} are "
                f"missing or damaged, such as {example}: {self.advice}"
            )

    def path(self, number):
        """Where a photograph is."""
        return self._folder / self._images[number]["file_name"]

    def read(self, number):
        """A photograph and what to learn from it.

        Returns:
          uint8 RGB [H, W, 3]; labels uint8 [H, W]; weights float32 [H, W], 0 where nothing is said
          of the class.

        Raises:
          UnreadableError: it is damaged; also noted in `lost`.
        """
        image = self._images[number]
        path = self.path(number)
        try:
            return self._read(image, path)
        except images.UnreadableError as error:
            self.lost[image["file_name"]] = str(error)
            raise

    @abc.abstractmethod
    def _read(self, image, path):
        """As `read`; UnreadableError says which file."""
