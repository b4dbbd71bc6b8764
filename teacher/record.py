"""Runs a teacher over a video once and keeps what it says.

    python -m teacher.record --video=street.mp4 --teacher=path/to/saved_model --output=street.rec

The recording serves as `--teacher=recorded:street.rec` and as `--reference=street.rec` of
`jitnet_tf.distill`. Interrupted, the same command goes on where it stopped.
"""

import pathlib
import time

from absl import flags
from tqdm import tqdm

from jitnet_tf import cli
from jitnet_tf.errors import UserError

FLAGS = flags.FLAGS


def define_flags():
    """Defines this command's flags."""
    flags.DEFINE_string("video", None, "Video file, folder of frames, or URL.", required=True)
    flags.DEFINE_string(
        "teacher", None, "SavedModel folder, zoo:NAME, or recorded:FILE.", required=True
    )
    flags.DEFINE_string("output", None, "The recording to write.", required=True)
    flags.DEFINE_string("frame_size", None, "HxW to resize frames to; default: native.")
    flags.DEFINE_integer("max_frames", None, "Stop after this many frames.", lower_bound=1)


def main(argv):
    """See the module."""
    del argv
    from jitnet_tf import video

    size = video.parse_size(FLAGS.frame_size) if FLAGS.frame_size else None
    source = video.open_source(FLAGS.video, size)
    if source.live:
        raise UserError("a live stream cannot be recorded frame by frame: save it as a file first")
    from teacher import MIN_SCORE, open_teacher
    from teacher.recorded import Recorder

    teacher = open_teacher(FLAGS.teacher)
    height, width = source.size
    header = {
        # Names alone: a recording outlives the folders it was made from.
        "teacher": pathlib.PurePath(FLAGS.teacher).name,
        "video": pathlib.PurePath(source.spec).name,
        "height": height,
        "width": width,
        "min_score": MIN_SCORE,
    }
    recorder = Recorder(FLAGS.output, header)
    try:
        source.skip(recorder.count)
        total = min(filter(None, (source.announced_frames, FLAGS.max_frames)), default=None)
        progress = tqdm(source, "recording", total, initial=recorder.count, unit="frame")
        for frame in progress:
            if FLAGS.max_frames and recorder.count >= FLAGS.max_frames:
                break
            start = time.perf_counter()
            instances = teacher(frame, recorder.count)
            recorder.append(frame, instances, time.perf_counter() - start)
        progress.close()
    finally:
        recorder.close()
    for problem in source.problems:
        print(problem)
    print(f"{FLAGS.output}: {recorder.count} frames recorded")


if __name__ == "__main__":
    define_flags()
    cli.main(main)
