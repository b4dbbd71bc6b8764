"""A made stream of any length: a person and a car before a moving wall, and a perfect teacher."""

import pathlib

import av
import cv2
import numpy as np

from jitnet_tf.base.progress import progress_bar
from teacher.detections import Detections
from teacher.recorder import Recorder

PERSON, CAR = 1, 3  # COCO ids
FPS = 25
SEED = 14
GRAIN = 8  # pixels of the textures' blobs
TEACHER_SECONDS = 0.1


class Scene:
    """The frames of the stream, any of them at once, with what a teacher should find.

    Both objects and the wall move to and fro, each with a period of its own, so that the stream
    never stands still and has no end.

    Args:
      size: (H, W) in pixels.
    """

    def __init__(self, size):
        self.size = size
        height, width = size
        random = np.random.default_rng(SEED)
        self._wall = _texture(random, (height, 2 * width), 40, 120)
        # (COCO id, texture, period in frames), each with its own speed.
        self._objects = (
            (CAR, _texture(random, (height // 3, width // 3), 0, 255), 170),
            (PERSON, _texture(random, (height // 2, width // 6), 120, 255), 110),
        )

    def frame(self, index):
        """Returns frame `index`, uint8 RGB [H, W, 3], and its Detections."""
        height, width = self.size
        left = round(to_and_fro(index, 400) * width)
        frame = self._wall[:, left : left + width].copy()
        rows = []
        for number, (category, texture, period) in enumerate(self._objects):
            h, w = texture.shape[:2]
            x = round(to_and_fro(index + 31 * number, period) * (width - w))
            y = round(to_and_fro(index, 3 * period) * (height - h))
            frame[y : y + h, x : x + w] = texture
            rows.append((category, x, y, w, h))
        return frame, _detections(rows, self.size)


def to_and_fro(index, period):
    """Returns a triangle wave of 0…1 with this period."""
    phase = index % period / period
    return 1 - abs(2 * phase - 1)


def _texture(random, size, darkest, brightest):
    """Smooth blobs of color, uint8 RGB [*size, 3]."""
    blobs = random.integers(darkest, brightest, (size[0] // GRAIN + 2, size[1] // GRAIN + 2, 3))
    return cv2.resize(blobs.astype(np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)


def _detections(rows, size):
    """Boxes (COCO id, x, y, w, h) in pixels as Detections of full rectangles."""
    corners = np.float32([[y, x, y + h, x + w] for _, x, y, w, h in rows])
    return Detections(
        corners / np.float32([*size, *size]),
        np.int32([row[0] for row in rows]),
        np.float32([0.9] * len(rows)),
        tuple(np.ones((h, w), bool) for _, _, _, w, h in rows),
        np.int32([[y, x] for _, x, y, _, _ in rows]),
    )


def write(folder, frames, size):
    """Writes the stream and its recording; returns their paths.

    Args:
      folder: for stream.mp4 (H.264) and stream.recording.
      frames: their number.
      size: (H, W) in pixels, both even.
    """
    video, recording = (pathlib.Path(folder, f"stream.{kind}") for kind in ("mp4", "recording"))
    scene = Scene(size)
    header = {"teacher": "perfect", "video": "stream", "min_score": 0.05}
    recorder = Recorder(recording, {**header, "height": size[0], "width": size[1]})
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for index in progress_bar(range(frames), "making the stream", leave=False):
            frame, detections = scene.frame(index)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            recorder.append(frame, detections, TEACHER_SECONDS)
        container.mux(stream.encode(None))
    recorder.close()
    return video, recording
