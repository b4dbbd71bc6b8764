"""Exit statuses, messages, and the import of TensorFlow."""

import subprocess
import sys
import types

import pytest
from absl import flags

from jitnet_tf.base.errors import UserError
from tests.commands import run_command


def command(act):
    """A command with the flag --count, which calls `act`."""
    return types.SimpleNamespace(
        __name__="command",
        define_flags=lambda: flags.DEFINE_integer("count", 1, "A number.", lower_bound=1),
        main=act,
    )


def fail(error):
    def act():
        raise error

    return command(act)


def test_the_command_sees_its_flags():
    seen = []
    act = command(lambda: seen.append(flags.FLAGS.count))
    assert run_command(act, "--count=3") == 0
    assert seen == [3]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            UserError("--count=7 is invalid:\n give   another"),
            2,
            "--count=7 is invalid: give another",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_become_one_line_and_a_status(capsys, error, status, message):
    assert run_command(fail(error)) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.removeprefix("error: ") == message + "\n"


def test_bugs_have_a_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(fail(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--cuont=1", "cuont"),
        ("--count=0", "count"),
        ("--count=x", "count"),
        ("stray", "'stray'"),
        ("--noonly_check_args=", "--noonly_check_args="),
        (f"--{'x' * 3000}=1", "very long name"),
        (f"--count={'x' * 3000}", "count"),
    ],
)
def test_flag_errors_are_refused(capsys, argument, named):
    assert run_command(command(lambda: pytest.fail("it ran")), argument) == 2
    [message] = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ")
    assert named in message
    assert len(message) < 2100


def test_a_flag_file_that_is_no_text_is_refused(tmp_path, capsys):
    (tmp_path / "a.flags").write_bytes(b"--count=1\n\xff\xfe")
    assert run_command(command(lambda: None), f"--flagfile={tmp_path}/a.flags") == 2
    [message] = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ")


@pytest.mark.parametrize("command", ["distill", "pretrain", "export"])
def test_flag_errors_do_not_import_tensorflow(command):
    code = (
        f"import atexit, sys; from jitnet_tf import {command} as command; "
        "from jitnet_tf.base import command_line; command.define_flags(); "
        "atexit.register(lambda: print('tensorflow' in sys.modules)); "
        "command_line.main(command.main, ['command', '--cuont=1'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert "cuont" in done.stderr


@pytest.mark.slow
def test_tensorflow_is_imported_without_messages():
    """Nor are there any later, such as of 2.15 on the cost of masks of objects."""
    code = (
        "from jitnet_tf.base import command_line; command_line.import_tensorflow(); "
        "import tensorflow as tf; "
        "assert tf.function(lambda x: 2 * x, jit_compile=True)(tf.constant(3.0)) == 6\n"
        "@tf.function\n"
        "def masks(prototypes, boxes):\n"
        "    kept = tf.where(boxes[:, 0] >= 0)[:, 0]\n"
        "    whole = tf.einsum('hwm,nm->nhw', prototypes, tf.ones((tf.shape(kept)[0], 3)))\n"
        "    places, boxes = tf.range(tf.shape(kept)[0]), tf.gather(boxes, kept)\n"
        "    return tf.image.crop_and_resize(whole[..., None], boxes, places, (4, 4))\n"
        "masks(tf.zeros((8, 8, 3)), tf.zeros((2, 4)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
