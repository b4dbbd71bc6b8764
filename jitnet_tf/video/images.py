"""Decodes image files: stills with OpenCV, files of several pictures with Pillow."""

import io
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, ImageSequence

from jitnet_tf.base.pictures import decode
from jitnet_tf.video.decoders import DecodedFrame, Decoder, Note

FPS = 25.0  # of images that state no duration
# Formats in which a file may hold several pictures. Not JPEG, whose further pictures are previews.
_SEVERAL = (".png", ".tif", ".tiff", ".webp")
_DARK = 64  # no 8-bit value of 14 bits within 16 reaches it


def open_images(files: Sequence[Path], problems: Sequence[str] = ()) -> Decoder:
    """Opens image files as a video, in this order; undecodable ones are skipped.

    A single file gives all its pictures (an animation, the pages of a TIFF), among others each
    gives its first.
    """
    if len(files) == 1 and (pictures := _pictures_in(files[0], _content(files[0]))) > 1:
        seconds = _seconds(files[0])
        fps = pictures / seconds if seconds else FPS
        frames = partial(_pictures, files[0], pictures)
        return Decoder(frames, fps, pictures, announced_seconds=pictures / fps, problems=problems)
    count = len(files)
    frames = partial(_stills, files)
    return Decoder(frames, FPS, count, announced_seconds=count / FPS, problems=problems)


def _stills(files: Sequence[Path], note: Note) -> Iterator[DecodedFrame]:
    is_dark_noted, count = False, 0
    for file in files:
        data = _content(file)
        bgr = decode(data, cv2.IMREAD_COLOR)  # 8 bits, for any depth and number of channels
        if bgr is None:
            note(f"{file.name} cannot be decoded: skipped")
            continue
        if (pictures := _pictures_in(file, data)) > 1:
            note(f"{file.name} holds {pictures} pictures: its first is taken")
        if not is_dark_noted and (reason := _why_dark(bgr, data)):
            note(f"{file.name} {reason}")
            is_dark_noted = True
        bgr = _turned_webp(bgr, file, data)
        convert = partial(cv2.cvtColor, bgr, cv2.COLOR_BGR2RGB)
        yield DecodedFrame(bgr.shape[:2], convert, count / FPS, 1 / FPS)
        count += 1


def _seconds(file: Path) -> float | None:
    """Returns how long a file's pictures are shown; None if it does not say."""
    try:
        with Image.open(io.BytesIO(_content(file))) as image:
            if image.format == "TIFF":
                return None
            total = 0.0
            for picture in ImageSequence.Iterator(image):
                picture.load()  # before, WebP has no duration
                total += _duration(picture)
            return total
    except Exception:  # Pillow's kinds are many; `_pictures` tells of them
        return None


def _duration(picture: Image.Image) -> float:
    return (picture.info.get("duration") or 1000 / FPS) / 1000


def _pictures(file: Path, count: int, note: Note) -> Iterator[DecodedFrame]:
    """Yields the pictures of one file, with the times that their durations give."""
    time, shown = 0.0, 0
    data = _content(file)
    try:
        with Image.open(io.BytesIO(data)) as image:
            for picture in ImageSequence.Iterator(image):
                rgb = _rgb(picture, data, shown)
                duration = _duration(picture)
                yield DecodedFrame(rgb.shape[:2], partial(np.asarray, rgb), time, duration)
                shown += 1
                time += duration
    except Exception as error:  # Pillow's kinds are many
        note(f"{shown} of {count} pictures can be decoded ({error})")


def _rgb(picture: Image.Image, data: np.ndarray, index: int) -> np.ndarray:
    if picture.format == "TIFF":
        # OpenCV's conversion of any depth to 8 bits; Pillow has none.
        pages = cv2.imdecodemulti(data, cv2.IMREAD_COLOR, range=(index, index + 1))[1]
        return cv2.cvtColor(pages[0], cv2.COLOR_BGR2RGB)
    return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def _content(file: Path) -> np.ndarray:
    try:
        return np.fromfile(file, np.uint8)
    except OSError:  # no permission, for example
        return np.empty(0, np.uint8)


def _pictures_in(file: Path, data: np.ndarray) -> int:
    if file.suffix.lower() not in _SEVERAL:
        return 1
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")  # of damaged entries that do not matter here
            return getattr(image, "n_frames", 1)
    except Exception:  # Pillow's kinds are many; OpenCV then says whether it can be decoded
        return 1


def _why_dark(bgr: np.ndarray, data: np.ndarray) -> str | None:
    """Returns why an image of 16 bits is nearly black; None if it is not."""
    if bgr.max() >= _DARK:
        return None
    deep = decode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if deep is None or deep.dtype != np.uint16:
        return None
    return (
        f"has 16-bit values up to {deep.max()} of 65535, which is nearly black: unless it is night "
        "there, scale the values, or convert them to 8 bits"
    )


def _turned_webp(bgr: np.ndarray, file: Path, data: np.ndarray) -> np.ndarray:
    """Returns a WebP upright by its EXIF orientation, which OpenCV 4 passes over."""
    if file.suffix.lower() != ".webp" or int(cv2.__version__.partition(".")[0]) > 4:
        return bgr
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(ImageOps.exif_transpose(image.convert("RGB")))[..., ::-1]
    except Exception:  # Pillow's kinds are many, for files of which OpenCV shows a part
        return bgr
