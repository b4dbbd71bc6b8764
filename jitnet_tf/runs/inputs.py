"""The inputs of a run. Those of a run to resume may have moved, but have to be the same."""

import hashlib
import math
import os

import numpy as np

from jitnet_tf import video
from jitnet_tf.base import options
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.options import MOVED
from jitnet_tf.config.names import ASYNC
from jitnet_tf.labels import region
from jitnet_tf.runs.played import Played
from teacher import open_teacher, split_spec
from teacher.encoding import is_like, thumbnail
from teacher.lvs import Predictions
from teacher.process import ProcessTeacher
from teacher.record import describe_live
from teacher.recorded import Recording

# Entries of a checkpoint's progress.
IDENTITIES = "inputs"
FRAME = ("thumbnail", "frame_digest")
NAMES = "teacher_names"  # of the classes of a live teacher, in its identity
IGNORED = "ignore_mask"


class Inputs:
    """Source, teacher and reference of a run, opened.

    Args:
      config: a RunConfig.
      teacher: the caller's own Teacher, which is not closed; None for the configuration's.
      stack: an ExitStack, which closes them.
      played: frames that a resumed run has passed of a file in real time.

    Attributes:
      source: the FrameSource.
      teacher: the Teacher; a `ProcessTeacher` if config.teacher_mode is ASYNC.
      reference: a Recording, or None.
      ignored: the region to ignore, bool [H, W]; None without one.
      identities: see `identities`.
      problems: a sentence if the region to ignore is empty.

    Raises:
      UserError: one cannot be opened, or does not fit.
    """

    def __init__(self, config, teacher, stack, played=0):
        opened = video.open_source(
            config.video, config.frame_size, _patience(config), config.realtime, played
        )
        self.source = stack.enter_context(opened)
        if config.lookahead and self.source.live:
            raise UserError(
                f"--lookahead: {self.source.spec} is live and has no frames ahead: leave it out"
            )
        if teacher is None:
            opens = ProcessTeacher if config.teacher_mode == ASYNC else open_teacher
            teacher = opens(config.teacher, config.teacher_options)
            stack.callback(teacher.close)
        self.teacher = teacher
        self._local = getattr(teacher, "local", teacher)  # of one in another process
        self._recorded_reference = Recording(config.reference) if config.reference else None
        if self._recorded_reference:
            stack.callback(self._recorded_reference.close)
        self.reference = self._recorded_reference
        self.identities = identities(config, self._local or self.teacher, self.reference)
        self.ignored, self.problems = None, []
        if config.ignore_mask:
            self._read_region(config.ignore_mask)
        for recording in (self._local, self.reference):
            if isinstance(recording, Recording):
                recording.check_score_threshold(config.score_threshold)
                recording.check_size(self.source.size)
        if config.realtime:  # frames are dropped, of which recordings know nothing
            if self.teacher.precomputed:
                self.teacher = Played(self.teacher, self.source)
            if self.reference:
                self.reference = Played(self.reference, self.source)

    def _read_region(self, path):
        found = region.read_region(path, self.source.size)
        self.identities[IGNORED] = {"digest": region.digest(found)}
        if found.any():
            self.ignored = found
        else:
            self.problems.append(
                f"--ignore_mask={path} is black or transparent everywhere, so that nothing is "
                "ignored"
            )

    def seek(self, config, earlier, progress):
        """Goes to a checkpoint's frame, and checks that all inputs are those of the run.

        Args:
          config, earlier: the RunConfig now and before.
          progress: the checkpoint's.

        Returns:
          The problems of inputs that have moved, a sentence each.
        """
        parts = self._local, self._recorded_reference
        check_same_region(config, earlier, progress, self.identities)
        return [
            *seek(self.source, progress, earlier),
            *check_same(config, earlier, progress, self.identities, *parts),
        ]


def _patience(config):
    """Returns the `video.Patience` with a live source."""
    longest = math.inf if config.reconnect_for is None else config.reconnect_for
    return video.Patience(longest, config.frozen_for)


def check_present(config):
    """Raises UserError if inputs of a run to resume are gone; it names the flags to give."""
    gone = {}
    for field, about in options.options(config):
        value = getattr(config, field.name)
        path = split_spec(value)[1] if about.resume == MOVED and value else ""
        # Absolute, it was there when the run started; a pattern never is.
        if os.path.isabs(path) and not os.path.exists(path) and "%" not in path:
            gone[f"--{field.name}"] = path
    if gone:
        raise UserError(
            f"--resume: there is no {', '.join(dict.fromkeys(gone.values()))} (any more): give "
            f"{', '.join(gone)} with the place where it is now"
        )


def describe_frame(frame):
    """Returns what a checkpoint keeps of its latest frame, under the names FRAME, as JSON values.

    A thumbnail, by which it is recognized, and a digest, which other decoders need not give.
    """
    digest = hashlib.blake2b(np.ascontiguousarray(frame), digest_size=8).hexdigest()
    return {"thumbnail": thumbnail(frame).tolist(), "frame_digest": digest}


def seek(source, progress, earlier):
    """Seeks a source to its frame at a checkpoint. Live sources cannot seek: frames are lost.

    Args:
      source: a FrameSource.
      progress: the checkpoint's.
      earlier: the RunConfig that the run had.

    Returns:
      Problems, a sentence each: if it is the same video only as far as a thumbnail tells.

    Raises:
      UserError: it is not the video that the checkpoint was taken on.
    """
    if not progress["frames"]:
        return []
    before = video.without_credentials(earlier.video)
    if source.live:
        if source.spec != before:
            raise UserError(
                f"--resume: --video={source.spec} is live, so that it cannot be told whether it "
                f"shows the same as the run's --video={before}: give that, or start another run"
            )
        return []
    last = progress["frames"] - 1
    same = source.size == tuple(progress["frame_size"]) and source.skip(last) == last
    frame = next(source, None) if same else None
    if frame is None or not is_like(frame, np.array(progress["thumbnail"], np.uint8)):
        was = "" if source.spec == before else f" ({before})"
        raise UserError(
            f"--resume: --video={source.spec} is not the video that the run was made of{was}, or "
            "not the whole of it any more"
        )
    known = progress.get("frame_digest")
    if describe_frame(frame)["frame_digest"] == known or (known is None and source.spec == before):
        return []
    return [
        f"resumed on --video={source.spec}, whose frame {last} is like that of the run so far, but "
        "not equal: if it is another video, start another run"
    ]


def identities(config, teacher, reference):
    """Returns what tells whether teacher and reference are the same, as JSON values.

    Args:
      config: a RunConfig.
      teacher: the teacher, as opened in this process if it is precomputed.
      reference: a Recording, or None.
    """
    found = {"teacher": _identity(config, teacher)}
    if reference:
        found["reference"] = reference.identity()
    return found


def _identity(config, teacher):
    if isinstance(teacher, Recording):
        return teacher.identity()
    if not config.teacher:  # the caller's own, of which only the classes are known
        return {"categories": list(teacher.names.values())}
    if isinstance(teacher, Predictions):
        described = teacher.header
    else:
        described = describe_live(config.teacher, config.teacher_options)
    return {name: value for name, value in described.items() if name != "teacher"}


def check_same_region(config, earlier, progress, found):
    """Raises UserError if the region to ignore is not that of a checkpoint; see `check_same`."""
    if found.get(IGNORED) != progress.get(IDENTITIES, {}).get(IGNORED):
        raise UserError(
            f"--resume: --ignore_mask={config.ignore_mask} does not ignore the same pixels as the "
            f"mask that the run was made with ({earlier.ignore_mask}): give that, or start another "
            "run"
        )


def check_same(config, earlier, progress, found, teacher, reference):
    """Checks that teacher and reference are those of a checkpoint.

    Args:
      config, earlier: the RunConfig now and before.
      progress: the checkpoint's.
      found: the `identities` now.
      teacher, reference: see `identities`.

    Returns:
      Problems, a sentence each: where an older version has not noted what they were.

    Raises:
      UserError: one is another, or of another kind.
    """
    problems = []
    for flag, part in (("teacher", teacher), ("reference", reference)):
        now, before = getattr(config, flag), getattr(earlier, flag)
        known = progress.get(IDENTITIES, {}).get(flag)
        if not now or not before:
            same = not (now or before)
        else:
            same = split_spec(now)[0] == split_spec(before)[0]
        if same and known and isinstance(part, Recording):  # it may have grown
            same = part.identity(known.get("frames")) == known
        elif same and known:
            same = found.get(flag) == known
            if not same and {**found.get(flag, {}), NAMES: None} == {**known, NAMES: None}:
                raise UserError(
                    f"--resume: --teacher_classes={config.teacher_classes} are not the classes "
                    f"that the run was made with ({earlier.teacher_classes}): give those, or start "
                    "another run"
                )
        if not same:
            raise UserError(
                f"--resume: --{flag}={now} is not the {flag} that the run was made with ({before})"
                ": give that, or start another run"
            )
        moved = now != before or config.teacher_classes != earlier.teacher_classes
        if moved and now and not known:
            problems.append(
                f"resumed with --{flag}={now} for {before}: whether it is the same, the run does "
                "not tell, which an older version began"
            )
    return problems
