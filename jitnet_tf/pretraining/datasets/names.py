"""Names of categories that mean COCO's."""

import difflib

from teacher import coco

# Names in other data sets → COCO's.
SYNONYMS = {
    "aeroplane": "airplane",
    "automobile": "car",
    "bike": "bicycle",
    "cyclist": "person",
    "human": "person",
    "lorry": "truck",
    "man": "person",
    "minibus": "bus",
    "motorbike": "motorcycle",
    "pedestrian": "person",
    "people": "person",
    "plane": "airplane",
    "rider": "person",
    "sofa": "couch",
    "tvmonitor": "tv",
    "van": "car",
    "vehicle": "car",
    "woman": "person",
}
LIKENESS = 0.8  # of difflib, 0…1


def plain(name):
    """Returns a name as COCO writes it: in lower case, with spaces."""
    return " ".join(name.lower().replace("_", " ").split())


def meant(name):
    """Returns the category of COCO that a name of another data set may mean, or None."""
    name = plain(name)
    if name in SYNONYMS:
        return SYNONYMS[name]
    joined = {one.replace(" ", ""): one for one in coco.IDS}
    close = difflib.get_close_matches(name.replace(" ", ""), joined, 1, LIKENESS)
    return joined[close[0]] if close else None
