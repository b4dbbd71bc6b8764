"""The run directory: what is in it, and whether a run may use it."""

import json
import pathlib
import platform
import shutil

import av
import cv2
import keras
import numpy as np
import tensorflow as tf

import jitnet_tf
from jitnet_tf import checkpoint
from jitnet_tf.config import RunConfig
from jitnet_tf.errors import UserError

CONFIG = "config.json"
FLAGFILE = "resolved.flags"
VERSIONS = "versions.json"
SUMMARY = "summary.json"
VIDEO_PARTS = "video_parts"
PACKAGES = (jitnet_tf, tf, keras, np, cv2, av)


def load_config(logdir):
    """The configuration of the run in `logdir`; UserError where there is none."""
    path = pathlib.Path(logdir) / CONFIG
    try:
        return RunConfig.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{str(logdir)!r} holds no run: no {CONFIG} in it") from None
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{str(path)!r} is not a run's configuration ({error})") from None


def prepare(config, resume, overwrite):
    """Makes the run directory ready. Returns the checkpoint to go on from, or None.

    Raises:
      UserError: another run is there and neither resume nor overwrite was asked; the run to
        resume is complete; the folder cannot be written.
    """
    logdir = pathlib.Path(config.logdir)
    holds_run = (logdir / CONFIG).is_file()
    if holds_run and not (resume or overwrite):
        raise UserError(
            f"--logdir={logdir} holds another run: give --resume to go on with it, --overwrite to "
            "replace it, or another folder"
        )
    if resume and not holds_run:
        raise UserError(f"--resume: {str(logdir)!r} holds no run")
    if resume and is_complete(logdir):
        raise UserError(
            f"the run in {str(logdir)!r} is complete, there is nothing to resume; its figures are "
            f"in {SUMMARY}"
        )
    # Killed before its first checkpoint, a run starts anew.
    return checkpoint.load(logdir) if resume and (logdir / checkpoint.NAME).is_file() else None


def is_complete(logdir):
    """Whether the run in `logdir` came to its end."""
    try:
        return json.loads((logdir / SUMMARY).read_text(encoding="utf-8"))["complete"]
    except (OSError, ValueError, KeyError):
        return False


def start(config):
    """Clears what an earlier run left in the run directory and describes the new one in it."""
    logdir = pathlib.Path(config.logdir)
    try:
        logdir.mkdir(parents=True, exist_ok=True)
        checkpoint.cut_back(logdir, {})
        for name in (CONFIG, checkpoint.NAME, SUMMARY):
            (logdir / name).unlink(missing_ok=True)
        if not config.output:
            shutil.rmtree(logdir / VIDEO_PARTS, ignore_errors=True)
        checkpoint.write_text(logdir / FLAGFILE, config.to_flagfile())
        versions = {package.__name__: package.__version__ for package in PACKAGES}
        versions["python"] = platform.python_version()
        versions["machine"] = platform.machine()
        checkpoint.write_text(logdir / VERSIONS, json.dumps(versions, indent=2) + "\n")
        checkpoint.write_text(logdir / CONFIG, config.to_json())
    except OSError as error:
        raise UserError(f"--logdir={logdir} cannot be written ({error})") from None


def write_summary(logdir, summary):
    """Writes summary.json, which also marks a complete run as such."""
    text = json.dumps(summary, indent=2) + "\n"
    checkpoint.write_text(pathlib.Path(logdir) / SUMMARY, text)
