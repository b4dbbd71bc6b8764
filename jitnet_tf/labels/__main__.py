"""Turns a run's class masks into a data set that other tools read.

    python -m jitnet_tf.labels --run=runs/street --format=coco --output=street_coco

The run needs --masks. `coco` writes images/ and annotations.json, `yolo` images/, labels/ and
data.yaml as Ultralytics reads them, `png` images/ and labels/ as `jitnet_tf.pretrain --labels`
takes them. Each connected region of a class is an object. labels.json says what was lost.
"""

import itertools
import json
import os
import pathlib
import tempfile

import numpy as np
from absl import flags

from jitnet_tf import video
from jitnet_tf.base import checkpoint, command_line, files, locks
from jitnet_tf.base.credentials import MASK
from jitnet_tf.base.errors import UserError, reason_of
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from jitnet_tf.labels import masks
from jitnet_tf.labels.formats import FORMATS, IMAGES, write_image
from jitnet_tf.labels.region import read_region
from jitnet_tf.runs import directory
from teacher.encoding import is_like

FLAGS = flags.FLAGS
REPORT = "labels.json"


def define_flags():
    """Defines the flags: run, format, output."""
    define_path("run", None, "Run directory of jitnet_tf.distill.", required=True)
    flags.DEFINE_enum("format", "coco", list(FORMATS), "Format of the data set.")
    define_path("output", None, "Folder of the data set.", required=True)
    flags.DEFINE_integer("every", 1, "Take every so many-th mask.", lower_bound=1)
    flags.DEFINE_bool("images", True, "Write the frames, too, read again from the video.")
    define_path("video", None, "Where the run's video is now. Default: where it was.")
    define_path("ignore_mask", None, "Where the run's ignore mask is now. Default: where it was.")
    flags.DEFINE_bool("overwrite", False, "Replace an earlier data set in --output.")


def main():
    """Writes the data set, whole or not at all."""
    with locks.Lock(FLAGS.output, "output") as lock:
        _write(pathlib.Path(FLAGS.output))
    if lock.problem:
        print(f"note: {lock.problem}")


def _write(output):
    _check_output(output)
    config = directory.load_config(FLAGS.run)
    found, names = _masks(config)
    first = masks.read_mask(found[0][1], len(names))
    ignored = None
    if path := FLAGS.ignore_mask or config.ignore_mask:
        ignored = read_region(path, first.shape)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".labels-", dir=output.parent, ignore_cleanup_errors=True
        ) as folder:
            new, aside = pathlib.Path(folder, "new"), pathlib.Path(folder, "old")
            new.mkdir()
            writer = FORMATS[FLAGS.format](new, names, ignored)
            _add_all(writer, new, config, found, len(names), first.shape)
            writer.finish()
            report = {
                "run": files.printable(FLAGS.run),
                "format": FLAGS.format,
                "frames": len(found),
                "classes": names,
                "objects": writer.objects,
                "notes": writer.notes,
            }
            files.write_text(new / REPORT, json.dumps(report, indent=2) + "\n")
            files.put_in_place(new, output, aside)
    except OSError as error:
        raise UserError(f"--output={output} cannot be written ({reason_of(error)})") from None
    objects = "" if writer.objects is None else f", {writer.objects} objects"
    print(f"{output}: {len(found)} frames{objects}, classes {', '.join(names)}")
    for note in writer.notes:
        print(f"note: {note}")


def _check_output(output):
    """Raises UserError if the output would replace other files."""
    if not os.path.lexists(output) or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / REPORT).is_file():
        raise UserError(f"--output={output} exists and is no data set of masks: give another name")
    if not FLAGS.overwrite:
        raise UserError(f"--output={output} exists: give --overwrite, or another name")


def _masks(config):
    """Returns (frame index, path) of the masks to take, and the names of the classes."""
    if not config.masks:
        raise UserError(
            f"--run={FLAGS.run} has no masks: a run writes them if it is given --masks=FOLDER"
        )
    if not os.path.isdir(config.masks):
        raise UserError(f"--run={FLAGS.run}: its masks are no longer in {config.masks!r}")
    if config.realtime and FLAGS.images:
        raise UserError(
            f"--run={FLAGS.run} was played with --realtime, so that its masks have other numbers "
            "than the frames of its video: give --noimages"
        )
    try:
        found = masks.mask_files(config.masks)[:: FLAGS.every]
    except OSError as error:
        raise UserError(
            f"--run={FLAGS.run}: its masks in {config.masks!r} cannot be read "
            f"({reason_of(error)}); if the run goes on and deletes old ones, try again"
        ) from None
    if not found:
        raise UserError(f"--run={FLAGS.run}: its folder {config.masks!r} holds no masks")
    return found, masks.class_names(config.masks)


def _add_all(writer, folder, config, found, classes, size):
    """Adds the masks to a data set, with the frames of the run's video."""
    frames = ((index, None) for index, _ in found)
    if FLAGS.images:
        (folder / IMAGES).mkdir()
        frames = _frames(config, {index for index, _ in found}, size)
        frames = itertools.chain([next(frames)], frames)  # what does not fit fails here
    for index, path in progress_bar(found, "writing", len(found)):
        mask = masks.read_mask(path, classes)
        if mask.shape != size:
            raise UserError(f"{path} is of {mask.shape}, and the first mask of {size}")
        name = f"frame_{index:06d}"
        _, frame = next(frames)
        if frame is not None:
            write_image(folder, name, frame)
        writer.add(index, name, mask)
    for _ in frames:  # looks at the last frame
        pass


def _frames(config, indices, size):
    """Yields (index, frame) of a run's video, and checks that it is the run's.

    The last frame at the run's checkpoint is known by its thumbnail.
    """
    if not FLAGS.video and MASK in config.video:
        raise UserError(f"the run keeps no passwords of its {config.video}: give --video")
    last, thumbnail = _last_frame()
    with video.open_source(FLAGS.video or config.video, config.frame_size) as source:
        where = f"--video={source.spec}"
        if source.live:
            raise UserError(
                f"{where} is live, so that its frames cannot be read again: give --noimages, or "
                "--video with a file of the same frames"
            )
        if source.size != size:
            raise UserError(f"{where} has frames of {source.size}, and the masks are of {size}")
        for index in sorted(indices if last is None else {*indices, last}):
            source.skip(index - source.decoded)
            frame = next(source, None)
            if frame is None:
                raise UserError(f"{where} ends after {source.decoded} frames, before frame {index}")
            if index == last and not is_like(frame, thumbnail):
                raise UserError(f"{where} is not the video that the run in {FLAGS.run!r} was of")
            if index in indices:
                yield index, frame


def _last_frame():
    """Returns the index of the last frame at the run's checkpoint and its thumbnail, or None."""
    if not (pathlib.Path(FLAGS.run) / checkpoint.NAME).is_file():  # killed before the first one
        return None, None
    progress = checkpoint.load(FLAGS.run)[1]
    if not progress.get("thumbnail"):
        return None, None
    return progress["frames"] - 1, np.array(progress["thumbnail"], np.uint8)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
