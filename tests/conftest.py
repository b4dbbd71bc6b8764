"""What several test modules share."""

import os
import pathlib

import hypothesis
import pytest

import jitnet_tf  # noqa: F401  sets up TensorFlow's environment, before anything imports it

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Shared cores stall at random, and no test is about time.
hypothesis.settings.register_profile("jitnet_tf", deadline=None)
hypothesis.settings.load_profile("jitnet_tf")

SHARED = pathlib.Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """Finds real material that is no part of the project: shared("videos/x.mp4"), or skips."""

    def find(name):
        if not (SHARED / name).exists():
            pytest.skip(f"{SHARED / name} is not on this machine")
        return SHARED / name

    return find
