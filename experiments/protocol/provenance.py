"""The machine and the versions that results were made with."""

import os
import pathlib
import platform
import re


def describe():
    """Describes this machine as JSON values: {"cpu": "…", "cores": 2, "gpus": […]}."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {"cpu": _cpu(), "cores": len(usable_cores()), "gpus": gpus}


def usable_cores():
    """Returns the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count()))


def in_words(machine):
    """Returns the values of `describe` as one line."""
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    return f"{machine['cores']} cores of {machine['cpu']}, {gpus}"


def versions_in_words(versions):
    """Returns {name: version} as one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def setting_in_words(values):
    """Returns the "machine" and "versions" of a measurement's file as one line."""
    return f"{in_words(values['machine'])}; {versions_in_words(values['versions'])}"


def _cpu():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    name = None
    if cpuinfo.is_file():
        text = cpuinfo.read_text()
        name = re.search(r"model name\s*: (.*)", text)
        units = [unit for unit in ("avx2", "avx512f", "amx_bf16") if f" {unit}" in text]
    if not name:
        return platform.processor() or platform.machine()
    return f"{name[1]} ({', '.join(units)})"
