"""The writer of recordings, frame by frame; see `teacher.recorded`."""

import contextlib
import pathlib
import sqlite3

from jitnet_tf.base.errors import UserError
from jitnet_tf.base.files import printable
from teacher.encoding import encode, is_like, read_thumbnail, thumbnail
from teacher.recorded import FORMAT, another_video, damage_reported, difference, tables_of


class Recorder:
    """Writes or resumes a recording.

    Args:
      path: the file; its folder is made. An existing recording with the same header is resumed;
        `check_last` tells whether it is of the same video, which may have been renamed.
      header: names and values that identify it: teacher, video, height, width, min_score; from
        `teacher.record` also teacher_sha256, which older recordings lack, and the options of the
        teacher, where given; teacher_names is a JSON list of the categories' names by id.

    Raises:
      UserError: unwritable, not a recording, or one with another header.
    """

    COMMIT_EVERY = 25  # frames that a crash may cost

    def __init__(self, path, header):
        self.path = str(path)
        header = {"format": FORMAT, **{name: printable(value) for name, value in header.items()}}
        try:
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path)
            names = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master")}
            if names - {
                "sqlite_autoindex_header_1",
                *({"header", "frames"} & tables_of(self._database)),
            }:
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
        if found and (name := difference(header, found)):
            raise UserError(
                f"recording {self.path!r} already exists with {name} {found.get(name)!r}, not "
                f"{header.get(name)!r}: choose another --output or delete it"
            )
        if self.count != end:
            raise UserError(f"recording {self.path!r} is damaged, frames are missing: delete it")

    def check_last(self, frame):
        """Raises UserError unless the last recorded frame is like `frame`, which may be None."""
        last = self.count - 1
        with damage_reported(self.path, last):
            (data,) = self._database.execute(
                "SELECT thumbnail FROM frames WHERE number = ?", (last,)
            ).fetchone()
            stored = read_thumbnail(data)
        if frame is None or not is_like(frame, stored):
            found = self._database.execute("SELECT value FROM header WHERE name = 'video'")
            raise another_video(self.path, last, found.fetchone()[0])

    def append(self, frame, detections, seconds):
        """Adds the next frame.

        Args:
          frame: uint8 RGB [H, W, 3].
          detections: the teacher's.
          seconds: the teacher's time; None if unknown.

        Raises:
          UserError: the file cannot grow; earlier frames are kept.
        """
        row = (self.count, thumbnail(frame).tobytes(), seconds, encode(detections))
        try:
            self._database.execute("INSERT INTO frames VALUES (?, ?, ?, ?)", row)
            self.count += 1
            if self.count % self.COMMIT_EVERY == 0:
                self._database.commit()
        except sqlite3.OperationalError as error:  # a full disk, say
            raise UserError(
                f"recording {self.path!r} cannot be continued ({error}): fix that, and the same "
                "command resumes it"
            ) from error

    def close(self):
        """Commits the appended frames if possible, and closes the file."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._database.commit()
        self._database.close()
