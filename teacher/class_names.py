"""Names of a teacher's classes: known lists, lists from files, and names for the same thing."""

import pathlib

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError
from teacher import coco

COCO = "coco"
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
# The train ids of Cityscapes, not its 34 label ids.
CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
# SceneParse150, the first of each category's names.
ADE20K = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass",
    "cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain",
    "chair", "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field",
    "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub", "railing",
    "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand", "sink",
    "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case",
    "pool table", "pillow", "screen door", "stairway", "river", "bridge", "bookcase", "blind",
    "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm",
    "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus",
    "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth",
    "television receiver", "airplane", "dirt track", "apparel", "pole", "land", "bannister",
    "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain",
    "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool", "barrel", "basket",
    "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank",
    "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen",
    "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan",
    "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass",
    "clock", "flag",
)  # fmt: skip
LISTS = {"voc": VOC, "cityscapes": CITYSCAPES, "ade20k": ADE20K}
WORDS = (COCO, *LISTS)
# Names of pixels that are of no class.
NO_CLASS = {"", "background", "unlabeled", "unlabelled", "void", "ignore"}
MAX_NAMES = 1 << 16
SYNONYMS = (
    ("airplane", "aeroplane"),
    ("motorcycle", "motorbike", "minibike"),
    ("couch", "sofa"),
    ("dining table", "diningtable"),
    ("potted plant", "pottedplant"),
    ("tv", "tvmonitor", "tv monitor", "television", "television receiver"),
    ("cell phone", "cellphone", "mobile phone"),
    ("donut", "doughnut"),
    ("hair drier", "hair dryer", "hairdryer"),
)
# Names that other lists have for a part of one of COCO's categories.
KINDS = {
    "rider": "person",
    "pedestrian": "person",
    "van": "car",
    "ship": "boat",
    "armchair": "chair",
    "swivel chair": "chair",
}
_SAME = {name: names for names in SYNONYMS for name in names}


def read(spec):
    """Reads the names of a teacher's classes.

    A file has a name a line: line k, from 0, is the name of class k. A line may be empty for a
    class that does not count; `#` starts a comment, and a line that is only a comment is no class.

    Args:
      spec: 'voc', 'cityscapes', 'ade20k' or the path of a file; 'coco'.

    Returns:
      A tuple of names, '' for a class that does not count; None for 'coco', whose numbers depend on
      the kind of teacher.

    Raises:
      UserError: neither a known list nor a readable file, or a file without names.
    """
    if spec == COCO:
        return None
    if spec in LISTS:
        return tuple(map(_counted, LISTS[spec]))
    if not pathlib.Path(spec).is_file():
        raise UserError(
            f"--teacher_classes={spec} is neither a file nor a known list; take one of "
            f"{', '.join(WORDS)}, or a file with a name a line"
        )
    lines = files.text_lines(spec, f"--teacher_classes={spec}")
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    names = tuple(_counted(line.partition("#")[0].strip()) for line in lines)
    if not any(names) or len(names) > MAX_NAMES:
        raise UserError(
            f"--teacher_classes={spec} has {sum(map(bool, names))} names in {len(names)} lines: "
            "give a name a line"
        )
    return names


def _counted(name):
    return "" if plain(name) in NO_CLASS else name


def plain(name):
    """Returns a name as it is compared: in lower case, words separated by one space."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def meanings(name):
    """Returns what a category of a teacher may be called in class groups, best first.

    The name itself; its parts, where it is a list such as 'person;individual'; their synonyms; the
    category of COCO that it is a kind of.
    """
    whole = plain(name)
    parts = [plain(part) for part in whole.replace(";", ",").split(",")]
    found = [whole, *parts]
    found += [same for one in parts for same in _SAME.get(one, ())]
    kinds = [KINDS[one] for one in found if one in KINDS]
    found += [same for one in kinds for same in (one, *_SAME.get(one, ()))]
    return list(dict.fromkeys(found))


def of_classes(names, count, spec):
    """Maps the classes of a model, numbered from 0, to ids and their names.

    Args:
      names: as `read` returns them; None for COCO's.
      count: the model's number of classes.
      spec: what `names` were read from, for messages.

    Returns:
      (ids, names): for each class its id, -1 if it does not count; id → name. COCO's categories
      have their ids 1…90; of another list the ids are the places in it.

    Raises:
      UserError: the model has another number of classes than the list.
    """
    if names is None:
        if count not in (80, 81, 91):
            raise UserError(f"the teacher has {count} classes, not COCO's 80: {_advice(count)}")
        if count == 91:
            return [number if number in coco.NAMES else -1 for number in range(91)], coco.NAMES
        return [-1] * (count - 80) + list(coco.NAMES), coco.NAMES
    named = len(names)
    while named and not names[named - 1]:
        named -= 1
    first = 0
    if spec == "ade20k" and count == len(names) + 1:  # class 0 is "other", as in DeepLab's models
        first = 1
    elif not named <= count <= len(names):
        raise UserError(
            f"the teacher has {count} classes, and --teacher_classes={spec} names {len(names)}: "
            f"{_advice(count)}"
        )
    numbers = range(-first, count - first)
    ids = [number if number >= 0 and names[number] else -1 for number in numbers]
    return ids, by_id(names)


def by_id(names):
    """Returns id → name of the classes that count; names: as `read` returns them."""
    if names is None:
        return coco.NAMES
    return {number: name for number, name in enumerate(names) if name}


def _advice(count):
    fits = [word for word, names in LISTS.items() if len(names) == count]
    fits += ["ade20k"] if count == len(ADE20K) + 1 else []
    fits += ["coco"] if count in (80, 81, 91) else []
    known = "".join(f"--teacher_classes={word} if these are its classes, or " for word in fits)
    return f"give {known}--teacher_classes=FILE with {count} lines, a name each"
