"""Drawing of a run: video | student | latest teacher label, with a legend and a status line."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from jitnet_tf.sinks.lettering import FONT, Name
from jitnet_tf.sinks.palette import colorize, palette

Teacher = tuple[np.ndarray, np.ndarray, int]  # frame, labels, frame index

_GROUND, _WHITE, _GRAY, _ACCENT = (20, 22, 26), (240, 240, 240), (160, 165, 172), (255, 190, 70)
_STRIPE = (96, 100, 106)  # in the ignored region
_MIN_PANEL_WIDTH, _MAX_PANEL_HEIGHT = 480, 1080  # pixels; text needs the former


@dataclass(frozen=True)
class Status:
    """The values in the status line.

    Attributes:
      index: the frame's.
      stride: in force after it.
      accuracy: mean IoU before and after updating on the latest teacher frame, if there was one.
      teacher_fraction: teacher frames per frame so far, 0…1.
      updates: so far.
      gap: seconds for which a live stream was gone a moment ago; None otherwise.
    """

    index: int
    stride: int
    accuracy: tuple[float, float] | None
    teacher_fraction: float
    updates: int
    gap: float | None = None


def blend(frame: np.ndarray, class_map: np.ndarray) -> np.ndarray:
    """Lays class colors, with a solid border each, over a dimmed frame.

    Args:
      frame: uint8 RGB [H, W, 3].
      class_map: uint8 [H, W]; 0, the background, stays clear.

    Returns:
      uint8 RGB [H, W, 3].
    """
    colors = colorize(class_map)
    picture = cv2.convertScaleAbs(frame, alpha=0.75)
    cv2.copyTo(cv2.addWeighted(frame, 0.5, colors, 0.5, 0), class_map, picture)
    # Pixels whose neighborhood holds a smaller id: borders are drawn once, and on the inside.
    border = cv2.subtract(class_map, cv2.erode(class_map, np.ones((5, 5), np.uint8)))
    return cv2.copyTo(colors, border, picture)


class Overlay:
    """Draws pictures of one size for all frames of a run.

    Args:
      class_names: by class id, the background's included.
      size: (H, W) of the frames.
      max_width: of the pictures, in pixels. Frames are shrunk to fit in three times, and small
        ones enlarged until there is room for text.
      ignored: the region to ignore, bool [H, W], which is shown dark and striped beside the video.

    Attributes:
      frame_size: (H, W) of the frames.
      size: (height, width) of the pictures, both even.
      problems: names that are shown as numbers, as a list of at most one sentence.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        size: tuple[int, int],
        max_width: int = 1920,
        ignored: np.ndarray | None = None,
    ):
        self.frame_size = height, width = tuple(size)
        # For 1920 it is 640, to which 720p and 1080p shrink by whole numbers: fast and sharp.
        widest = max_width // 6 * 2
        narrowest = min(_MIN_PANEL_WIDTH, widest)
        scale = min(min(max(width, narrowest), widest) / width, _MAX_PANEL_HEIGHT / height)
        self._picture = (_even(width * scale), _even(height * scale))
        self._panel_width = max(self._picture[0], narrowest // 2 * 2)
        # Everything about text follows from the height of its capitals.
        self._em = self._panel_width / 38
        self._text_scale = self._em / cv2.getTextSize("X", FONT, 1, 1)[0][1]
        self._thickness = max(1, round(self._em / 14))
        self._line = round(2.4 * self._em)
        total_width = 3 * self._panel_width
        self._names = [
            Name(name, class_id, self._em, self._text_scale, self._thickness)
            for class_id, name in enumerate(class_names)
        ]
        numbered = [
            f"{class_id} for {name!r}"
            for class_id, name in enumerate(class_names)
            if class_id and self._names[class_id].numbered
        ]
        self.problems = []
        if numbered:
            self.problems.append(
                f"the overlay's legend shows numbers, {', '.join(numbered)}: no font of this "
                "machine has the letters"
            )
        self._ids = range(1, len(class_names))
        for self._rows in (1, 2):
            self._all_fit = len(self._placed(self._ids, total_width)) == len(self._ids)
            if self._all_fit:
                break
        self.size = (
            _even(self._line + self._picture[1] + (1.3 + self._rows) * self._line),
            total_width,
        )
        self._stripes = None if ignored is None else self._striped(ignored)
        self._ground = np.full((*self.size, 3), _GROUND, np.uint8)
        # Drawn again only when they change: the teacher's (frame index, panel), (ids, legend).
        self._teacher_panel: tuple[int, np.ndarray] | None = None
        self._legend: tuple[list[int], np.ndarray] | None = None

    def draw(
        self, frame: np.ndarray, prediction: np.ndarray, teacher: Teacher | None, status: Status
    ) -> np.ndarray:
        """Draws one frame's picture.

        Args:
          frame: uint8 RGB [H, W, 3].
          prediction: the student's class ids, uint8 [H, W].
          teacher: the latest teacher frame, its labels and its index, or None before the first.
          status: for the status line.

        Returns:
          uint8 RGB [*self.size, 3].
        """
        canvas = self._ground.copy()
        fitted = self._fit(frame)
        if status.gap is None:
            self._panel(canvas, 0, fitted, "video")
        else:
            gone = datetime.timedelta(seconds=round(status.gap))
            self._panel(canvas, 0, fitted, f"video, back after {gone}", _ACCENT)
        self._panel(canvas, 1, self._blend(fitted, prediction), "student")
        if teacher:
            if self._teacher_panel is None or self._teacher_panel[0] != teacher[2]:
                labeled = self._blend(self._fit(teacher[0]), teacher[1])
                self._teacher_panel = (teacher[2], labeled)
            color = _ACCENT if teacher[2] == status.index else _WHITE
            self._panel(canvas, 2, self._teacher_panel[1], f"teacher, frame {teacher[2]}", color)
        else:
            self._panel(canvas, 2, None, "teacher: not asked yet")
        self._draw_status(canvas, status)
        self._draw_legend(canvas, [prediction, teacher[1]] if teacher else [prediction])
        return canvas

    def triptych(self, frame: np.ndarray, prediction: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Frame | student | labels without any text, each as `draw` shows it."""
        fitted = self._fit(frame)
        panels = [fitted, self._blend(fitted, prediction), self._blend(fitted, labels)]
        return np.concatenate(panels, axis=1)

    def _fit(self, frame):
        shrinks = self._picture[0] <= frame.shape[1]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        return cv2.resize(frame, self._picture, interpolation=interpolation)

    def _blend(self, fitted, class_map):
        fitted_map = cv2.resize(class_map, self._picture, interpolation=cv2.INTER_NEAREST)
        picture = blend(fitted, fitted_map)
        if self._stripes is not None:
            dark, stripes = self._stripes
            cv2.copyTo(cv2.convertScaleAbs(picture, alpha=0.4), dark, picture)
            cv2.copyTo(np.full_like(picture, _STRIPE), stripes, picture)
        return picture

    def _striped(self, ignored):
        """Returns the ignored region and the stripes in it, each uint8, of a picture's size."""
        dark = cv2.resize(ignored.astype(np.uint8), self._picture, interpolation=cv2.INTER_NEAREST)
        y, x = np.indices(dark.shape)
        is_stripe = (y + x) % round(1.2 * self._em) < max(self._em / 8, 1)
        return dark, dark * is_stripe.astype(np.uint8)

    def _panel(self, canvas, place, picture, title, color=_WHITE):
        left = place * self._panel_width
        self._text(canvas, title, left + self._em, 0.5 * self._line, color)
        if picture is not None:
            inset = left + (self._panel_width - self._picture[0]) // 2
            bottom, right = self._line + self._picture[1], inset + self._picture[0]
            canvas[self._line : bottom, inset:right] = picture
            if place:
                canvas[self._line : bottom, left - 1 : left + 1] = _GROUND

    def _draw_status(self, canvas, status):
        middle = self._line + self._picture[1] + 0.75 * self._line
        # Each in a place of its own, so that the line does not wobble from frame to frame.
        values = {
            "frame": f"{status.index}",
            "stride": f"{status.stride}",
            "teacher": f"{100 * status.teacher_fraction:.1f}%",
            "updates": f"{status.updates}",
            "accuracy": f"{status.accuracy[0]:.2f}" if status.accuracy else "-",
        }
        for place, (name, value) in enumerate(values.items()):
            left = place / 2 * self._panel_width
            x = self._text(canvas, name, left + self._em, middle, _GRAY) + 0.6 * self._em
            x = self._text(canvas, value, x, middle, _WHITE) + 0.6 * self._em
        if status.accuracy is None:
            return
        tip = x + 1.6 * self._em
        ends = [(round(end), round(middle)) for end in (x, tip)]
        cv2.arrowedLine(canvas, *ends, _GRAY, self._thickness, cv2.LINE_AA, tipLength=0.35)
        self._text(canvas, f"{status.accuracy[1]:.2f}", tip + 0.6 * self._em, middle, _WHITE)

    def _draw_legend(self, canvas, class_maps):
        ids = list(self._ids)
        if not self._all_fit:  # then first those to be seen
            seen = sum(cv2.calcHist([ids_of], [0], None, [256], [0, 256]) for ids_of in class_maps)
            ids.sort(key=lambda class_id: not seen[class_id])
        if self._legend is None or self._legend[0] != ids:
            self._legend = (ids, self._legend_strip(ids))
        canvas[-len(self._legend[1]) :] = self._legend[1]

    def _legend_strip(self, ids):
        strip = np.full((round(self._rows * self._line), self.size[1], 3), _GROUND, np.uint8)
        placed = self._placed(ids, self.size[1])
        half = round(self._em / 2)
        for class_id, x, row, _ in placed:
            middle, color = (row + 0.5) * self._line, palette()[class_id].tolist()
            corner = (round(x), round(middle) - half)
            cv2.rectangle(strip, (*corner, 2 * half + 1, 2 * half + 1), color, cv2.FILLED)
            self._names[class_id].draw(strip, x + 1.5 * self._em, middle, _WHITE)
        if len(placed) < len(ids):
            _, _, row, end = placed[-1]
            more = f"+ {len(ids) - len(placed)} more"
            self._text(strip, more, end, (row + 0.5) * self._line, _GRAY)
        return strip

    def _placed(self, ids, width):
        """(id, x, row, x of the next) of the legend's entries that there is room for."""
        placed = []
        x, row = self._em, 0
        for class_id in ids:
            end = x + 3 * self._em + self._names[class_id].width
            is_last_row = row == self._rows - 1
            more = 0 if class_id == ids[-1] else self._text_width("+ 99 more")
            if end + is_last_row * more > width:
                if is_last_row:
                    break
                x, row, end = self._em, row + 1, end - x + self._em
            placed.append((class_id, x, row, end))
            x = end
        return placed

    def _text_width(self, text):
        return cv2.getTextSize(text, FONT, self._text_scale, self._thickness)[0][0]

    def _text(self, canvas, text, x, middle, color):
        """Writes text whose capitals are centered on the height `middle`; returns where it ends."""
        origin = (round(x), round(middle + self._em / 2))
        cv2.putText(
            canvas, text, origin, FONT, self._text_scale, color, self._thickness, cv2.LINE_AA
        )
        return x + self._text_width(text)


def _even(length: float) -> int:
    return max(2, 2 * round(length / 2))
