"""Decodes image files with OpenCV."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from jitnet_tf.video.decoders import DecodedFrame, Decoder, Note


def open_images(files: Sequence[Path], fps: float) -> Decoder:
    """Opens image files as a video, in this order; undecodable ones are skipped."""
    return Decoder(partial(_image_frames, files), fps, len(files))


def _image_frames(files: Sequence[Path], note: Note) -> Iterator[DecodedFrame]:
    for file in files:
        try:
            # 8-bit BGR and upright, for any depth and number of channels.
            bgr = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
        except (OSError, cv2.error):  # no permission, or an empty file
            bgr = None
        if bgr is None:
            note(f"{file.name} cannot be decoded: skipped")
            continue
        yield DecodedFrame(bgr.shape[:2], partial(cv2.cvtColor, bgr, cv2.COLOR_BGR2RGB))
