"""Recordings: a teacher's detections on a video, replayed. `teacher.recorder` writes them.

A recording is a SQLite file: compact, read frame by frame, and consistent after a crash. It keeps
detections, not labels, so that score threshold, class groups and box weights can be chosen at
replay. Masks are pixels of the frame (COCO run-length encoding of each object's window), so that
the labels equal those of the live teacher.
"""

import contextlib
import hashlib
import json
import pathlib
import sqlite3
import zlib

from jitnet_tf.base.errors import UserError
from teacher import class_names, coco
from teacher.base import Teacher
from teacher.encoding import COCO_IDS, decode, decode_rows, is_like, read_thumbnail
from teacher.scaling import scaled

MAX_SIDE = 1 << 15  # pixels of a frame; bounds the memory that a damaged file can cost
FORMAT = "jitnet_tf teacher recording 1"
IDENTIFYING = 64  # frames that the identity is of
SCALED_FROM = "scaled_from"  # in the header: size of the frames that the live teacher saw
# SQL for the seconds of a frame; NULL if unknown or invalid.
SECONDS = "CASE WHEN seconds BETWEEN 0 AND 1e6 THEN seconds END"


@contextlib.contextmanager
def damage_reported(path, index):
    """Turns the errors of a damaged frame into a UserError."""
    try:
        yield
    except (sqlite3.Error, zlib.error, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"recording {path!r} is damaged at frame {index} ({error}): record it again"
        ) from error


def _names(header):
    """Returns id → name of a recording's categories, and their ids; ValueError if it is damaged."""
    if "teacher_names" not in header:
        return coco.NAMES, COCO_IDS
    listed = json.loads(header["teacher_names"])
    if type(listed) is not list or not all(type(name) is str for name in listed):
        raise ValueError("not a list of names")
    names = class_names.by_id(listed)
    return names, names


def another_video(path, index, video):
    """Returns the UserError for a recording whose frame does not look like the video's."""
    return UserError(
        f"recording {path!r} is of another video: frame {index} does not look like "
        f"the one recorded from {video!r}"
    )


def difference(header, other):
    """Returns the name of the first entry in which two headers differ; None if they are the same.

    Files are renamed: the name of the video does not count, nor the teacher's if both headers have
    its digest.
    """
    renamed = {"video"}
    if "teacher_sha256" in header and "teacher_sha256" in other:
        renamed.add("teacher")
    for name in {**header, **other}:
        if name not in renamed and header.get(name) != other.get(name):
            return name
    return None


def tables_of(database):
    """Returns the names of a database's tables; not of views, whose reading may never end."""
    found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
    return {name for (name,) in found}


class Recording(Teacher):
    """A recording as a teacher: calling it replays frame `index`.

    Attributes:
      frame_size: (H, W) of the recorded frames.
      header: the header given to `Recorder`: teacher, video, min_score, …
      names: id → name of the categories; those of COCO in older recordings.
      min_score: objects below this score were not kept.
      mean_seconds: mean seconds a frame of the live teacher; None if unknown.

    Raises:
      UserError: missing file, not a recording, damaged, or frames of another video.
    """

    precomputed = True

    def __init__(self, path):
        self.path = str(path)
        if not pathlib.Path(path).is_file():
            raise UserError(f"recording {self.path!r} does not exist; make it with teacher.record")
        try:
            # Nothing is written here, but SQLite may have to roll back a crash first.
            uri = pathlib.Path(path).resolve().as_uri() + "?mode=rw"
            self._database = sqlite3.connect(uri, uri=True)
            self._database.execute("PRAGMA trusted_schema = OFF")
            if not {"header", "frames"} <= tables_of(self._database):
                raise ValueError("no tables")
            self.header = dict(self._database.execute("SELECT name, value FROM header"))
            self._count, seconds = self._database.execute(
                f"SELECT count(*), avg({SECONDS}) FROM frames"
            ).fetchone()
            self.frame_size = (int(self.header["height"]), int(self.header["width"]))
            self.min_score = float(self.header["min_score"])
            sides = all(1 <= side <= MAX_SIDE for side in self.frame_size)
            if not (0 <= self.min_score <= 1 and sides):
                raise ValueError
            self.names, self._ids = _names(self.header)
        except (sqlite3.Error, KeyError, ValueError, TypeError, OverflowError, RecursionError):
            self.header = {}
        if self.header.get("format") != FORMAT:
            raise UserError(
                f"recording {self.path!r} is not a teacher recording; make one with teacher.record"
            )
        self.mean_seconds = seconds
        self.problems = []
        if SCALED_FROM in self.header:
            height, width = self.frame_size
            self._note(f"from one of {self.header[SCALED_FROM]} frames", f"{height}×{width}")

    def __len__(self):
        return self._count

    def check_score_threshold(self, threshold):
        """Raises UserError unless all objects with at least this score were kept."""
        if threshold < self.min_score:
            raise UserError(
                f"recording {self.path!r} keeps objects from a score of {self.min_score} on: "
                f"--score_threshold={threshold} is below; raise it, or record again"
            )

    def check_size(self, frame_size):
        """Checks that frames of this size, (H, W), can be served; smaller ones are a problem.

        Raises:
          UserError: they are larger than the recorded ones: masks have no such detail.
        """
        (h, w), (have_h, have_w) = self.frame_size, frame_size
        if have_h > h or have_w > w:
            raise UserError(
                f"recording {self.path!r} was made of {h}×{w} frames, these are {have_h}×{have_w}: "
                f"give --frame_size={h}x{w} or a smaller one, or record again at this size"
            )
        if tuple(frame_size) != self.frame_size:
            self._note(f"of {h}×{w} frames", f"{have_h}×{have_w}")

    def _note(self, made, size):
        problem = (
            f"recording {self.path!r} was made {made}: masks are scaled to {size}, so that labels "
            "are not to the pixel those of a live teacher"
        )
        if problem not in self.problems:
            self.problems.append(problem)

    def __call__(self, frame, index):
        """Returns the teacher's detections on frame `index`, uint8 RGB [H, W, 3].

        Those of a recording of larger frames are scaled.
        """
        self.check_size(frame.shape[:2])
        with damage_reported(self.path, index):
            row = self._database.execute(
                "SELECT thumbnail, instances FROM frames WHERE number = ?", (index,)
            ).fetchone()
            if row is None and index < len(self):
                raise ValueError("the frame is missing")
            if row is None:
                raise UserError(
                    f"recording {self.path!r} ends after {len(self)} frames and frame {index} is "
                    f"needed: give --max_frames={len(self)}, or record the rest (the same "
                    "teacher.record command resumes it)"
                )
            stored = read_thumbnail(row[0])
            replayed = decode(row[1], self.frame_size, self._ids)
        if not is_like(frame, stored):
            raise another_video(self.path, index, self.header.get("video"))
        size = frame.shape[:2]
        return replayed if size == self.frame_size else scaled(replayed, self.frame_size, size)

    def seconds(self, index):
        """Returns the live teacher's seconds on frame `index`; None if unknown."""
        with damage_reported(self.path, index):
            (seconds,) = self._database.execute(
                f"SELECT {SECONDS} FROM frames WHERE number = ?", (index,)
            ).fetchone()
        return seconds

    def objects(self, frames):
        """Yields COCO ids and scores of the objects on each of the first `frames` frames."""
        for index in range(min(frames, len(self))):
            with damage_reported(self.path, index):
                (data,) = self._database.execute(
                    "SELECT instances FROM frames WHERE number = ?", (index,)
                ).fetchone()
                rows = decode_rows(data, self.frame_size, self._ids)
            yield [row[0] for row in rows], [row[1] for row in rows]

    def identity(self, frames=None):
        """Returns what tells the recording from others, as JSON values; cheap for any length.

        A digest of the header, and of thumbnails and detections of some of the first `frames`
        frames, by default of all: a recording that has grown since then has the same.

        Returns:
          {"frames": number, "sha256": 16 hexadecimal digits}; None if there are less frames.
        """
        frames = len(self) if frames is None else frames
        if frames > len(self):
            return None
        digest = hashlib.sha256(json.dumps(self.header, sort_keys=True).encode())
        for index in sorted({i * frames // IDENTIFYING for i in range(IDENTIFYING)}):
            with damage_reported(self.path, index):
                row = self._database.execute(
                    "SELECT thumbnail, instances FROM frames WHERE number = ?", (index,)
                ).fetchone()
            digest.update(repr(row).encode())
        return {"frames": frames, "sha256": digest.hexdigest()[:16]}

    def close(self):
        """Closes the file."""
        self._database.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
