"""A teacher's answers on a whole video, recorded once and replayed.

A recording is a SQLite file: compact, read frame by frame, and consistent after a crash at any
moment. Masks are stored as pixels of the frame (COCO run-length encoding of each object's window),
so that a replay gives the very labels of the live teacher, while score threshold, class groups
and box weights can still be chosen.
"""

import contextlib
import json
import pathlib
import re
import sqlite3
import zlib

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from jitnet_tf.base.errors import UserError
from teacher.base import Teacher
from teacher.detections import Detections

FORMAT = "jitnet_tf teacher recording 1"
# A frame is recognised by its 16×16 grey thumbnail. Decoders and color conversions differ by a
# level or two between platforms; a different scene, or a cut, differs by tens.
THUMBNAIL = 16
THUMBNAIL_TOLERANCE = 6.0
# More than any teacher says of a frame; a damaged file cannot make reading it cost more memory.
MAX_TEXT = 1 << 24  # characters of JSON
MAX_COVER = 100  # times the frame's pixels, in all masks together
# COCO's run lengths: base 32 with "not the last digit" as bit 5, from "0" on. pycocotools reads
# past the end of other texts.
RUN_LENGTHS = re.compile("(?:[P-o]{0,6}[0-O])+")
FLOAT32_MAX = float(np.finfo(np.float32).max)
# Seconds a frame as SQL; NULL, which is unknown, for anything that is none.
SECONDS = "CASE WHEN seconds BETWEEN 0 AND 1e6 THEN seconds END"


def thumbnail(frame):
    """What a frame is recognised by: uint8 [16, 16]. frame: uint8 RGB [H, W, 3]."""
    small = cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def is_like(frame, stored):
    """Whether a frame is the one whose `thumbnail` was stored."""
    difference = np.abs(thumbnail(frame).astype(int) - stored)
    return difference.mean() <= THUMBNAIL_TOLERANCE


def encode(detections):
    """Detections → bytes: zlib-compressed JSON."""
    rows = []
    for i in range(len(detections)):
        mask = detections.masks[i]
        counts = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
        rows.append(
            [
                int(detections.classes[i]),
                float(detections.scores[i]),
                [float(x) for x in detections.boxes[i]],
                [int(x) for x in detections.origins[i]],
                list(mask.shape),
                counts.decode("ascii"),
            ]
        )
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 9)


def decode(data, frame_size):
    """Bytes of `encode` → Detections on a frame of frame_size (H, W), equal in every bit.

    Raises:
      ValueError, TypeError, RecursionError or zlib.error: `encode` did not write this.
    """
    rows = _rows(data, frame_size)
    classes, scores, boxes, origins, sizes, counts = zip(*rows, strict=True) if rows else [()] * 6
    if sum(h * w for h, w in sizes) > MAX_COVER * frame_size[0] * frame_size[1]:
        raise ValueError("masks larger than any teacher's")
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int32),
        np.array(scores, np.float32),
        # Texts of empty masks were empty, once.
        tuple(decode_mask(size, text or "0") for size, text in zip(sizes, counts, strict=True)),
        np.array(origins, np.int32).reshape(-1, 2),
    )


def _rows(data, frame_size):
    """The rows that `encode` packed; raises as `decode`."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, MAX_TEXT)
    if not unpacker.eof:
        raise ValueError("compressed data cut off, or too much")
    rows = json.loads(text)
    if type(rows) is not list:
        raise ValueError("not a list of objects")
    for row in rows:
        _check(row, frame_size)
    return rows


def _check(row, frame_size):
    """Raises ValueError or TypeError unless `encode` can have written this row of such a frame."""
    class_id, score, (y0, x0, y1, x1), (y, x), (h, w), _ = row
    if not (
        all(type(n) is int for n in (class_id, y, x, h, w))
        and all(type(n) is float and abs(n) <= FLOAT32_MAX for n in (score, y0, x0, y1, x1))
        and 1 <= class_id <= 90
        and 0 <= y <= y + h <= frame_size[0]
        and 0 <= x <= x + w <= frame_size[1]
    ):
        raise ValueError("an object that cannot be")


def decode_mask(size, text):
    """A mask, boolean [H, W], from pycocotools' text for one of size (H, W).

    Raises:
      ValueError: the text is none, or of a mask of another size.
    """
    if not RUN_LENGTHS.fullmatch(text):
        raise ValueError("a mask that is none")
    mask = coco_mask.decode({"size": size, "counts": text})
    # Runs that end early leave pixels as the memory was.
    if coco_mask.encode(mask)["counts"] != text.encode():
        raise ValueError("a mask of another size")
    return mask.astype(bool)


def _read_thumbnail(data):
    return np.frombuffer(data, np.uint8).reshape(THUMBNAIL, THUMBNAIL)


@contextlib.contextmanager
def _damage_reported(path, index):
    """Turns what reading a damaged frame raises into a UserError."""
    try:
        yield
    except (sqlite3.Error, zlib.error, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"recording {path!r} is damaged at frame {index} ({error}): record it again"
        ) from error


def _another_video(path, index, video):
    return UserError(
        f"recording {path!r} is of another video: frame {index} does not look like "
        f"the one recorded from {video!r}"
    )


class Recording(Teacher):
    """Reads a recording. Also a teacher: calling it replays frame `index`.

    Attributes:
      frame_size: (H, W) of the frames recorded.
      header: what `Recorder` was given: teacher, video, min_score, …
      min_score: objects below this score were not kept.
      mean_seconds: mean seconds a frame that the live teacher took, None where unknown.

    Raises:
      UserError: missing file, not a recording, damaged, or frames other than those recorded.
    """

    precomputed = True

    def __init__(self, path):
        self.path = str(path)
        if not pathlib.Path(path).is_file():
            raise UserError(f"recording {self.path!r} does not exist; make it with teacher.record")
        try:
            # Not to write; but what a crash left half-written has to be rolled back first.
            uri = pathlib.Path(path).resolve().as_uri() + "?mode=rw"
            self._database = sqlite3.connect(uri, uri=True)
            self._database.execute("PRAGMA trusted_schema = OFF")
            self.header = dict(self._database.execute("SELECT name, value FROM header"))
            self._count, seconds = self._database.execute(
                f"SELECT count(*), avg({SECONDS}) FROM frames"
            ).fetchone()
            self.frame_size = (int(self.header["height"]), int(self.header["width"]))
            self.min_score = float(self.header["min_score"])
            if not 0 <= self.min_score <= 1:
                raise ValueError
        except (sqlite3.Error, KeyError, ValueError, TypeError, OverflowError):
            self.header = {}
        if self.header.get("format") != FORMAT:
            raise UserError(
                f"recording {self.path!r} is not a teacher recording; make one with teacher.record"
            )
        self.mean_seconds = seconds

    def __len__(self):
        return self._count

    def check_score_threshold(self, threshold):
        """UserError where objects from a score of `threshold` on were not all kept."""
        if threshold < self.min_score:
            raise UserError(
                f"recording {self.path!r} keeps objects from a score of {self.min_score} on: "
                f"--score_threshold={threshold} is below; raise it, or record again"
            )

    def check_size(self, frame_size):
        """UserError unless the frames recorded were of frame_size (H, W)."""
        if tuple(frame_size) != self.frame_size:
            (h, w), (have_h, have_w) = self.frame_size, frame_size
            raise UserError(
                f"recording {self.path!r} was made of {h}×{w} frames, these are {have_h}×{have_w}: "
                f"give --frame_size={h}x{w}, or record again at this size"
            )

    def __call__(self, frame, index):
        """Replays what the teacher said of frame `index`, uint8 RGB [H, W, 3]."""
        self.check_size(frame.shape[:2])
        with _damage_reported(self.path, index):
            row = self._database.execute(
                "SELECT thumbnail, instances FROM frames WHERE number = ?", (index,)
            ).fetchone()
            if row is None and index < len(self):
                raise ValueError("it is missing")
            if row is None:
                raise UserError(
                    f"recording {self.path!r} ends after {len(self)} frames and frame {index} is "
                    f"needed: give --max_frames={len(self)}, or record the rest (teacher.record "
                    "goes on where it stopped)"
                )
            stored = _read_thumbnail(row[0])
            replayed = decode(row[1], self.frame_size)
        if not is_like(frame, stored):
            raise _another_video(self.path, index, self.header.get("video"))
        return replayed

    def seconds(self, index):
        """Seconds that the live teacher took for frame `index`, None where unknown."""
        with _damage_reported(self.path, index):
            (seconds,) = self._database.execute(
                f"SELECT {SECONDS} FROM frames WHERE number = ?", (index,)
            ).fetchone()
        return seconds

    def objects(self, frames):
        """Yields, for each of the first `frames` frames, COCO ids and scores of its objects."""
        for index in range(min(frames, len(self))):
            with _damage_reported(self.path, index):
                (data,) = self._database.execute(
                    "SELECT instances FROM frames WHERE number = ?", (index,)
                ).fetchone()
                rows = _rows(data, self.frame_size)
            yield [row[0] for row in rows], [row[1] for row in rows]

    def close(self):
        """Closes the file."""
        self._database.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Recorder:
    """Writes a recording, or goes on with one.

    Args:
      path: the file; its folder is made. An existing recording of the same header is continued.
      header: names and values that identify it: teacher, video, height, width, min_score; from
        `teacher.record` also teacher_sha256, which older recordings lack.

    Raises:
      UserError: unwritable, another kind of file, or a recording of something else.
    """

    COMMIT_EVERY = 25  # frames; what a crash may cost

    def __init__(self, path, header):
        self.path = str(path)
        header = {"format": FORMAT, **{name: str(value) for name, value in header.items()}}
        try:
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path)
            tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master")}
            if tables - {"header", "frames", "sqlite_autoindex_header_1"}:
                raise UserError(
                    f"{self.path!r} is another program's database: choose another --output"
                )
            with self._database:
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS header (name TEXT PRIMARY KEY, value TEXT)"
                )
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS frames (number INTEGER PRIMARY KEY, "
                    "thumbnail BLOB, seconds REAL, instances BLOB)"
                )
                found = dict(self._database.execute("SELECT name, value FROM header"))
                if not found:
                    self._database.executemany("INSERT INTO header VALUES (?, ?)", header.items())
            self.count, end = self._database.execute(
                "SELECT count(*), coalesce(max(number) + 1, 0) FROM frames"
            ).fetchone()
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"cannot write the recording {self.path!r} ({error}); choose another --output"
            ) from error
        for name in {**header, **found} if found else ():
            if found.get(name) != header.get(name):
                raise UserError(
                    f"recording {self.path!r} already exists with {name} {found.get(name)!r}, not "
                    f"{header.get(name)!r}: choose another --output or delete it"
                )
        if self.count != end:
            raise UserError(f"recording {self.path!r} is damaged, frames are missing: delete it")

    def check_last(self, frame):
        """UserError unless the last frame recorded is like `frame`, which is None where none is."""
        last = self.count - 1
        with _damage_reported(self.path, last):
            (data,) = self._database.execute(
                "SELECT thumbnail FROM frames WHERE number = ?", (last,)
            ).fetchone()
            stored = _read_thumbnail(data)
        if frame is None or not is_like(frame, stored):
            found = self._database.execute("SELECT value FROM header WHERE name = 'video'")
            raise _another_video(self.path, last, found.fetchone()[0])

    def append(self, frame, detections, seconds):
        """Adds the next frame, uint8 RGB [H, W, 3], and what the teacher took in seconds.

        UserError where the file cannot grow; what was appended before stays.
        """
        row = (self.count, thumbnail(frame).tobytes(), seconds, encode(detections))
        try:
            self._database.execute("INSERT INTO frames VALUES (?, ?, ?, ?)", row)
            self.count += 1
            if self.count % self.COMMIT_EVERY == 0:
                self._database.commit()
        except sqlite3.OperationalError as error:  # a full disk, say
            raise UserError(
                f"recording {self.path!r} cannot be written on ({error}): mend that, and the same "
                "command goes on where it stopped"
            ) from error

    def close(self):
        """Keeps what was appended, as far as that can be written, and closes the file."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._database.commit()
        self._database.close()
