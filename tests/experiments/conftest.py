"""Shared fixtures of the tests of experiments."""

import shutil

import cv2
import pytest

from tests.materials import frames, write_recording, write_video

PERSON, CAR, DOG, CUP = 1, 3, 18, 47  # COCO's ids


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Twelve frames as the video street.mp4 and the folder park, with recordings; to be read only.

    short.recording has the first seven frames.
    """
    folder = tmp_path_factory.mktemp("clips")
    pictures = frames(12)
    write_video(folder / "street.mp4", pictures)
    (folder / "park").mkdir()
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "park" / f"{i:05d}.jpg"), picture[..., ::-1])
    seen = [[(PERSON, 0.9), (CAR, 0.5), (CUP, 0.9)]] * 6 + [[(PERSON, 0.8), (DOG, 0.49)]] * 6
    write_recording(folder / "street.recording", pictures, seen)
    shutil.copy(folder / "street.recording", folder / "park.recording")
    write_recording(folder / "short.recording", pictures[:7], seen[:7])
    return folder
