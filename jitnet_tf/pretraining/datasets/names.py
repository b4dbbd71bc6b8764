"""Names of categories that seem to mean others."""

import difflib

from teacher import coco
from teacher.class_names import meanings, plain

# Names in other data sets → COCO's, beyond those in `class_names.meanings`.
MEANT = {
    "automobile": "car",
    "bike": "bicycle",
    "cyclist": "person",
    "human": "person",
    "lorry": "truck",
    "man": "person",
    "minibus": "bus",
    "people": "person",
    "plane": "airplane",
    "vehicle": "car",
    "woman": "person",
}
LIKENESS = 0.7  # of difflib, 0…1


def meant(name):
    """Returns the category of COCO that a name of another data set may mean, or None."""
    for one in meanings(name):
        if one in MEANT or one in coco.IDS:
            return MEANT.get(one, one)
    name = plain(name)
    joined = {one.replace(" ", ""): one for one in coco.IDS}
    close = difflib.get_close_matches(name.replace(" ", ""), joined, 1, LIKENESS)
    return joined[close[0]] if close else None
