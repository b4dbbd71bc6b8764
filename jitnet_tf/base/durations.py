"""Durations as users write them: 90, 90s, 10min, 24h, 7d."""

import math
import re

from absl import flags

_SECONDS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}


def parse(text):
    """Returns the seconds of a duration such as '90', '1.5h' or '10min'. ValueError if invalid."""
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,2})?)\s*([a-z]*)\s*", text)
    if not found or found[2] not in _SECONDS:
        raise ValueError(f"{text!r} is no duration: give seconds, or as in 90s, 10min, 24h, 7d")
    return float(found[1]) * _SECONDS[found[2]]


def show(seconds):
    """Returns a duration in its largest whole unit, as `parse` reads it: 600 → '10min'."""
    if not math.isfinite(seconds):
        return "for ever"
    for unit in ("d", "h", "min"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.10g}{unit}"
    return f"{seconds:.10g}s"


class Parser(flags.ArgumentParser):
    """Parses flags that are durations into seconds."""

    syntactic_help = "seconds, or as in 90s, 10min, 24h, 7d"

    def parse(self, argument):
        """Returns the seconds; a number is taken as it is."""
        return parse(argument) if isinstance(argument, str) else float(argument)

    def flag_type(self):
        """Returns the type's name in --help."""
        return "duration"
