"""Labels a folder of images by a teacher, in COCO's format.

    python -m teacher.annotate --images=photos --teacher=path/to/saved_model --output=photos.json

`jitnet_tf.pretrain` takes the file as `--annotations=photos.json --images=photos`; so does any
program that reads COCO's instances. Repeat the command to continue after an interruption.
"""

import collections
import json
import os
import pathlib

import numpy as np
from absl import flags
from pycocotools import mask as coco_mask

from jitnet_tf.base import command_line, files, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path
from jitnet_tf.base.progress import progress_bar
from teacher import PRECOMPUTED, TeacherOptions, coco, open_teacher, options
from teacher.base import TeacherError
from teacher.images import (
    NOTES,
    UNREAD,
    UnreadableError,
    inspect,
    list_images,
    passed_over,
    read_image,
    remarked,
)
from teacher.record import describe_live
from teacher.recorded import difference

FLAGS = flags.FLAGS
SHOWN_PROBLEMS = 10
PARTIAL = ".partial"  # suffix of the unfinished file: a line of JSON for each image


def define_flags():
    """Defines the flags of an annotation: images, teacher, output."""
    define_path("images", None, "Folder of images, with subfolders.", required=True)
    define_path(
        "teacher",
        None,
        "SavedModel folder (Mask R-CNN, YOLO, semantic), or zoo:NAME.",
        required=True,
    )
    options.define_flags()
    define_path("output", None, "The annotation file to write, .json.", required=True)


def annotations(detections, frame_size, names=coco.NAMES):
    """Converts Detections to COCO's annotations: masks as compressed RLE, boxes in pixels.

    The annotations have no ids yet. Detections without a name or without a pixel are left out.
    names: id → name of the detections' categories.
    """
    H, W = frame_size
    rows = []
    for box, number, score, mask, (y, x) in zip(
        detections.boxes.astype(float),
        detections.classes.tolist(),
        detections.scores.tolist(),
        detections.masks,
        detections.origins,
        strict=True,
    ):
        if number not in names or not mask.any():
            continue
        whole = np.zeros(frame_size, np.uint8, order="F")
        whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        rle = coco_mask.encode(whole)
        y0, x0, y1, x1 = (box * (H, W, H, W)).tolist()
        rows.append(
            {
                "category_id": number,
                "segmentation": {"size": [H, W], "counts": rle["counts"].decode()},
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": int(mask.sum()),
                "iscrowd": 0,
                "score": score,
            }
        )
    return rows


def annotate(folder, teacher, described, output):
    """Writes the annotation file `output`, or continues an interrupted one.

    Args:
      folder: the folder of the images.
      teacher: a Teacher.
      described: JSON values that identify the teacher, see `record.describe_live`; they go into
        the file's "info".
      output: path of the file.

    Returns:
      What the user has to know of the images and of their labels, a sentence each.

    Raises:
      UserError: the file exists; the unfinished file is of other images, of another teacher or of
        an older version; none of the images can be read.
    """
    output = pathlib.Path(output)
    if output.exists():
        raise UserError(f"{str(output)!r} exists already: delete it, or choose another --output")
    names = list_images(folder)
    partial = output.with_name(output.name + PARTIAL)
    info = {**described, "images": len(names)}
    done = _read_partial(partial, info, names)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "a", encoding="utf-8") as file:
            if not done:
                file.truncate(0)
                print(json.dumps(info), file=file)
            progress = progress_bar(names[len(done) :], "labeling", len(names), initial=len(done))
            for name in progress:
                done.append(_annotate_one(pathlib.Path(folder), name, teacher))
                print(json.dumps(done[-1]), file=file)
                file.flush()
        notes = _notes(done, teacher)
        files.write_text(output, json.dumps(_dataset(done, info, teacher.names) | {NOTES: notes}))
    except UserError:
        if not done:
            partial.unlink()  # there is nothing to go on from
        raise
    except OSError as error:  # a full disk, for example
        raise UserError(
            f"{str(output)!r} cannot be written ({error}): fix that and repeat the command"
        ) from error
    partial.unlink()
    unread = [entry["problem"] for entry in done if "problem" in entry]
    if len(unread) == len(done):
        output.unlink()
        raise UserError(f"none of the images in {str(folder)!r} can be read: {unread[0]}, …")
    skipped = [f"skipped {problem}" for problem in unread[:SHOWN_PROBLEMS]]
    if len(unread) > SHOWN_PROBLEMS:
        skipped.append(f"skipped {len(unread)} images in all: they cannot be read")
    remarks = collections.defaultdict(list)
    for entry in done:
        for remark in entry.get("remarks", ()):
            remarks[remark].append(entry["file_name"])
    return [*filter(None, [passed_over(folder)]), *remarked(remarks), *notes, *skipped]


def _notes(done, teacher):
    """Returns what a reader of the annotations has to know, a sentence each."""
    notes = list(teacher.problems)
    if not any(entry.get("annotations") for entry in done):
        notes.append(f"the teacher found nothing in any of the {len(done)} images")
    return notes


def check_same(path, folder, described):
    """Raises UserError unless an annotation file is of these images, by this teacher."""
    names = list_images(folder)
    try:
        found = files.parse_json(pathlib.Path(path).read_bytes())
        same = not difference(found["info"], {**described, "images": len(names)})
        same = same and {image["file_name"] for image in found["images"]} <= set(names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        same = False
    if not same:
        raise UserError(
            f"{str(path)!r} holds labels of other images or of another teacher: delete it, or "
            "choose another folder"
        )


def _annotate_one(folder, name, teacher):
    try:
        frame, remarks = read_image(folder / name), inspect(folder / name)
    except UnreadableError as error:
        return {"file_name": name, "problem": str(error)}
    height, width = frame.shape[:2]
    try:
        detections = teacher(frame, 0)
    except TeacherError as error:
        raise UserError(f"the teacher fails on {folder / name}: {error.reason}") from error
    return {
        "file_name": name,
        "height": height,
        "width": width,
        "annotations": annotations(detections, (height, width), teacher.names),
        **({"remarks": remarks} if remarks else {}),
    }


def _read_partial(path, info, names):
    """Returns the entries of an interrupted call; cuts the file back to its whole lines."""
    if not path.exists():
        return []
    data = path.read_bytes()
    data = data[: data.rfind(b"\n") + 1]
    try:
        found, *done = map(files.parse_json, data.decode().splitlines() or ["null"])
        if done and isinstance(found, dict) and "photographs" in found:
            raise UserError(
                f"{str(path)!r} was begun by an older version: delete it, or choose another "
                "--output"
            )
        same = not done or not difference(found, info)
        same = same and [entry["file_name"] for entry in done] == names[: len(done)]
        _dataset(done, info, {})  # raises an error for entries of another form
    except (ValueError, KeyError, TypeError, AttributeError):
        same = False
    if not same:
        raise UserError(
            f"{str(path)!r} is unfinished and of other images or of another teacher: delete it, "
            "or choose another --output"
        )
    os.truncate(path, len(data) if done else 0)
    return done


def _dataset(entries, info, names):
    images, rows, unread = [], [], {}
    for entry in entries:
        if "problem" in entry:
            unread[entry["file_name"]] = entry["problem"]
            continue
        image = {name: entry[name] for name in ("file_name", "height", "width")}
        images.append({"id": len(images) + 1, **image})
        for row in entry["annotations"]:
            rows.append({"id": len(rows) + 1, "image_id": images[-1]["id"], **row})
    categories = [{"id": number, "name": name} for number, name in names.items()]
    return {
        "info": info,
        "images": images,
        "annotations": rows,
        "categories": categories,
        UNREAD: unread,
    }


def check_not_precomputed(spec):
    """Raises UserError for precomputed teachers: they know one video only."""
    if spec.startswith(PRECOMPUTED):
        raise UserError(
            f"--teacher={spec} is precomputed for one video: to label images, give a SavedModel "
            "folder or zoo:NAME"
        )


def main():
    """Labels the images of --images; see the module's docstring."""
    # Checked before the import of TensorFlow, which takes seconds.
    check_not_precomputed(FLAGS.teacher)
    list_images(FLAGS.images)
    with locks.Lock(FLAGS.output, "output") as lock:
        command_line.import_tensorflow()
        chosen = TeacherOptions.of(FLAGS)
        teacher = open_teacher(FLAGS.teacher, chosen)
        notes = annotate(FLAGS.images, teacher, describe_live(FLAGS.teacher, chosen), FLAGS.output)
    for note in filter(None, (lock.problem, *notes)):
        print(f"note: {note}")
    print(f"{FLAGS.output}: written")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
