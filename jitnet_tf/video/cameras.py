"""Reads cameras with OpenCV."""

from collections.abc import Iterator
from functools import partial

import cv2

from jitnet_tf.base.errors import UserError
from jitnet_tf.video.decoders import BrokenOffError, DecodedFrame, Decoder, Note


def open_camera(index: int, spec: str) -> Decoder:
    """Opens the camera of an index. UserError if that fails; spec: its name in messages."""
    log = cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2  # OpenCV 5; 4.11
    verbosity = log.getLogLevel()
    log.setLogLevel(0)  # else each of OpenCV's backends warns that it has no such camera
    try:
        camera = cv2.VideoCapture(index)
    finally:
        log.setLogLevel(verbosity)
    if not camera.isOpened():
        file = f" (for a file of this name write ./{spec})" if spec.isdigit() else ""
        raise UserError(
            f"camera {spec} cannot be opened: check that it is plugged in, that no other program "
            f"uses it and that this user may{file}"
        )
    return Decoder(partial(_camera_frames, camera), camera.get(cv2.CAP_PROP_FPS), live=True)


def _camera_frames(camera: cv2.VideoCapture, note: Note) -> Iterator[DecodedFrame]:
    try:
        while True:
            delivered, bgr = camera.read()
            if not delivered:
                raise BrokenOffError("the camera stopped delivering frames")
            yield DecodedFrame(bgr.shape[:2], partial(cv2.cvtColor, bgr, cv2.COLOR_BGR2RGB))
    finally:
        camera.release()
