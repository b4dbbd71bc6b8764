"""Stream lists: which videos an experiment evaluates, on which classes.

A list is a CSV file with a row per stream and the columns of `COLUMNS`; lines that begin with # are
comments. Videos and recordings are looked for relative to --videos and --recordings, by default
the list's folder. `python -m experiments.streams` proposes a list from recordings:

    python -m teacher.record --video=clips/street.mp4 --teacher=path/to/saved_model \\
        --output=clips/street.recording
    python -m experiments.streams --videos=clips --output=clips/list.csv

A video is anything that `jitnet_tf.distill --video` takes as a file or folder: a video file, a
folder of frames (a sequence of DAVIS, say), or a folder of chunks (a stream of LVS).
"""

import collections
import csv
import dataclasses
import io
import os
import pathlib
import re

from jitnet_tf import labels, video
from jitnet_tf.base.errors import UserError
from teacher.recorded import Recording

COLUMNS = ("name", "category", "classes", "video", "recording", "max_frames")
PAPER_FRAMES = 30_000  # §5.1
# Classes seen on fewer of the frames are as likely the teacher's error (§5.1: "reliable").
PRESENT = 0.1


@dataclasses.dataclass(frozen=True)
class Stream:
    """A row of a list.

    Attributes:
      name: of its results, too.
      category: over which streams are averaged.
      classes: those evaluated, names of class groups.
      video, recording: paths.
      max_frames: frames after which the stream ends, None for all.
    """

    name: str
    category: str
    classes: tuple[str, ...]
    video: str
    recording: str
    max_frames: int | None


def read_list(path, videos=None, recordings=None):
    """Reads a stream list. Checks the text alone, not the files that it names; see `check`.

    videos, recordings: folders that relative paths start from; default, the list's.

    Raises:
      UserError: no such file, or a row that makes no sense.
    """
    folder = os.path.dirname(path) or "."  # a bare 00 would be a camera
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"stream list {str(path)!r} cannot be read ({error})") from None
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]
    reader = csv.DictReader((line for _, line in lines), skipinitialspace=True)
    try:
        rows = [(lines[reader.line_num - 1][0], row) for row in reader]
    except csv.Error as error:
        raise UserError(f"stream list {str(path)!r} cannot be read ({error})") from None
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(
            f"stream list {str(path)!r} has no column {missing[0]!r}: its first line has to be "
            f"{','.join(COLUMNS)}"
        )
    streams = []
    for number, row in rows:
        where = f"stream list {str(path)!r}, line {number}"
        if None in row or None in row.values():
            raise UserError(f"{where}: it takes {len(reader.fieldnames)} values between commas")
        row = {name: row[name].strip() for name in COLUMNS}
        stream = _parse(row, where, videos or folder, recordings or folder)
        if any(stream.name == other.name for other in streams):
            raise UserError(f"{where}: there are two streams named {stream.name!r}; rename one")
        streams.append(stream)
    if not streams:
        raise UserError(f"stream list {str(path)!r} names no stream")
    return streams


def _parse(row, where, videos, recordings):
    # A name becomes that of a folder.
    if not re.fullmatch(r"[\w][\w .+-]*", row["name"]):
        raise UserError(f"{where}: {row['name']!r} is no name; use letters, digits, - and _")
    classes = tuple(row["classes"].split())
    for place, name in enumerate(classes):
        if name not in labels.LVS or name in classes[:place]:
            raise UserError(
                f"{where}: class {name!r} is unknown or there twice; classes are "
                f"{', '.join(labels.LVS)}, with spaces between them"
            )
    if not classes:
        raise UserError(f"{where}: it names no class; python -m experiments.streams proposes them")
    max_frames = row["max_frames"]
    if max_frames and not (max_frames.isdecimal() and int(max_frames)):
        raise UserError(f"{where}: max_frames {max_frames!r} is no number from 1 on")
    return Stream(
        row["name"],
        row["category"] or "-",
        classes,
        os.path.join(videos, row["video"]),
        os.path.join(recordings, row["recording"]),
        int(max_frames) if max_frames else None,
    )


def check(stream):
    """Finds out whether a stream can be evaluated; returns how many frames it has.

    Raises:
      UserError: a missing video or recording, a recording shorter than the video, or a class that
        never occurs in it.
    """
    if not os.path.exists(stream.video):
        raise UserError(f"stream {stream.name}: there is no video {stream.video!r}: see --videos")
    if not os.path.isfile(stream.recording):
        raise UserError(
            f"stream {stream.name}: there is no recording {stream.recording!r}: see --recordings, "
            "or make it with python -m teacher.record"
        )
    with Recording(stream.recording) as recording:
        with video.open_source(stream.video, recording.frame_size) as source:
            recording(next(source), 0)  # or it is of another video
            frames = min(len(recording), stream.max_frames or len(recording))
            announced = source.announced_frames
            # The recording was made by decoding; a header may promise too much, or too little.
            if frames != stream.max_frames and announced != frames:
                frames = 1 + source.skip(frames)
        if len(recording) < frames:
            raise UserError(
                f"stream {stream.name}: recording {stream.recording!r} has {len(recording)} "
                "frames, the video more: the same teacher.record command records the rest; or give "
                f"max_frames={len(recording)} in the list"
            )
        missing = set(stream.classes)
        for present in frame_classes(recording, frames):
            missing -= present
            if not missing:
                return frames
    raise UserError(
        f"stream {stream.name}: class {min(missing)!r} never occurs in {stream.recording!r}: take "
        "it out of the list"
    )


def recorded(stream):
    """What a stream's recording was made of: frame size, teacher and its digest."""
    with Recording(stream.recording) as recording:
        return {
            "recorded_teacher": recording.header.get("teacher"),
            "recorded_teacher_sha256": recording.header.get("teacher_sha256"),
            "frame_size": list(recording.frame_size),
        }


def frame_classes(recording, frames):
    """Yields the names of the classes on each of the first frames of a recording, as a set."""
    groups = labels.class_groups("lvs")
    threshold = labels.LabelMaker(groups).score_threshold
    ids = groups.class_ids()
    for classes, scores in recording.objects(frames):
        present = {ids[c] for c, s in zip(classes, scores, strict=True) if s >= threshold}
        yield {groups.names[i] for i in present if i}


def propose(name, path, recording_path, max_frames=PAPER_FRAMES):
    """A stream with the classes that its recording has on `PRESENT` of the frames or more."""
    with Recording(recording_path) as recording:
        frames = min(len(recording), max_frames)
        counts = collections.Counter()
        for present in frame_classes(recording, frames):
            counts.update(present)
    classes = tuple(c for c in labels.LVS if frames and counts[c] >= PRESENT * frames)
    # "fixed-pedestrians" tells its category; "street" is one by itself.
    return Stream(name, name.partition("-")[0], classes, path, recording_path, max_frames)


def to_csv(streams, videos, recordings):
    """Streams as the text of a list, with paths relative to the two folders."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for s in streams:
        paths = os.path.relpath(s.video, videos), os.path.relpath(s.recording, recordings)
        writer.writerow([s.name, s.category, " ".join(s.classes), *paths, s.max_frames])
    return text.getvalue()
