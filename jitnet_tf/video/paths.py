"""Opens what a path names: a file, a folder, a pattern, a pipe."""

import glob
import os
import re
from pathlib import Path

from jitnet_tf.base.credentials import without_credentials
from jitnet_tf.base.errors import UserError
from jitnet_tf.video.containers import open_chunks, open_video
from jitnet_tf.video.decoders import Decoder
from jitnet_tf.video.files import image_files, order_of, passed_over, video_files
from jitnet_tf.video.images import open_images


def camera_index(spec: str) -> int | None:
    """Returns the index of the camera that a source names, as "0" or "/dev/video0"; else None."""
    if re.fullmatch("[0-9]{1,2}", spec):
        return int(spec)
    # Links such as those in /dev/v4l/by-id, too.
    device = re.fullmatch("/dev/video([0-9]{1,4})", os.path.realpath(spec))
    return int(device[1]) if device else None


def open_path(path: Path, spec: str) -> Decoder:
    """Opens a file, a folder of images or videos, a printf pattern of images, or a pipe.

    Args:
      path: its path.
      spec: its name in messages.

    Raises:
      UserError: it is missing, unreadable, or ambiguous: a folder of both images and videos, a
        pattern of the shell.
    """
    images = image_files(path)
    videos = video_files(path) if path.is_dir() else []
    if images:  # of which animations are often a preview
        videos = [file for file in videos if file.suffix.lower() not in (".apng", ".gif")]
    if images and videos:
        raise UserError(
            f"the folder {spec} holds both images and videos ({images[0].name}, {videos[0].name}): "
            "give a folder of one kind, or a video"
        )
    if not path.exists() and not images:
        raise UserError(_missing(spec))
    others = passed_over(path, images or videos) if path.is_dir() else None
    problems = (others,) if others else ()
    if images:
        return open_images(images, problems)
    if videos:
        return open_chunks(videos, order_of(videos), problems)
    if path.is_dir():
        content = f"holds no image or video ({others})" if others else "is empty"
        raise UserError(
            f"the folder {spec} {content}: give a folder of images (jpg, png, tif, ...) or of "
            "videos (mp4, mkv, ts, ...), or a video"
        )
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"the file {spec} is empty: copy or download it again")
    if path.is_char_device():
        raise UserError(
            f"{spec} is a terminal or a device that holds no video: pipe a video into it, or give "
            "a file, or a camera such as /dev/video0"
        )
    # An absolute path, since FFmpeg would read "12:30.mp4" as a protocol. Links are left as they
    # are: a pipe in /dev/fd links to no path.
    return open_video(str(path.absolute()), spec, is_pipe=path.is_fifo())


def _missing(spec: str) -> str:
    if spec.startswith("/dev/"):
        return f"there is no {spec}: plug the camera in, or pipe the video in again"
    if without_credentials(spec) != spec or not re.search(r"[*?\[]", spec):
        shown = without_credentials(spec)
        advice = "check the path" if shown == spec else "a URL begins with rtsp:// or the like"
        return f"there is no file or folder {shown}: {advice}"
    count = len(glob.glob(spec))
    folder = os.path.dirname(spec) or "."
    return (
        f"there is no file {spec}, which is a pattern of the shell ({count} files match): give the "
        f"folder {folder}, whose videos or images play as one, or a single file, or for images a "
        "pattern such as img_%04d.jpg"
    )
