"""The kinds of files that are damaged: what a user gives a run or a pretraining."""

import abc
import contextlib
import io
import json
import pathlib
import pickle
import sqlite3
import struct
import zlib

import av
import cv2
import numpy as np
from PIL import Image

from experiments.robustness import damage, stream
from jitnet_tf import video
from jitnet_tf.labels import LabelMaker, class_groups
from jitnet_tf.pretraining.datasets.coco import CocoDataset
from jitnet_tf.pretraining.datasets.label_folder import LabelFolder
from teacher import lvs
from teacher.annotate import annotations
from teacher.images import UnreadableError, read_image
from teacher.recorded import Recording

SIZE = (64, 96)
FRAMES = 12
SCENE = stream.Scene(SIZE)
GROUPS = class_groups("lvs")
BOMB = 3 << 30  # bytes that a small file claims to hold


class Kind(abc.ABC):
    """Files of one kind.

    Attributes:
      share: of all inputs, in parts of the sum over kinds.
      originals: file name → content of intact files.

    Args:
      folder: for the files beside a damaged one, which stay intact; the kind's own.
    """

    share = 1

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.originals = self.write()

    @abc.abstractmethod
    def write(self):
        """Writes the files beside the damaged one; returns `originals`."""

    def damaged(self, random):
        """Returns the name and the content of a damaged file. random: a random.Random."""
        name = random.choice(list(self.originals))
        return name, damage.damaged_bytes(self.originals[name], random)

    @abc.abstractmethod
    def read(self, path):
        """Reads a file as the product does. UserError, if it cannot be used."""

    def command(self, path):
        """Returns a command that reads the file, a module's name and its arguments; None: none."""
        return


def write_stream(folder):
    """Writes the intact stream to a folder; returns the paths of video and recording."""
    return stream.write(folder, FRAMES, SIZE)


def distill(path, **changes):
    """Returns the command of a short run with the intact stream beside the damaged file."""
    folder = path.parents[1]
    flags = {
        "video": folder / "stream.mp4",
        "teacher": f"recorded:{folder / 'stream.recording'}",
        "logdir": folder / "run",
        "init": "random",
        "max_frames": 2,
        **changes,
    }
    return ["jitnet_tf.distill", "--overwrite", *(f"--{n}={v}" for n, v in flags.items())]


class Videos(Kind):
    """Videos in several containers and codecs."""

    share = 20
    formats = (
        ("mp4", "libx264", "yuv420p"),
        ("mov", "mpeg4", "yuv420p"),
        ("mkv", "libx264", "yuv444p"),
        ("avi", "mjpeg", "yuvj420p"),
        ("webm", "libvpx-vp9", "yuv420p"),
        ("ts", "mpeg2video", "yuv420p"),
        ("flv", "flv1", "yuv420p"),
        ("wmv", "wmv2", "yuv420p"),
        ("mpg", "mpeg1video", "yuv420p"),
        ("gif", "gif", "rgb8"),
    )

    def write(self):
        """Writes the stream for `command`; returns a video of each format."""
        write_stream(self.folder)
        return {f"clip.{each[0]}": _encoded(*each) for each in self.formats}

    def read(self, path):
        """Decodes all frames."""
        with video.open_source(str(path)) as source:
            for _, _ in zip(source, range(10 * FRAMES), strict=False):
                pass
            assert source.decoded

    def command(self, path):
        """A run of the video."""
        return distill(path, video=path)


def _encoded(suffix, codec, pix_fmt):
    buffer = io.BytesIO()
    names = {"mkv": "matroska", "ts": "mpegts", "wmv": "asf", "mpg": "mpeg"}
    with av.open(buffer, "w", format=names.get(suffix, suffix)) as container:
        made = container.add_stream(codec, rate=stream.FPS)
        made.height, made.width = SIZE
        made.pix_fmt = pix_fmt
        made.gop_size = 4
        for index in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(SCENE.frame(index)[0], format="rgb24")
            container.mux(made.encode(picture.reformat(format=pix_fmt)))
        container.mux(made.encode(None))
    return buffer.getvalue()


class Images(Kind):
    """Images of several formats, and headers that claim gigantic ones."""

    share = 10
    suffixes = ("png", "jpg", "bmp", "webp", "tif", "ppm", "pgm")

    def write(self):
        """Writes the stream for `command`; returns an image of each format."""
        write_stream(self.folder)
        picture = cv2.cvtColor(SCENE.frame(0)[0], cv2.COLOR_RGB2BGR)
        gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        return {
            f"a.{suffix}": cv2.imencode(f".{suffix}", gray if suffix == "pgm" else picture)[
                1
            ].tobytes()
            for suffix in self.suffixes
        }

    def damaged(self, random):
        """Returns a damaged image; some have another size in their header."""
        if random.random() < 0.7:
            return super().damaged(random)
        sides = (1, 64, 65, 8192, 30_000, 65_535, 100_000, (1 << 31) - 1)
        height, width = random.choice(sides), random.choice(sides)
        if random.random() < 0.5:
            return "a.png", png_with(self.originals["a.png"], random, height, width)
        return "a.ppm", f"P6\n{width} {height}\n255\n".encode() + bytes(64 * 96 * 3)

    def read(self, path):
        """Reads it as a video of one frame, and as an image of a dataset."""
        with contextlib.suppress(UnreadableError):
            read_image(path, SIZE)
        with video.open_source(str(path)) as source:
            list(source)

    def command(self, path):
        """A run of the image, as a video of one frame."""
        return distill(path, video=path)


def png_with(data, random, height, width):
    """Returns a PNG with another header and matching checksums; its pixels may be a bomb."""
    header = struct.pack(
        ">IIBBBBB",
        width,
        height,
        random.choice((1, 8, 16, 3)),
        random.choice((0, 2, 3, 4, 6, 7)),
        *(0, 0, random.randrange(2)),
    )
    pixels = data[data.index(b"IDAT") + 4 : -16]
    if random.random() < 0.3:
        pixels = b"\x78\xda" + damage.zeros(BOMB)
    text = b"a\0\0\x78\xda" + damage.zeros(1 << 28)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    if random.random() < 0.3:
        chunks.insert(1, (random.choice((b"zTXt", b"iTXt", b"iCCP")), text))
    return data[:8] + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


class Recordings(Kind):
    """Recordings of a teacher: damaged bytes, rows with other values, other tables."""

    share = 15
    statements = (
        "DROP TABLE frames",
        "DROP TABLE header",
        "DELETE FROM frames WHERE number % 3 = 1",
        "INSERT INTO frames SELECT number + 4611686018427387904, thumbnail, seconds, instances "
        "FROM frames",
        "UPDATE frames SET number = -number",
        "ALTER TABLE frames RENAME COLUMN instances TO other",
        "DROP TABLE frames; CREATE VIEW frames AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
        "SELECT x + 1 FROM c) SELECT x AS number, x AS thumbnail, x AS seconds, x AS instances "
        "FROM c",
        "DROP TABLE header; CREATE VIEW header AS SELECT 'format' AS name, load_extension('x') AS "
        "value",
        "CREATE TRIGGER t AFTER INSERT ON frames BEGIN DELETE FROM frames; END",
        "CREATE TABLE other (x)",
        "PRAGMA journal_mode = WAL",
        "UPDATE header SET value = zeroblob(50000000)",
    )

    def write(self):
        """Writes the stream; returns its recording."""
        path = write_stream(self.folder)[1]
        return {"a.recording": path.read_bytes()}

    def damaged(self, random):
        """Returns a recording that is damaged as a file, or whose rows or tables are."""
        [(name, data)] = self.originals.items()
        if random.random() < 0.4:
            return super().damaged(random)
        path = self.folder / "made.recording"
        path.write_bytes(data)
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            if random.random() < 0.25:
                database.executescript(random.choice(self.statements))
            else:
                self._change_a_value(database, random)
        return name, path.read_bytes()

    @staticmethod
    def _change_a_value(database, random):
        value = damage.extreme(random)
        if isinstance(value, list | dict | int) and not -(1 << 63) <= _number(value) < 1 << 63:
            value = json.dumps(value)
        if isinstance(value, str):
            value = value.encode("utf-8", "replace").decode()
        if random.random() < 0.3:
            names = ("height", "width", "min_score", "format", "video", "teacher")
            database.execute(
                "UPDATE header SET value = ? WHERE name = ?", (value, random.choice(names))
            )
            return
        number = random.randrange(FRAMES)
        column = random.choice(("thumbnail", "seconds", "instances", "instances", "instances"))
        if column == "instances" and random.random() < 0.9:
            [(packed,)] = database.execute(
                "SELECT instances FROM frames WHERE number = ?", (number,)
            )
            if random.random() < 0.05:
                value = b"\x78\xda" + damage.zeros(1 << 30)
            else:
                value = zlib.compress(
                    damage.damaged_json(json.loads(zlib.decompress(packed)), random)
                )
        database.execute(f"UPDATE frames SET {column} = ? WHERE number = ?", (value, number))

    def read(self, path):
        """Replays all frames, reads times and classes."""
        maker = LabelMaker(GROUPS)
        with Recording(path) as recording:
            list(recording.objects(FRAMES))
            for index in range(FRAMES):
                recording.seconds(index)
                maker.labels(recording(SCENE.frame(index)[0], index), SIZE)

    def command(self, path):
        """A run with the recording as teacher."""
        return distill(path, teacher=f"recorded:{path}")


def _number(value):
    return value if isinstance(value, int) else 1 << 64


class Predictions(Kind):
    """Pickles of LVS: damaged bytes, and entries of other types, sizes and values."""

    share = 8

    def write(self):
        """Writes a chunk of video; returns its predictions."""
        write_stream(self.folder)[0].rename(self.folder / "chunk.mp4")
        self._entries = {index: self._entry(index) for index in range(FRAMES)}
        return {f"{lvs.PREFIX}chunk.npy": self._npy(self._entries)}

    @staticmethod
    def _entry(index):
        found = SCENE.frame(index)[1]
        masks = [np.ones((28, 28), np.float32) for _ in found.masks]
        return [found.boxes.astype(np.float64), [3, 1], found.scores, masks]

    @staticmethod
    def _npy(entries, protocol=2):
        head = io.BytesIO()
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(head, header)
        array = np.empty((), object)
        array[()] = entries
        return head.getvalue() + pickle.dumps(array, protocol)

    def damaged(self, random):
        """Returns predictions with a damaged pickle or a damaged entry."""
        if random.random() < 0.6:
            return super().damaged(random)
        entries = {index: list(entry) for index, entry in self._entries.items()}
        index, part = random.randrange(FRAMES), random.randrange(4)
        values = (
            damage.extreme(random),
            np.zeros((2, 4), np.complex64),
            np.full((2, 4), np.nan),
            np.full((2, 4), 1e300),
            [np.zeros((5000, 5000), np.float32)] * 2,
            [[1, 3], [2]],
            np.zeros(2, "U5"),
            np.array([{}, []], object),
            [3] * 2000,
        )
        entries[index][part] = random.choice(values)
        if random.random() < 0.2:
            entries[index] = random.choice(values)
        if random.random() < 0.1:
            entries[damage.extreme_text(random)] = entries.pop(index)
        [name] = self.originals
        return name, self._npy(entries, random.randrange(2, 5))

    def read(self, path):
        """Asks for the predictions on all frames, with the chunk's video beside the file."""
        chunk = path.with_name("chunk.mp4")
        chunk.write_bytes((self.folder / "chunk.mp4").read_bytes())
        teacher = lvs.Predictions(path.parent)
        with video.open_source(str(chunk)) as source:
            for index, frame in enumerate(source):
                teacher(frame, index)

    def command(self, path):
        """A recording of them."""
        path.with_name("chunk.mp4").write_bytes((self.folder / "chunk.mp4").read_bytes())
        output = path.parents[1] / "lvs.recording"
        output.unlink(missing_ok=True)
        teacher = f"--teacher=lvs:{path.parent}"
        return ["teacher.record", f"--video={path.parent}", teacher, f"--output={output}"]


class Groups(Kind):
    """Files of class groups."""

    share = 4

    def write(self):
        """Writes the stream for `command`; returns a file of groups."""
        write_stream(self.folder)
        text = "# groups\nperson\nauto = car, bus, truck\nbike = bicycle, motorcycle\n"
        return {"groups.txt": text.encode()}

    def damaged(self, random):
        """Returns a damaged text."""
        [(name, data)] = self.originals.items()
        return name, damage.damaged_text(data.decode(), random)

    def read(self, path):
        """Reads the groups."""
        class_groups(str(path)).class_ids()

    def command(self, path):
        """A run with these classes."""
        return distill(path, class_groups=path)


class Annotations(Kind):
    """Annotation files in COCO's format."""

    share = 8

    def write(self):
        """Writes three images; returns their annotation file."""
        images, rows = [], []
        (self.folder / "images").mkdir()
        for number in range(3):
            frame, found = SCENE.frame(7 * number)
            name = f"{number}.png"
            cv2.imwrite(str(self.folder / "images" / name), frame)
            images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
            for row in annotations(found, SIZE):
                rows.append({"id": len(rows) + 1, "image_id": number, **row})
        rows[0]["segmentation"] = [[5, 5, 30, 8, 25, 40, 8, 36]]
        whole = {"size": list(SIZE), "counts": [0, SIZE[0] * SIZE[1]]}
        rows[1].update(segmentation=whole, iscrowd=1)
        categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
        self._values = {"images": images, "annotations": rows, "categories": categories}
        return {"instances.json": json.dumps(self._values).encode()}

    def damaged(self, random):
        """Returns damaged JSON."""
        return "instances.json", damage.damaged_json(self._values, random)

    def read(self, path):
        """Reads all images with their labels."""
        read_dataset(CocoDataset(path, self.folder / "images", LabelMaker(GROUPS)))

    def command(self, path):
        """A pretraining of one step."""
        return _pretrain(path, images=self.folder / "images", annotations=path)


def read_dataset(dataset):
    """Reads all images of a LabeledDataset that can be read, as a pretraining does."""
    dataset.identity()
    for number in range(len(dataset)):
        with contextlib.suppress(UnreadableError):
            dataset.read(number)
    dataset.check_unreadable()


def _pretrain(path, **inputs):
    flags = {**inputs, "logdir": path.parents[1] / "run", "steps": 1, "batch_size": 1, "crop": 32}
    return ["jitnet_tf.pretrain", "--overwrite", *(f"--{n}={v}" for n, v in flags.items())]


class Labels(Kind):
    """Folders of label images: a damaged PNG, or the names of the classes."""

    share = 8

    def write(self):
        """Writes an image; returns its label as gray values and with a palette, and the names."""
        (self.folder / "images").mkdir()
        frame, found = SCENE.frame(0)
        cv2.imwrite(str(self.folder / "images" / "a.jpg"), frame)
        gray = Image.fromarray(LabelMaker(GROUPS).labels(found, SIZE))
        palette = gray.convert("P")
        self._names = {str(number): name for number, name in enumerate(GROUPS.names)}
        return {"a.png": _png(gray), "palette/a.png": _png(palette)}

    def damaged(self, random):
        """Returns a damaged PNG, or classes.json."""
        if random.random() < 0.25:
            return "classes.json", damage.damaged_json(self._names, random)
        name, data = super().damaged(random)
        if random.random() < 0.3:
            sides = (1, 64, 96, 8192, 100_000, (1 << 31) - 1)
            original = self.originals[name]
            data = png_with(original, random, random.choice(sides), random.choice(sides))
        return "a.png", data

    def _complete(self, path):
        """Writes the intact one of label and names beside the damaged file."""
        if path.name == "classes.json":
            path.with_name("a.png").write_bytes(self.originals["a.png"])
        else:
            path.with_name("classes.json").write_text(json.dumps(self._names))

    def read(self, path):
        """Reads the image with its label."""
        self._complete(path)
        read_dataset(LabelFolder(path.parent, self.folder / "images", LabelMaker(GROUPS)))

    def command(self, path):
        """A pretraining of one step."""
        self._complete(path)
        return _pretrain(path, images=self.folder / "images", labels=path.parent)


def _png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


KINDS = (Videos, Images, Recordings, Predictions, Groups, Annotations, Labels)
