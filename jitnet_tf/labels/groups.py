"""Class groups: the student's classes as groups of the teacher's categories (paper §5.1)."""

import dataclasses
import pathlib

import numpy as np

from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError
from teacher import coco
from teacher.class_names import meanings, plain

BACKGROUND = "background"
# The moving classes that the paper evaluates. It merges car, bus and truck because the teacher
# confuses them, and does not define "bike": EastGit0 merges bicycles and motorcycles, ShadowTutor
# takes bicycles only (a groups file can do the same).
LVS = {
    "person": ("person",),
    "bike": ("bicycle", "motorcycle"),
    "auto": ("car", "bus", "truck"),
    "bird": ("bird",),
    "dog": ("dog",),
    "horse": ("horse",),
    "elephant": ("elephant",),
    "giraffe": ("giraffe",),
}
PRESETS = {"lvs": LVS, "coco": {name: (name,) for name in coco.NAMES.values()}}
MAX_CLASSES = 255  # a label map is uint8
_COCO = {meaning for name in coco.IDS for meaning in meanings(name)}


@dataclasses.dataclass(frozen=True)
class ClassGroups:
    """The student's classes: class 0 is background, class i + 1 the i-th group.

    Attributes:
      groups: group name → names of the teacher's categories in it, in class order.
    """

    groups: dict[str, tuple[str, ...]]

    @property
    def names(self):
        """Class names in the order of their ids, background first."""
        return (BACKGROUND, *self.groups)

    def class_ids(self, categories=coco.NAMES):
        """Returns the class id of each category id, uint8 [greatest id + 1]; 0 for one in no group.

        A category belongs to the group that has its name, or else a name for the same thing or for
        one that includes it (see `class_names.meanings`).

        Args:
          categories: id → name.
        """
        table = np.zeros(max(categories, default=0) + 1, np.uint8)
        classes = self.class_of_names()
        for number, name in categories.items():
            found = (classes[meaning] for meaning in meanings(name) if meaning in classes)
            table[number] = next(found, 0)
        return table

    def check(self, categories):
        """Compares the groups with a teacher's categories, id → name.

        Returns:
          Notes on groups with categories of COCO that the teacher lacks, a sentence each.

        Raises:
          UserError: a category that neither the teacher nor COCO has, or none that the teacher has.
        """
        had = {meaning for name in categories.values() for meaning in meanings(name)}
        known = had | _COCO
        listed = f"the teacher has {', '.join(categories.values())}"
        notes, lacking = [], []
        for group, members in self.groups.items():
            for member in members:
                if plain(member) not in known:
                    raise UserError(
                        f"--class_groups: class {group!r} has {member!r}, which is no category of "
                        f"the teacher: correct it; {listed}"
                    )
            absent = [member for member in members if plain(member) not in had]
            if len(absent) == len(members):
                lacking.append(group)
            elif absent:
                notes.append(
                    f"class {group!r} is labeled without {', '.join(absent)}, which the teacher "
                    "does not have"
                )
        if len(lacking) == len(self.groups):
            raise UserError(
                f"--class_groups: the teacher has no category of the classes {', '.join(lacking)}: "
                f"choose others; {listed}"
            )
        if lacking:
            notes.append(f"the teacher has no category of the classes {', '.join(lacking)}")
        return notes

    def vocabulary(self):
        """Returns id → name of COCO's categories, and of those that only the groups name."""
        members = (name for names in self.groups.values() for name in names)
        own = dict.fromkeys(name for name in members if plain(name) not in _COCO)
        return coco.NAMES | dict(enumerate(own, max(coco.NAMES) + 1))

    def class_of_names(self):
        """Returns name of a category, as compared → class id."""
        members = list(self.groups.values())
        return {plain(name): i + 1 for i, names in enumerate(members) for name in names}


def class_groups(spec):
    """Reads class groups: 'lvs', 'coco', or the path of a text file.

    Each line of the file is `name = category, category, …`, or `name` for a category alone;
    `#` starts a comment. Where objects overlap, the class of the later line wins. Categories are
    the teacher's, which `ClassGroups.check` compares them with.

    Raises:
      UserError: neither a preset nor a file, or an invalid line.
    """
    if spec in PRESETS:
        return ClassGroups(PRESETS[spec])
    if not pathlib.Path(spec).is_file():
        raise UserError(
            f"class groups {spec!r}: no such preset or file; take "
            f"{' or '.join(map(repr, PRESETS))}, or a file with lines 'auto = car, bus, truck'"
        )
    groups, owner = {}, {}
    for number, line in enumerate(files.text_lines(spec, f"class groups {spec!r}"), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        where = f"class groups {spec!r}, line {number}"
        name, _, members = (part.strip() for part in line.partition("="))
        if "," in name:
            raise UserError(f"{where}: several categories need a name, as in 'auto = {name}'")
        members = tuple(m.strip() for m in (members or name).split(","))
        if not name or name in groups or name == BACKGROUND:
            raise UserError(f"{where}: group name {name!r} is empty, taken or reserved; rename it")
        for member in members:
            if not plain(member) or "=" in member:
                raise UserError(f"{where}: {member!r} is no name of a category")
            if (taken := owner.setdefault(plain(member), name)) != name:
                raise UserError(f"{where}: {member!r} is already in group {taken!r}")
        groups[name] = members
    if not 0 < len(groups) < MAX_CLASSES:
        raise UserError(f"class groups {spec!r}: {len(groups)} groups; it takes 1 to 254")
    return ClassGroups(groups)
