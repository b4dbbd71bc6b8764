"""Triggers: signs that the teacher should be asked before the stride is over."""

from typing import Protocol

import cv2
import numpy as np

CUT_SIZE = (64, 36)  # width and height; a cut is as visible in a thumbnail
# PySceneDetect's ContentDetector: mean change of hue, saturation and value, of 255.
CUT_CHANGE = 27.0
# Disagreement of student and warped label, above its mean since the latest teacher frame.
NOVEL_RISE = 0.3
SETTLED_FRAMES = 4  # that the mean is taken over at least


class Trigger(Protocol):
    """Decides on each frame, before it is segmented, whether the teacher should see it.

    Derive from it for the defaults of `get_state` and `set_state`, which fit one without state.
    """

    def fires(self, frame: np.ndarray, disagreement: float | None) -> bool:
        """Takes the next frame, uint8 RGB [H, W, 3]; returns whether to ask the teacher now.

        disagreement: of the output on the latest frame, 0…1; None without any.
        """

    def asked(self) -> None:
        """Notes that the teacher is asked."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the state for a checkpoint, by name."""
        return {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores `get_state`'s arrays. KeyError or ValueError where they do not fit."""


class CutTrigger(Trigger):
    """Fires on the first frame after a cut.

    ignored: the region that it does not see, bool [H, W]; None for none.
    """

    def __init__(self, ignored=None):
        self._last = self._counted = None
        if ignored is not None:
            self._counted = (~ignored).astype(np.uint8)
            # The part of each pixel of the thumbnail that counts, 0…1.
            self._parts = _thumbnail(self._counted.astype(np.float32))

    def fires(self, frame, disagreement):
        """Compares a thumbnail with the last frame's."""
        small = _thumbnail(frame) if self._counted is None else self._thumbnail_of_counted(frame)
        now = cv2.cvtColor(small, cv2.COLOR_RGB2HSV).astype(np.int16)
        last, self._last = self._last, now
        if last is None:
            return False
        change = np.abs(now - last)
        if self._counted is not None:
            change = np.average(change.mean(-1), weights=self._parts)
        return float(change.mean()) > CUT_CHANGE

    def _thumbnail_of_counted(self, frame):
        """Returns a thumbnail whose pixels are the means of those that count, black without any."""
        sums = _thumbnail(cv2.copyTo(frame, self._counted).astype(np.float32))
        parts = self._parts[..., None]
        means = np.divide(sums, parts, out=np.zeros_like(sums), where=parts > 0)
        return np.rint(np.clip(means, 0, 255)).astype(np.uint8)

    def get_state(self):
        """Returns the last frame's thumbnail, int16 [h, w, 3]."""
        return {} if self._last is None else {"last": self._last}

    def set_state(self, state):
        """Restores the thumbnail."""
        self._last = state.get("last")
        if self._last is not None:
            found = self._last.dtype, self._last.shape
            if found != (np.int16, (*CUT_SIZE[::-1], 3)):
                raise ValueError(f"a thumbnail of {found}")


def _thumbnail(pixels):
    return cv2.resize(pixels, CUT_SIZE, interpolation=cv2.INTER_AREA)


class NoveltyTrigger(Trigger):
    """Fires where student and warped label begin to disagree: one of them does not know something.

    Only a rise counts: on many streams they differ all the time.
    """

    def __init__(self):
        self.asked()

    def fires(self, frame, disagreement):
        """Compares the latest disagreement with its mean since the latest teacher frame."""
        if disagreement is None:
            return False
        mean = self._total / self._frames if self._frames else 0.0
        settled = self._frames >= SETTLED_FRAMES
        self._total, self._frames = self._total + disagreement, self._frames + 1
        return settled and disagreement > mean + NOVEL_RISE

    def asked(self):
        """Starts the mean anew."""
        self._total, self._frames = 0.0, 0

    def get_state(self):
        """Returns sum and number of the disagreements since the latest teacher frame."""
        return {"total": np.array(self._total), "frames": np.array(self._frames)}

    def set_state(self, state):
        """Restores them."""
        total, frames = float(state["total"]), int(state["frames"])
        if not 0 <= total <= frames:  # NaN, too
            raise ValueError(f"a disagreement of {total} in {frames} frames")
        self._total, self._frames = total, frames
