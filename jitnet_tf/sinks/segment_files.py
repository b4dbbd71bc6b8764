"""The files of segments, by their names."""

import math
import os
import re
import shutil
from pathlib import Path

from jitnet_tf.base import files, segment_names
from jitnet_tf.sinks.disk import disk_errors_as_user_errors

PARTS = "video_parts"  # in the run directory: a folder for each segment that is not complete
_LONGEST_ROW = 2**16  # bytes of a frame log


def log_of(name):
    """Returns the name of a segment's frame log."""
    return f"frames-{name}.jsonl"


def events_suffix(name):
    """Returns the end of the names of a segment's event files."""
    return f".{name}.v2"


def of_ended_segments(names):
    """Returns those of the names of logs and event files that are of all segments but the last."""
    found = {name: _segment_in(name) for name in names}
    firsts = {n: segment_names.first_of(segment) for n, segment in found.items() if segment}
    return {name for name, first in firsts.items() if first < max(firsts.values())}


class SegmentFiles:
    """Files of a run's segments, in its run directory and beside.

    A segment's frame log is deleted before its other files. So where that is missing, a deletion
    was interrupted, or the segment is later than the checkpoint that a run was taken back to.

    Args:
      logdir: the run directory.
      overlay: folder of the overlay's segments, or None.
      masks: folder of the masks', or None.
    """

    def __init__(self, logdir, overlay=None, masks=None):
        self._logdir = Path(logdir)
        # The default one, too: a run that was replaced may have had it.
        self._overlays = {self._logdir / "overlay", Path(overlay or self._logdir / "overlay")}
        self._masks = masks and Path(masks)

    def has_log(self, name):
        """Returns whether a segment is still there."""
        return (self._logdir / log_of(name)).exists()

    def earlier(self, first):
        """Returns the names of the segments with a log before frame `first`, in their order."""
        firsts = {
            segment_names.first_of(segment): segment
            for _, segment in self._in(self._logdir, r"\.jsonl")
            if self.has_log(segment)
        }
        return [name for start, name in sorted(firsts.items()) if start < first]

    def times(self, name, period):
        """Returns the times of a segment's first and last frame, seconds, from its frame log.

        period: seconds a frame, for frames without a time. ValueError for a damaged log.
        """
        try:
            with open(self._logdir / log_of(name), "rb") as log:
                rows = [log.readline()]
                log.seek(max(log.seek(0, os.SEEK_END) - _LONGEST_ROW, 0))
                rows.append(log.read().splitlines()[-1])
            rows = [files.parse_json(row) for row in rows]
            start, last = (
                row["frame"] * period if row["time"] is None else row["time"] for row in rows
            )
            if 0 <= start <= last < math.inf:
                return start, last
        except (OSError, ValueError, LookupError, TypeError):
            pass
        raise ValueError(f"{log_of(name)} is damaged")

    def delete(self, name):
        """Deletes a segment, or what is left of it. UserError if the system refuses."""
        paths = [path for path, segment in self._remains() if segment == name]
        for path in [self._logdir / log_of(name), *paths]:
            with disk_errors_as_user_errors(path):
                _delete(path)

    def delete_all(self):
        """Deletes all segments."""
        for path, _ in self._remains():
            with disk_errors_as_user_errors(path):
                _delete(path)

    def delete_without_log(self, after=-1):
        """Deletes what is left of segments that have no frame log, and unfinished files.

        after: leave segments whose first frame is not later than this one.
        """
        for path, segment in self._remains():
            is_later = segment_names.first_of(segment) > after
            if path.suffix == ".tmp" or (is_later and not self.has_log(segment)):
                with disk_errors_as_user_errors(path):
                    _delete(path)

    def delete_parts_but(self, name):
        """Deletes the parts of videos of all segments but one."""
        for path, segment in self._in(self._logdir / PARTS, ""):
            if segment != name:
                with disk_errors_as_user_errors(path):
                    _delete(path)

    def _remains(self):
        """Returns (path, segment) of all that there is of segments."""
        return [
            *self._in(self._logdir, r"\.jsonl"),
            *self._in(self._logdir, r"\.v2"),
            *self._in(self._logdir / PARTS, ""),
            *(found for o in self._overlays for found in self._in(o, r"\.mp4(\.tmp)?")),
            *self._in(self._masks, ""),
        ]

    def _in(self, folder, suffix):
        if not (folder and folder.is_dir()):
            return []
        found = [(path, _segment_in(path.name, suffix)) for path in folder.iterdir()]
        return [(path, segment) for path, segment in found if segment]


def segments_in(folder):
    """Returns the names of the segments whose videos or masks are in a folder."""
    if not Path(folder).is_dir():
        return set()
    return {name for p in Path(folder).iterdir() if (name := _segment_in(p.name, r"(\.mp4)?"))}


def _segment_in(name, suffix=r"\.(jsonl|v2)"):
    prefix = r"(frames-|events\.out\.tfevents\..*\.|\.|)"
    found = re.fullmatch(rf"{prefix}(?P<segment>{segment_names.PATTERN}){suffix}", name)
    return found and found["segment"]


def _delete(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
