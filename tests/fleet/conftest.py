"""What several tests of fleets share."""

import pytest
from absl import flags

from jitnet_tf.config import RunConfig
from jitnet_tf.flags import define_flags


@pytest.fixture
def flags_of_runs():
    """The flags of a run, at their defaults."""
    before = set(flags.FLAGS)
    define_flags(RunConfig)
    flags.FLAGS(["command", "--max_updates=3"])
    yield
    flags.FLAGS.unparse_flags()
    flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)
