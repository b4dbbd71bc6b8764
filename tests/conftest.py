"""The environment of the tests, and fixtures for all."""

import os
import pathlib

import hypothesis
import pytest

import jitnet_tf  # noqa: F401  sets up TensorFlow's environment, before anything imports it

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # The workers share the cores: more threads than that would only wait for each other.
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    for kind in ("INTRA", "INTER"):
        os.environ.setdefault(f"TF_NUM_{kind}OP_THREADS", threads)
# Shared cores stall at random, and no test measures time.
hypothesis.settings.register_profile("jitnet_tf", deadline=None)
hypothesis.settings.load_profile("jitnet_tf")

SHARED = pathlib.Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """Finds a file outside the project, shared("videos/x.mp4"), or skips the test."""

    def find(name):
        if not (SHARED / name).exists():
            pytest.skip(f"{SHARED / name} is not on this machine")
        return SHARED / name

    return find
