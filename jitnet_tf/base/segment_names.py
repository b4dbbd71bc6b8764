"""The names of the segments that a run's outputs are in, such as 20261129T051148Z-000000123."""

import datetime
import re

PATTERN = r"[0-9]{8}T[0-9]{6}Z-[0-9]{9,}"


def name_of(utc, first):
    """Returns a segment's name.

    utc: time of day of its first frame, whole seconds since 1970. first: index of that frame.
    """
    start = datetime.datetime.fromtimestamp(utc, datetime.timezone.utc)
    return f"{start:%Y%m%dT%H%M%SZ}-{first:09d}"


def first_of(name):
    """Returns the index of a segment's first frame; None if it is no segment's name."""
    return int(name.rpartition("-")[2]) if re.fullmatch(PATTERN, name) else None


def utc_of(name):
    """Returns `name_of`'s utc. ValueError if there is no such time of day."""
    start = datetime.datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%SZ")
    return round(start.replace(tzinfo=datetime.timezone.utc).timestamp())
