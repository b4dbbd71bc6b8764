"""Stream lists: the videos that an experiment evaluates, and the classes.

A list is a CSV file with one row a stream and the columns of `COLUMNS`; lines that begin with # are
comments. Paths of videos and recordings are relative to --videos and --recordings, by default to
the list's folder. `python -m experiments.streams` proposes a list from recordings.

A video is any file or folder that `jitnet_tf.distill --video` takes: a video file, a folder of
frames (a sequence of DAVIS) or a folder of chunks (a stream of LVS).
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
# Part of the frames on which a class has to occur: rarer ones are as likely the teacher's errors
# (§5.1: "reliable").
PRESENT = 0.1
GROUPS = labels.class_groups("lvs")  # of all experiments (§5.1)
CLASSES = GROUPS.names[1:]


@dataclasses.dataclass(frozen=True)
class Stream:
    """A row of a list.

    Attributes:
      name: also the name of its results' folder.
      category: the group that averages are taken over.
      classes: the evaluated classes, of CLASSES.
      video, recording: paths.
      max_frames: number of frames to use. None: all.
    """

    name: str
    category: str
    classes: tuple[str, ...]
    video: str
    recording: str
    max_frames: int | None


def read_list(path, videos=None, recordings=None):
    """Reads a stream list as Streams. Checks its text, not the files it names; see `check`.

    videos, recordings: folders that relative paths start from. Default: the list's.

    Raises:
      UserError: the file is missing or a row is invalid.
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
            f"stream list {str(path)!r} has no column {missing[0]!r}: write "
            f"{','.join(COLUMNS)} as its first line"
        )
    streams = []
    for number, row in rows:
        where = f"stream list {str(path)!r}, line {number}"
        if None in row or None in row.values():
            raise UserError(f"{where}: write {len(reader.fieldnames)} values between commas")
        row = {name: row[name].strip() for name in COLUMNS}
        stream = _parse(row, where, videos or folder, recordings or folder)
        if any(stream.name == other.name for other in streams):
            raise UserError(f"{where}: there are two streams named {stream.name!r}; rename one")
        streams.append(stream)
    if not streams:
        raise UserError(f"stream list {str(path)!r} is empty: give it a row for each stream")
    return streams


def _parse(row, where, videos, recordings):
    # The name becomes a folder's name.
    if not re.fullmatch(r"[\w][\w .+-]*", row["name"]):
        raise UserError(f"{where}: invalid name {row['name']!r}: use letters, digits, - and _")
    classes = tuple(row["classes"].split())
    for place, name in enumerate(classes):
        if name not in CLASSES or name in classes[:place]:
            raise UserError(
                f"{where}: class {name!r} is unknown or given twice; classes are "
                f"{', '.join(CLASSES)}, with spaces between them"
            )
    if not classes:
        raise UserError(
            f"{where}: the classes are missing; python -m experiments.streams proposes them"
        )
    max_frames = row["max_frames"]
    if max_frames and not (max_frames.isdecimal() and int(max_frames)):
        raise UserError(f"{where}: invalid max_frames {max_frames!r}: give 1 or more")
    return Stream(
        row["name"],
        row["category"] or "-",
        classes,
        os.path.join(videos, os.path.expanduser(row["video"])),
        os.path.join(recordings, os.path.expanduser(row["recording"])),
        int(max_frames) if max_frames else None,
    )


def check(stream):
    """Checks a stream's files; returns its number of frames.

    Raises:
      UserError: the video or the recording is missing, the recording is shorter than the video, or
        a class never occurs in it.
    """
    if not os.path.exists(stream.video):
        shown = video.without_credentials(stream.video)
        raise UserError(f"stream {stream.name}: there is no video {shown!r}: see --videos")
    if not os.path.isfile(stream.recording):
        raise UserError(
            f"stream {stream.name}: there is no recording {stream.recording!r}: see --recordings, "
            "or make it with python -m teacher.record"
        )
    with Recording(stream.recording) as recording:
        with video.open_source(stream.video, recording.frame_size) as source:
            recording(next(source), 0)  # raises UserError if it is of another video
            frames = min(len(recording), stream.max_frames or len(recording))
            announced = source.announced_frames
            # A header may announce too many or too few frames: count them by decoding.
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
    """Returns a recording's frame size, teacher and the teacher's digest, as JSON values."""
    with Recording(stream.recording) as recording:
        return {
            "recorded_teacher": recording.header.get("teacher"),
            "recorded_teacher_sha256": recording.header.get("teacher_sha256"),
            "frame_size": list(recording.frame_size),
        }


def frame_classes(recording, frames):
    """Yields the names of the classes on each of the first frames of a recording, as a set."""
    threshold = labels.LabelMaker(GROUPS).score_threshold
    ids = GROUPS.class_ids(recording.names)
    for classes, scores in recording.objects(frames):
        present = {ids[c] for c, s in zip(classes, scores, strict=True) if s >= threshold}
        yield {GROUPS.names[i] for i in present if i}


def propose(name, path, recording_path, max_frames=PAPER_FRAMES):
    """Returns a Stream with the classes on at least `PRESENT` of its recording's frames."""
    with Recording(recording_path) as recording:
        frames = min(len(recording), max_frames)
        counts = collections.Counter()
        for present in frame_classes(recording, frames):
            counts.update(present)
    classes = tuple(c for c in CLASSES if frames and counts[c] >= PRESENT * frames)
    # The category of "fixed-pedestrians" is "fixed", that of "street" is "street".
    return Stream(name, name.partition("-")[0], classes, path, recording_path, max_frames)


def to_csv(streams, videos, recordings):
    """Returns Streams as the text of a list, with paths relative to the two folders."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for s in streams:
        paths = os.path.relpath(s.video, videos), os.path.relpath(s.recording, recordings)
        writer.writerow([s.name, s.category, " ".join(s.classes), *paths, s.max_frames])
    return text.getvalue()
