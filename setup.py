"""Installs jitnet_tf: `pip install .`, with the dependencies of requirements.txt."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
RUNTIME, _, _ = (HERE / "requirements.txt").read_text(encoding="utf-8").partition("# For the tests")
REQUIREMENTS = [line.split("#")[0].strip() for line in RUNTIME.splitlines()]
PACKAGE = (HERE / "jitnet_tf" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'__version__ = "(.*)"', PACKAGE)[1]

setup(
    name="jitnet_tf",
    version=VERSION,
    description="Online distillation of compact video segmentation students, in TensorFlow",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["jitnet_tf*", "teacher*"]),
    package_data={"jitnet_tf": ["data/*"]},
    python_requires=">=3.10,<3.14",
    extras_require={"fleet": ["ray>=2.40"]},
    install_requires=[line for line in REQUIREMENTS if line],
)
