"""What a command does before it computes: quickly, and without TensorFlow's notes."""

import subprocess
import sys

import pytest

QUIET = "; ".join(
    [
        "import sys, jitnet_tf.{command}",
        "assert 'tensorflow' not in sys.modules",
        "from jitnet_tf.base import command_line as cli",
        "cli.import_tensorflow()",
        "import tensorflow as tf",
        "assert tf.function(lambda x: 2 * x, jit_compile=True)(tf.constant(3.0)) == 6",
    ]
)


@pytest.mark.parametrize("command", ["distill", "pretrain", "export"])
def test_a_mistyped_flag_waits_for_no_tensorflow_and_nobody_reads_its_notes(command):
    code = QUIET.format(command=command)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
