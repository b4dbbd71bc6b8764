"""Named teachers: the Mask R-CNN SavedModels of TensorFlow's two detection zoos.

`python -m teacher.zoo` lists them, `python -m teacher.zoo --fetch=NAME` downloads one. The cache
folder contains for each teacher:

    NAME/saved_model/           the unpacked model, always complete
    NAME.sha256                 digest of the first download, which later ones must match
    NAME.tar.gz.part            an unfinished download
    NAME.unpacking/, .NAME.lock used while downloading
"""

import dataclasses
import gzip
import os
import pathlib
import shutil
import tarfile
import zlib

import platformdirs
from absl import flags

from jitnet_tf.base import command_line, locks
from jitnet_tf.base.errors import UserError
from teacher import download


@dataclasses.dataclass(frozen=True)
class ZooModel:
    """A published teacher; `ms` and the mAPs are its publisher's."""

    url: str  # of the .tar.gz
    name: str  # also that of the folder in the tarball that holds saved_model/
    title: str
    ms: int  # per image
    box_map: float  # COCO mAP in percent
    mask_map: float | None = None


# TF1 times are for 600x600 on a GTX TITAN X, and its mAPs for boxes only; TF2 names no GPU.
# Neither zoo publishes checksums: the first download is trusted.
_ROOT = "https://download.tensorflow.org/models/object_detection"


def _tf1(name: str, title: str, ms: int, box_map: float) -> ZooModel:
    return ZooModel(f"{_ROOT}/{name}.tar.gz", name, f"TF1, {title}", ms, box_map)


_MODELS = [
    ZooModel(
        url=f"{_ROOT}/tf2/20200711/mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8.tar.gz",
        name="mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8",
        title="TF2, Inception-ResNet-v2, 1024x1024",
        ms=301,
        box_map=39.0,
        mask_map=34.6,
    ),
    _tf1("mask_rcnn_inception_resnet_v2_atrous_coco_2018_01_28", "Inception-ResNet-v2", 771, 36),
    _tf1("mask_rcnn_resnet101_atrous_coco_2018_01_28", "ResNet-101", 470, 33),
    _tf1("mask_rcnn_resnet50_atrous_coco_2018_01_28", "ResNet-50", 343, 29),
    _tf1("mask_rcnn_inception_v2_coco_2018_01_28", "Inception-v2", 79, 25),
]
ZOO: dict[str, ZooModel] = {model.name: model for model in _MODELS}


def fetch(name: str, cache: str | os.PathLike | None = None) -> pathlib.Path:
    """Returns the `saved_model` folder of the teacher `name`, downloading it on first use.

    Args:
      name: a key of ZOO.
      cache: folder for the models; by default $JITNET_TF_CACHE, or else the user's cache folder.

    Raises:
      UserError: unknown name, a failing download or disk, or a tarball that is unsafe, damaged or
        not the trusted one.
    """
    if name not in ZOO:
        raise UserError(f"no teacher is named {name!r}; the zoo has {', '.join(ZOO)}")
    cache = _cache_folder(cache)
    saved_model = cache / name / "saved_model"
    try:
        if saved_model.is_dir():
            return saved_model
        cache.mkdir(parents=True, exist_ok=True)
        # Two downloads at once would mix their bytes in one file.
        otherwise = "set JITNET_TF_CACHE to another folder"
        with locks.Lock(cache / name, None, wait=True, otherwise=otherwise):
            if not saved_model.is_dir():  # else another process has downloaded it
                _install(ZOO[name], cache)
    except OSError as error:  # of the disk; `download` raises UserError for the network
        raise UserError(
            f"cannot keep {name} in {cache}: {error.strerror or error}; make room there or allow "
            "writing, or set JITNET_TF_CACHE to another folder"
        ) from error
    return saved_model


def _cache_folder(cache: str | os.PathLike | None = None) -> pathlib.Path:
    default = pathlib.Path(platformdirs.user_cache_dir("jitnet_tf"), "zoo")
    return pathlib.Path(cache or os.environ.get("JITNET_TF_CACHE") or default).expanduser()


def _install(model: ZooModel, cache: pathlib.Path) -> None:
    """Downloads, verifies and unpacks a model, which appears in the cache in one step."""
    tarball = cache / f"{model.name}.tar.gz.part"
    trusted = cache / f"{model.name}.sha256"
    unpacking = cache / f"{model.name}.unpacking"
    first = trusted.read_text().strip() if trusted.exists() else ""
    try:
        digest = download.to_file(model.url, tarball, sha256=first or None)
    except download.ChecksumError as error:
        raise UserError(
            f"{error}; if you trust the change, delete {trusted} and fetch again"
        ) from error
    shutil.rmtree(unpacking, ignore_errors=True)  # left by a killed process
    try:
        _unpack(model, tarball, unpacking)
        trusted.write_text(digest + "\n")  # now that it was unpacked
        os.replace(unpacking / model.name, cache / model.name)
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)
    tarball.unlink()


def _unpack(model: ZooModel, tarball: pathlib.Path, into: pathlib.Path) -> None:
    """Unpacks only the saved_model. Deletes an unusable tarball and raises UserError."""
    into = into.resolve()
    wanted = into / model.name / "saved_model"
    try:
        with gzip.open(tarball) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                target = (into / member.name).resolve()
                if not target.is_relative_to(into):
                    raise tarfile.TarError(
                        f"{member.name!r} would be unpacked outside of the folder"
                    )
                # Only regular files are written, so no link can lead elsewhere.
                if member.isreg() and target.is_relative_to(wanted):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with open(target, "wb") as file:
                        shutil.copyfileobj(archive.extractfile(member), file)
            while stream.read(download.CHUNK):  # to the end, where gzip checks its sum
                pass
        if not (wanted / "saved_model.pb").is_file():
            raise tarfile.TarError(f"it has no {model.name}/saved_model/saved_model.pb")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        tarball.unlink()
        raise UserError(
            f"cannot unpack the download of {model.name}: {error}; it is deleted: fetch it again, "
            "or choose another teacher if that fails, too"
        ) from error


def define_flags() -> None:
    """Defines the flags of the list of teachers."""
    flags.DEFINE_string(
        "fetch", None, "Name of the teacher to download. Default: list all teachers."
    )


def main() -> None:
    """Downloads the teacher of --fetch and prints its folder, or lists all teachers."""
    if flags.FLAGS.fetch:
        print(fetch(flags.FLAGS.fetch))
        return
    width = max(map(len, ZOO))
    print(f"{'name':{width}}  cached   ms  mAP box/mask  title")
    for name, model in ZOO.items():
        cached = "yes" if (_cache_folder() / name / "saved_model").is_dir() else "no"
        accuracy = f"{model.box_map:.1f}/{'-' if model.mask_map is None else model.mask_map}"
        print(f"{name:{width}}  {cached:6}  {model.ms:3}  {accuracy:12}  {model.title}")


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
