"""Small real files that several test modules work on."""

import dataclasses
import json
import struct
import zlib

import av
import cv2
import numpy as np
import tensorflow as tf

from experiments.protocol.streams import Stream
from jitnet_tf.config import PretrainConfig
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining.augmentation import Augmentation
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from teacher.detections import Detections, from_box_masks
from teacher.recorder import Recorder

SIZE = (48, 64)
SQUARE = 28  # pixels, the side of `square_scene`'s
IMAGE_SIZES = ((96, 128), (120, 96), (104, 136))
GRAY, RGB, PALETTE, GRAY_ALPHA = 0, 2, 3, 4  # color types of PNGs


def frames(count, size=SIZE, seed=0):
    """A drifting scene that differs for each seed."""
    scene = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    scene = cv2.resize(scene, (size[1] + count, size[0]), interpolation=cv2.INTER_NEAREST)
    return [np.ascontiguousarray(scene[:, i : i + size[1]]) for i in range(count)]


def write_video(path, pictures):
    """Writes a lossless H.264 video of uint8 RGB images."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_teacher(path, **changes):
    """Writes a SavedModel like Mask R-CNN that finds bright pixels in two fixed boxes.

    changes: name → constant, other outputs than the model's.
    """
    boxes = tf.constant([[[0.1, 0.05, 0.6, 0.5], [0.3, 0.4, 1.02, 0.9], [0, 0, 0, 0]]])

    def detect(input_tensor):
        gray = tf.reduce_mean(tf.cast(input_tensor, tf.float32), -1, keepdims=True) / 255
        crops = tf.image.crop_and_resize(gray, boxes[0], [0, 0, 0], [33, 33])[..., 0]
        scores = tf.stack([0.6 + 0.3 * tf.reduce_mean(gray), 0.55, 0.0])
        return {
            "detection_boxes": boxes,
            "detection_scores": scores[None],
            "detection_classes": tf.constant([[1.0, 3.0, 1.0]]),
            "detection_masks": crops[None],
            "num_detections": tf.constant([2.0]),
            **{name: tf.constant(value) for name, value in changes.items()},
        }

    module = tf.Module()
    spec = tf.TensorSpec((1, None, None, 3), tf.uint8, "input_tensor")
    module.detect = tf.function(detect, input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.detect})
    return path


def write_semantic_teacher(path, size=SIZE):
    """Saves a SavedModel with Cityscapes' ids: bright pixels are a rider, the upper half is sky."""
    upper = np.zeros((1, *size), bool)
    upper[:, : size[0] // 2] = True

    @tf.function(input_signature=[tf.TensorSpec((1, *size, 3), tf.uint8)])
    def serve(image):
        return {"ids": tf.where(image[..., 1] > 127, 12, tf.where(upper, 10, 0))}

    tf.saved_model.save(tf.Module(), str(path), {"serving_default": serve})
    return path


def write_street(folder):
    """Writes street.mp4, of 20 frames, and the SavedModel `teacher`; returns the folder."""
    write_video(folder / "street.mp4", frames(20))
    write_teacher(folder / "teacher")
    return folder


def write_no_npz(path, content, whole):
    """Writes an invalid .npz of weights of one of five kinds; whole: valid arrays."""
    if content == "text":
        path.write_text("no\nnpz")
    elif content == "pickle":
        np.save(path.with_name("x.npy"), np.array([{}], object), allow_pickle=True)
        path.write_bytes(path.with_name("x.npy").read_bytes()[128:])
    elif content == "npy":
        np.save(path.with_name("x.npy"), np.zeros(3))
        path.write_bytes(path.with_name("x.npy").read_bytes())
    elif content == "objects":
        np.savez(path, **{next(iter(whole)): np.array([{}], object)})
    else:
        np.savez(path, **whole)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    return path


def texture(size, seed, darkest=0, brightest=255):
    """Smooth blobs of color in which any motion is visible. uint8 RGB [*size, 3]."""
    grain = 4
    blobs = (size[0] // grain + 2, size[1] // grain + 2, 3)
    blobs = np.random.default_rng(seed).integers(darkest, brightest, blobs, np.uint8)
    return cv2.resize(blobs, size[::-1], interpolation=cv2.INTER_CUBIC)


def square_scene(count, speed=(1, 1), size=(64, 96)):
    """A bright square, the person, that crosses a dark wall: (frames, labels).

    speed: (y, x), pixels a frame. frames: uint8 RGB [H, W, 3]; labels: uint8 [H, W], 1 on the
    square, whose first pixel is (4, 4) in the first frame.
    """
    wall, square = texture(size, 0, 60, 120), texture((SQUARE, SQUARE), 1, 150, 255)
    pictures, labels = [], []
    for i in range(count):
        y, x = 4 + speed[0] * i, 4 + speed[1] * i
        window = np.s_[y : y + SQUARE, x : x + SQUARE]
        picture, label = wall.copy(), np.zeros(size, np.uint8)
        picture[window], label[window] = square, 1
        pictures.append(picture)
        labels.append(label)
    return pictures, labels


def write_square_stream(folder, name, count, speed=(1, 1), seconds=0.5):
    """Writes `square_scene` as a video and the recording of a perfect teacher: a Stream."""
    pictures, labels = square_scene(count, speed)
    path = write_video(folder / f"{name}.mp4", pictures)
    header = {"teacher": "t", "video": name, "min_score": 0.05}
    height, width = labels[0].shape
    recording = folder / f"{name}.recording"
    recorder = Recorder(recording, {**header, "height": height, "width": width})
    for picture, label in zip(pictures, labels, strict=True):
        y, x = (int(axis.min()) for axis in np.nonzero(label))
        box = np.float32([[y / height, x / width, (y + SQUARE) / height, (x + SQUARE) / width]])
        mask = np.ones((SQUARE, SQUARE), bool)
        person = Detections(box, np.int32([1]), np.float32([0.9]), (mask,), np.int32([[y, x]]))
        recorder.append(picture, person, seconds)
    recorder.close()
    return Stream(name, "squares", ("person",), str(path), str(recording), None)


def write_recording(path, pictures, seen):
    """Records a teacher on pictures of SIZE. seen: for each, its objects as (COCO id, score)."""
    header = {"teacher": "t", "video": "v", "height": SIZE[0], "width": SIZE[1], "min_score": 0.05}
    recorder = Recorder(path, header)
    for picture, objects in zip(pictures, seen, strict=True):
        count = len(objects)
        boxes = np.tile([[0.1, 0.1, 0.6, 0.5]], (count, 1))
        classes, scores = zip(*objects, strict=True) if objects else ((), ())
        masks = np.ones((count, 5, 5))
        detections = from_box_masks(boxes.reshape(-1, 4), classes, scores, masks, SIZE)
        recorder.append(picture, detections, 0.1)
    recorder.close()
    return path


def write_images(folder, count):
    """Writes annotated images: (annotation file in COCO's format, folder of the images).

    JPEG and PNG in turn, every other one in a subfolder, in each of IMAGE_SIZES. Each has a
    person in two parts, polygons; a car, run lengths, over the second part; a crowd of people over
    the car's right half and beyond, run lengths; a chair, which is in no group of lvs, and a lamp,
    which is not a category of COCO. The file's category ids are not COCO's.
    """
    pictures = folder / "pictures"
    (pictures / "more").mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        height, width = size = IMAGE_SIZES[i % len(IMAGE_SIZES)]
        name = f"{'more/' if i % 2 else ''}{i:03d}.{'png' if i % 4 > 1 else 'jpg'}"
        picture = texture(size, i)
        parts = [[5, 5, 30, 8, 25, 40, 8, 36], [40.5, 10.2, 70, 10, 70, 50, 40, 50]]
        cv2.fillPoly(picture, [np.int32(part).reshape(-1, 2) for part in parts], (250, 40, 40))
        picture[30:60, 50:80] = (40, 40, 250)
        cv2.imwrite(str(pictures / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        images.append({"id": 3 * i + 5, "file_name": name, "height": height, "width": width})
        for category, segmentation, (x, y, w, h), is_crowd in (
            (7, parts, (5, 5, 65, 45), 0),
            (1, run_lengths(size, np.s_[30:60, 50:80]), (50, 30, 30, 30), 0),
            (7, run_lengths(size, np.s_[40:90, 65:95]), (65, 40, 30, 50), 1),
            (3, [[10, 70, 30, 70, 30, 90, 10, 90]], (10, 70, 20, 20), 0),
            (2, [[40, 70, 50, 70, 50, 90, 40, 90]], (40, 70, 10, 20), 0),
        ):
            number = len(annotations) + 1
            annotation = {"id": number, "image_id": images[-1]["id"], "category_id": category}
            shape = {"segmentation": segmentation, "bbox": [x, y, w, h], "area": w * h}
            annotations.append({**annotation, **shape, "iscrowd": is_crowd})
    names = {7: "person", 1: "car", 3: "chair", 2: "lamp"}
    categories = [{"id": number, "name": name} for number, name in names.items()]
    data = {"images": images, "annotations": annotations, "categories": categories}
    file = folder / "instances.json"
    file.write_text(json.dumps(data))
    return file, pictures


def png(pixels, bits=8, kind=GRAY, transparent=b""):
    """Encodes integers [H, W] or [H, W, channels] of so many bits as a PNG.

    kind: PNG's color type. transparent: the content of its tRNS chunk. Palettes repeat colors.
    """

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    rows = []
    for row in np.reshape(pixels, (len(pixels), -1)):
        text = "".join(format(value, f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)))
    height, width = np.shape(pixels)[:2]
    data = b"\x89PNG\r\n\x1a\n"
    data += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    if kind == PALETTE:
        data += chunk(b"PLTE", bytes(i // 4 for i in range(3 * 2**bits)))
    if transparent:
        data += chunk(b"tRNS", transparent)
    return data + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")


def write_label_folder(folder, count):
    """Writes `write_images` and their labels as PNGs: (annotation file, images, labels).

    Gray and with a palette in turn, 255 in crowds; with a classes.json.
    """
    file, images = write_images(folder, count)
    groups = class_groups("lvs")
    dataset = CocoDataset(file, images, LabelMaker(groups))
    labels = folder / "labels"
    for number, name in enumerate(dataset.names):
        _, ids, weights = dataset.read(number)
        ids[weights == 0] = 255
        path = (labels / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(ids, kind=PALETTE if number % 2 else GRAY))
    (labels / "classes.json").write_text(json.dumps(dict(enumerate(groups.names))))
    return file, images, labels


def augmentation(crop, **changes):
    """The default Augmentation with changed fields."""
    default = Augmentation.of(PretrainConfig())
    return dataclasses.replace(default, crop=crop, **changes)


def run_lengths(size, window):
    """COCO's run lengths, as numbers, of a mask that covers a window."""
    mask = np.zeros(size, bool)
    mask[window] = True
    changes = np.flatnonzero(np.diff(mask.ravel(order="F"))) + 1
    counts = np.diff([0, *changes, mask.size]).tolist()
    return {"size": list(size), "counts": [0, *counts] if mask[0, 0] else counts}


def resizing(before, after):
    """The matrix of bilinear resizing with aligned corners along one side."""
    at = np.linspace(0, before - 1, after) if after > 1 else np.zeros(1)
    low = np.minimum(at.astype(int), max(before - 2, 0))
    rows, part = np.arange(after), at - low
    matrix = np.zeros((after, before))
    matrix[rows, low] += 1 - part
    matrix[rows, np.minimum(low + 1, before - 1)] += part
    return matrix
