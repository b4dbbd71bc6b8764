"""The run directory: its files, and whether a run may use it."""

import dataclasses
import json
import os
import pathlib

from jitnet_tf.base import checkpoint, files, options, shell
from jitnet_tf.base.credentials import MASK
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.runs import resumable
from jitnet_tf.sinks.segment_files import of_ended_segments

CONFIG = "config.json"
FLAGFILE = "resolved.flags"
VERSIONS = "versions.json"
SUMMARY = "summary.json"
NO_OUTPUT = (None, "", "none")
# The checkpoint first: killed while they are deleted, no run is left that lacks its logs.
REPLACED = (checkpoint.NAME, checkpoint.WEIGHTS, SUMMARY)


class CompleteError(UserError):
    """The run to resume is complete."""


def load_config(logdir, kind=RunConfig):
    """Returns the configuration, a `kind`, of the run in `logdir`. UserError if there is none.

    If the directory has moved, outputs inside it have moved along.
    """
    path = pathlib.Path(logdir) / CONFIG
    try:
        return _moved(kind.from_json(path.read_text(encoding="utf-8")), str(logdir))
    except FileNotFoundError:
        raise UserError(f"{str(logdir)!r} holds no run: no {CONFIG} in it") from None
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{str(path)!r} is not a run's configuration ({error}): give a run's folder; runs and "
            "pretrainings are not the same"
        ) from None


def _moved(config, logdir):
    """Returns a configuration with another logdir; outputs inside the old one are in the new."""
    changes = {"logdir": logdir}
    old = os.path.normpath(config.logdir)
    for name in outputs_of(config):
        path = os.path.normpath(getattr(config, name))
        if path.startswith(os.path.join(old, "")):
            changes[name] = os.path.join(logdir, os.path.relpath(path, old))
    return dataclasses.replace(config, **changes)


def outputs_of(config):
    """Returns the names of the options of a configuration that are outputs beside its logdir."""
    found = (field.name for field, about in options.options(config) if about.is_output)
    return [name for name in found if name != "logdir" and getattr(config, name) not in NO_OUTPUT]


def find_checkpoint(config, resume, overwrite):
    """Checks that a run may use config.logdir; returns the checkpoint to continue from, or None.

    Raises:
      UserError: another run is there and neither resume nor overwrite was asked, or the files of
        something else; the run to resume is complete, or there is none; an option has a line break.
    """
    options.check_texts(config)
    logdir = pathlib.Path(config.logdir)
    if (logdir / CONFIG).is_file():
        load_config(logdir, type(config))  # or it is not ours
        if not (resume or overwrite):
            raise UserError(
                f"--logdir={logdir} holds another run: give --resume to continue it, "
                "--overwrite to replace it, or another folder"
            )
    elif resume:
        raise UserError(f"--resume: {str(logdir)!r} holds no run")
    else:
        for name in (*REPLACED, *checkpoint.growing_files(logdir)):
            if (logdir / name).exists():
                raise UserError(
                    f"--logdir={logdir} holds {name}, but no run of jitnet_tf that it could belong "
                    "to: choose another folder"
                )
    # Killed before its first checkpoint, a run starts anew.
    saved = checkpoint.load(logdir) if resume and (logdir / checkpoint.NAME).is_file() else None
    if saved:
        resumable.check(logdir, saved[1], type(config))
    if resume and is_complete(logdir) and not (saved and _goes_on(config, saved[1])):
        raise CompleteError(
            f"the run in {str(logdir)!r} is complete, there is nothing to resume; its figures are "
            f"in {SUMMARY}"
        )
    return saved


def _goes_on(config, saved):
    """Returns whether a complete run goes on: to more frames or steps, or a live one."""
    if "step" in saved:
        return config.steps > saved["step"]
    if saved.get("live"):  # its user has ended it
        return saved["frames"] != config.max_frames
    earlier = load_config(config.logdir)
    return saved["frames"] == earlier.max_frames != config.max_frames


def check_paths_distinct(inputs, outputs):
    """Raises UserError if something that is written is also read.

    inputs, outputs: flag → path, another kind of value, or None.
    """
    for written, path in outputs.items():
        for read, source in inputs.items():
            if not (path and source and os.path.exists(source)):
                continue
            # A file of another run in there would be deleted with it.
            inside = read == "init" and written == "logdir" and os.path.isfile(source)
            if _same_place(path, os.path.dirname(source) or "." if inside else source):
                raise UserError(
                    f"--{written}={path} is also the --{read}, which would be lost: choose another"
                )


def _same_place(one, other):
    return pathlib.Path(one).resolve() == pathlib.Path(other).resolve()


def resume_flags(config):
    """Returns the flags that continue a run, for a shell."""
    flags = f"--resume {shell.flag('logdir', config.logdir)}"
    if MASK in getattr(config, "video", ""):
        flags += f" {shell.flag('video', config.video)}, with what {MASK} stands for"
    return flags


def is_complete(logdir):
    """Returns whether the run in `logdir` came to its end."""
    return (read_summary(logdir) or {}).get("complete") is True


def read_summary(logdir):
    """Returns the summary.json of the run in `logdir`; None if there is none, or a damaged one."""
    try:
        found = files.parse_json((pathlib.Path(logdir) / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def start(config, versions):
    """Clears what an earlier run left in the run directory and describes the new one in it.

    versions: of what the run is computed with, name → text.
    """
    logdir = pathlib.Path(config.logdir)
    try:
        logdir.mkdir(parents=True, exist_ok=True)
        for name in REPLACED:
            (logdir / name).unlink(missing_ok=True)
        for name in checkpoint.growing_files(logdir):
            (logdir / name).unlink()
        files.write_text(logdir / VERSIONS, json.dumps(versions, indent=2) + "\n")
        write_config(config)
    except OSError as error:
        raise UserError(f"--logdir={logdir} cannot be written ({error})") from None


def restart(config, progress):
    """Goes back to a checkpoint: cuts the logs, and describes what may differ from now on.

    Raises:
      UserError: the logs are shorter than at the checkpoint.
    """
    sizes = progress["file_sizes"]
    # Deleted by the run or by hand; those of the latest have to be there.
    dated = of_ended_segments(sizes) if getattr(config, "segment", None) else ()
    checkpoint.cut_back(config.logdir, sizes, dated)
    (pathlib.Path(config.logdir) / SUMMARY).unlink(missing_ok=True)  # the run is not at its end
    write_config(config)


def clear(logdir):
    """Deletes the run in a directory; its overlay, masks and exports, and files of others, stay.

    UserError if it holds none.
    """
    logdir = pathlib.Path(logdir)
    load_config(logdir)
    described = VERSIONS, FLAGFILE, CONFIG  # last, that it is a run
    for name in (*REPLACED, *checkpoint.growing_files(logdir), *described):
        (logdir / name).unlink(missing_ok=True)


def write_config(config):
    """Writes the configuration into its run directory, for programs and for people.

    Its outputs are absolute paths, so that it holds from any folder.
    """
    logdir = pathlib.Path(config.logdir)
    outputs = ["logdir", *outputs_of(config)]
    absolute = {name: os.path.abspath(getattr(config, name)) for name in outputs}
    config = dataclasses.replace(config, **absolute)
    files.write_text(logdir / FLAGFILE, config.to_flagfile())
    files.write_text(logdir / CONFIG, config.to_json())


def write_summary(logdir, summary):
    """Writes summary.json, which also marks a complete run as such."""
    text = json.dumps(summary, indent=2) + "\n"
    files.write_text(pathlib.Path(logdir) / SUMMARY, text)
