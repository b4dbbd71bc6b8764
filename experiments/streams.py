"""Writes a stream list, a CSV file, from videos and their recordings.

    python -m teacher.record --video=clips/street.mp4 --teacher=path/to/saved_model \\
        --output=clips/street.recording
    python -m experiments.streams --videos=clips --output=clips/list.csv

`experiments.protocol.streams` describes the columns.
"""

import os
import pathlib
import re

from absl import flags

from experiments.protocol import streams
from jitnet_tf.base import command_line, files
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar

FLAGS = flags.FLAGS


def define_flags():
    """Defines the flags of the list of streams."""
    define_path(
        "videos", None, "Folder of videos, or of folders of frames or of chunks.", required=True
    )
    define_path("recordings", None, "Folder of NAME.recording files. Default: --videos.")
    define_path("output", None, "The list to write.", required=True)
    flags.DEFINE_integer(
        "max_frames", streams.PAPER_FRAMES, "Number of frames of each to evaluate.", lower_bound=1
    )
    flags.DEFINE_bool("overwrite", False, "Replace an existing --output.")


def main():
    """Writes a list of all videos in --videos that have a recording."""
    recordings = FLAGS.recordings or FLAGS.videos
    if os.path.lexists(FLAGS.output) and not FLAGS.overwrite:
        raise UserError(f"--output={FLAGS.output} exists: give --overwrite or another name")
    for folder in (FLAGS.videos, recordings):
        if not os.path.isdir(folder):
            raise UserError(f"the folder {folder!r} is missing: check --videos and --recordings")
    found, without = [], []
    for path in sorted(pathlib.Path(FLAGS.videos).iterdir()):
        recording = os.path.join(recordings, f"{path.stem}.recording")
        is_input = path.suffix in (".recording", ".csv") or path.name.startswith(".")
        if os.path.isfile(recording) and not is_input:
            name = re.sub(r"[^\w .+-]", "-", path.stem)  # a valid name of a stream
            if any(name == other for other, *_ in found):
                raise UserError(f"{FLAGS.videos!r} has two videos named {name!r}: rename one")
            found.append((name, str(path), recording))
        elif not is_input:
            without.append(path.name)
    if not found:
        raise UserError(
            f"no video in {FLAGS.videos!r} has a NAME.recording in {recordings!r}: make them with "
            "python -m teacher.record"
        )
    with progress_bar(found, "reading recordings", unit="stream") as progress:
        proposed = [streams.propose(*names, FLAGS.max_frames) for names in progress]
    empty = [stream.name for stream in proposed if not stream.classes]
    proposed = [stream for stream in proposed if stream.classes]
    if not proposed:
        raise UserError(
            f"none of the recordings has one of {', '.join(streams.CLASSES)} on "
            f"{100 * streams.PRESENT:.0f} % of its frames: record other videos"
        )
    folder = os.path.dirname(FLAGS.output)
    text = streams.to_csv(proposed, FLAGS.videos, recordings)
    try:
        os.makedirs(folder or ".", exist_ok=True)
        files.write_text(FLAGS.output, text)
    except OSError as error:
        raise UserError(f"--output={FLAGS.output} cannot be written ({error})") from None
    print(f"{FLAGS.output}: {len(proposed)} streams; check their categories and classes")
    for what, names in (("no recording", without), ("none of the classes", empty)):
        if names:
            print(f"left out, {what}: {', '.join(names)}")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
