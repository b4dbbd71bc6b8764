"""Seeds of measurements that depend on chance: their settings, and the folders of their results.

For random initial weights the seed is theirs. For weights from a file it is the seed of noise of
1 % on them (none for seed 0), which shows how much of a difference is chance.
"""

import pathlib

from jitnet_tf.config.names import RANDOM

NOISE = 0.01


def settings(seed, init):
    """Returns the settings of a student with a seed and initial weights, {name: value}."""
    return {"init": init, "seed": seed, "noise": NOISE if seed and init != RANDOM else 0.0}


def folder(results, seed):
    """Returns the folder of a seed's results."""
    return pathlib.Path(results, f"seed{seed}")
