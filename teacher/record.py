"""Runs a teacher on a video and records its detections.

    python -m teacher.record --video=street.mp4 --teacher=path/to/saved_model --output=street.rec

The recording serves as `--teacher=recorded:street.rec` and as `--reference=street.rec` of
`jitnet_tf.distill`. If interrupted, the same command resumes it.
"""

import hashlib
import itertools
import json
import pathlib
import time

from absl import flags

from jitnet_tf import video
from jitnet_tf.base import command_line, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from teacher import (
    MIN_SCORE,
    PRECOMPUTED,
    TeacherOptions,
    class_names,
    open_teacher,
    options,
    saved_model_folder,
)
from teacher.base import TeacherError
from teacher.lvs import Predictions
from teacher.recorded import SCALED_FROM, Recording
from teacher.recorder import Recorder

FLAGS = flags.FLAGS
TEACHER_OPTIONS = ("teacher_names", "teacher_signature", "teacher_input")  # in the header


def define_flags():
    """Defines the flags of a recording: video, teacher, output."""
    define_path(
        "video", None, "Video file, folder of frames or of videos, pipe, or URL.", required=True
    )
    define_path(
        "teacher",
        None,
        "SavedModel folder (Mask R-CNN, YOLO, semantic), zoo:NAME, recorded:FILE, or "
        "lvs:FOLDER (a stream of LVS).",
        required=True,
    )
    options.define_flags()
    define_path("output", None, "The recording to write.", required=True)
    flags.DEFINE_string("frame_size", None, "HxW to resize frames to. Default: the native size.")
    flags.DEFINE_integer("max_frames", None, "Stop after this many frames.", lower_bound=1)


def describe_live(spec, chosen=None):
    """Returns a live teacher's entries in a recording's header: its name, a digest, its options.

    The name without its folder, which the recording may outlive. The digest is of the graph and of
    the index of the weights, which contains their checksums. Options that are not given have no
    entry; names of classes that are not COCO's are a JSON list, by id.
    """
    chosen = chosen or TeacherOptions()
    folder = pathlib.Path(saved_model_folder(spec))
    if (folder / "saved_model").is_dir():
        folder = folder / "saved_model"
    digest = hashlib.sha256()
    for pattern in ("saved_model.pb*", "variables/variables.index"):
        for file in sorted(folder.glob(pattern)):
            digest.update(file.read_bytes())
    names = class_names.read(chosen.classes)
    given = {
        "teacher_names": names and json.dumps(names),
        "teacher_signature": chosen.signature,
        "teacher_input": chosen.input,
    }
    return {
        "teacher": pathlib.PurePath(spec).name,
        "teacher_sha256": digest.hexdigest()[:16],
        **{name: value for name, value in given.items() if value is not None},
    }


def describe(spec, teacher, chosen=None):
    """Returns a teacher's entries in a recording's header; teacher: opened from spec."""
    if isinstance(teacher, Recording):  # the detections are those of the live teacher
        wanted = ("teacher", "teacher_sha256", *TEACHER_OPTIONS, "min_score", SCALED_FROM)
        return {name: teacher.header[name] for name in wanted if name in teacher.header}
    described = teacher.header if isinstance(teacher, Predictions) else describe_live(spec, chosen)
    return {**described, "min_score": MIN_SCORE}


def still_to_record(recorder, first, source):
    """Returns an iterator over the frames that are not recorded yet.

    Args:
      recorder: a Recorder.
      first: the first frame, already taken from the source.
      source: a FrameSource.

    Raises:
      UserError: the recorded frames are of another video.
    """
    if not recorder.count:
        return itertools.chain([first], source)
    last = first
    if recorder.count > 1:
        source.skip(recorder.count - 2)
        last = next(source, None)
    recorder.check_last(last)
    return source


def record(source, teacher, header):
    """Writes or resumes --output; returns its number of frames."""
    first = next(source)
    # Fail before a file is made, and keep the warm-up out of the recorded times.
    teacher(first, 0)
    recorder = Recorder(FLAGS.output, header)
    try:
        frames = still_to_record(recorder, first, source)
        total = min(filter(None, (source.announced_frames, FLAGS.max_frames)), default=None)
        progress = progress_bar(frames, "recording", total, initial=recorder.count, unit="frame")
        for frame in progress:
            if FLAGS.max_frames and recorder.count >= FLAGS.max_frames:
                break
            start = time.perf_counter()
            detections = teacher(frame, recorder.count)
            seconds = time.perf_counter() - start
            if teacher.precomputed:
                seconds = teacher.seconds(recorder.count)
            recorder.append(frame, detections, seconds)
        progress.close()
    except TeacherError as error:
        raise UserError(
            f"{error}; {recorder.count} frames are recorded: the same command continues after them"
        ) from error
    finally:
        recorder.close()
    return recorder.count


def without_objects(path):
    """Returns what to say of a recording without any object, in a list that else is empty."""
    with Recording(path) as recording:
        if any(ids for ids, _ in recording.objects(len(recording))):
            return []
        return [f"the teacher found no object on any of the {len(recording)} frames"]


def main():
    """Records the teacher of --teacher on --video."""
    size = video.parse_size(FLAGS.frame_size) if FLAGS.frame_size else None
    with (
        locks.Lock(FLAGS.output, "output") as lock,
        video.open_source(FLAGS.video, size) as source,
    ):
        if source.live:
            raise UserError(
                "a live stream cannot be recorded frame by frame: save it as a file first"
            )
        if source.remark:
            print(source.remark)
        if not FLAGS.teacher.startswith(PRECOMPUTED):
            command_line.import_tensorflow()
        chosen = TeacherOptions.of(FLAGS)
        teacher = open_teacher(FLAGS.teacher, chosen)
        described = describe(FLAGS.teacher, teacher, chosen)
        height, width = source.size
        if isinstance(teacher, Recording) and teacher.frame_size != source.size:
            described.setdefault(SCALED_FROM, "{}×{}".format(*teacher.frame_size))
        name = pathlib.PurePath(source.spec).name
        count = record(
            source, teacher, {**described, "video": name, "height": height, "width": width}
        )
    problems = (*source.problems, *teacher.problems, *without_objects(FLAGS.output))
    for problem in filter(None, (lock.problem, *problems)):
        print(problem)
    print(f"{FLAGS.output}: {count} frames recorded")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
