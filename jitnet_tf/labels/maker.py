"""Labels and loss weights from a teacher's detections (paper §3.2)."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from jitnet_tf.labels.groups import ClassGroups
from teacher.class_names import meanings, plain


@dataclasses.dataclass(frozen=True)
class LabelMaker:
    """Turns detections into training targets: labels and loss weights.

    Attributes:
      groups: the student's classes.
      score_threshold: objects below this score are ignored.
      box_weight: loss weight inside the boxes (paper: 5; EastGit0: 10), 1 outside.
      box_dilation: fraction of a box's size added on every side. The paper's "dilated by 15 %" is
        .15 in EastGit0; ShadowTutor adds 15 % in total, .075 on each side.
      hesitation: score from which an object below score_threshold makes no label, but takes the
        weight from its pixels: there the teacher does not know, and "background" would make the
        student forget. None: such objects are background (the paper).
      categories: id → name of the detections' categories: those of their teacher. None for COCO's
        and those that only the groups name.
      ignored: the region to ignore, bool [H, W], for frames of this size; None for none. Labels are
        background there, weights 0, and objects that lie wholly in it do not exist.
    """

    groups: ClassGroups
    score_threshold: float = 0.5
    box_weight: float = 5.0
    box_dilation: float = 0.15
    hesitation: float | None = None
    categories: Mapping[int, str] | None = None
    ignored: np.ndarray | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self):
        """Sets the default of the categories."""
        if self.categories is None:
            object.__setattr__(self, "categories", self.groups.vocabulary())

    def labels(self, detections, frame_size):
        """Returns class ids, uint8 [H, W]; where objects overlap, the higher id wins (EastGit0)."""
        labels = np.zeros(frame_size, np.uint8)
        detections = detections.above(self.score_threshold)
        for class_id, mask, (y, x) in zip(
            self._classes(detections), detections.masks, detections.origins, strict=True
        ):
            window = labels[y : y + mask.shape[0], x : x + mask.shape[1]]
            np.maximum(window, mask * class_id, out=window)
        if self.ignored is not None:
            labels[self.ignored] = 0
        return labels

    def weights(self, detections, frame_size):
        """Returns loss weights, float32 [H, W]: box_weight in dilated boxes of labeled objects.

        See `hesitation` and `ignored` for weights of 0.
        """
        H, W = frame_size
        weights = np.ones(frame_size, np.float32)
        sure = self._counted(detections)
        boxes = sure.boxes[self._classes(sure) > 0].astype(np.float64)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2) * (-1, -1, 1, 1)
        pixels = (boxes + self.box_dilation * sides) * (H, W, H, W)
        for y0, x0, y1, x1 in np.clip(np.rint(pixels), 0, (H, W, H, W)).astype(int):
            weights[y0:y1, x0:x1] = self.box_weight
        if self.hesitation is not None:
            weights[self._doubtful(detections, frame_size)] = 0
        if self.ignored is not None:
            weights[self.ignored] = 0
        return weights

    def _counted(self, detections):
        """Returns the objects that are sure enough, but for those wholly in the ignored region."""
        sure = detections.above(self.score_threshold)
        if self.ignored is None:
            return sure
        return sure.take([i for i in range(len(sure)) if not self._is_ignored(sure, i)])

    def _is_ignored(self, detections, i):
        mask, (y, x) = detections.masks[i], detections.origins[i]
        outside = ~self.ignored[y : y + mask.shape[0], x : x + mask.shape[1]]
        return mask.any() and not (mask & outside).any()

    def _doubtful(self, detections, frame_size):
        """Returns the pixels of unsure objects in a class that have no label, bool [H, W]."""
        likely = self._likely.labels(detections, frame_size) > 0
        return likely & (self.labels(detections, frame_size) == 0)

    @functools.cached_property
    def _likely(self):
        return dataclasses.replace(self, score_threshold=self.hesitation)

    def names_found(self, detections):
        """Returns the category of each object that is sure enough, also of those in no group."""
        found = self._counted(detections).classes.tolist()
        return tuple(self.categories.get(number, f"id {number}") for number in found)

    def _classes(self, detections):
        return self.class_ids[detections.classes]

    @functools.cached_property
    def class_ids(self):
        """The class id of each category id: see `ClassGroups.class_ids`."""
        return self.groups.class_ids(self.categories)

    @functools.cached_property
    def ids(self):
        """The id of each category by its names: its own and those in the groups.

        Names are as compared: see `class_names.plain`.
        """
        own = {plain(name): number for number, name in self.categories.items()}
        members = self.groups.class_of_names()
        other = {
            meaning: number
            for number, name in self.categories.items()
            for meaning in meanings(name)
            if meaning in members
        }
        return other | own
