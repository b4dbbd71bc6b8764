"""The names that `import jitnet_tf` gives."""

import subprocess
import sys

import pytest

import jitnet_tf


def test_importing_the_package_imports_no_tensorflow():
    code = (
        "import sys, jitnet_tf; assert 'Run' in dir(jitnet_tf); "
        "jitnet_tf.RunConfig; assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", jitnet_tf.__all__)
def test_public_names_exist(name):
    assert getattr(jitnet_tf, name) is not None


def test_other_names_do_not():
    with pytest.raises(AttributeError, match="'Walk'"):
        jitnet_tf.Walk  # noqa: B018
