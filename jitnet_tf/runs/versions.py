"""The versions of everything that results depend on."""

import platform

import av
import cv2
import keras
import numpy as np
import tensorflow as tf

import jitnet_tf

PACKAGES = (jitnet_tf, tf, keras, np, cv2, av)


def versions():
    """Returns the versions that a run is computed with, name → text."""
    found = {package.__name__: package.__version__ for package in PACKAGES}
    return {**found, "python": platform.python_version(), "machine": platform.machine()}
