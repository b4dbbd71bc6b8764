"""Names of a teacher's classes: lists, files, and how they fit a model."""

import pytest

from jitnet_tf.base.errors import UserError
from teacher import coco, options
from teacher.class_names import ADE20K, LISTS, by_id, of_classes, read


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "names.txt"
    path.write_bytes(text.encode(encoding))
    return str(path)


def test_the_known_lists():
    assert {name: len(names) for name, names in LISTS.items()} == {
        **{"voc": 21, "cityscapes": 19, "ade20k": 150},
    }
    assert all(len(set(names)) == len(names) for name, names in LISTS.items() if name != "ade20k")
    assert [ADE20K[i] for i in (0, 12, 20, 80, 127, 149)] == [
        *("wall", "person", "car", "bus", "bicycle", "flag"),
    ]
    assert read("voc")[:2] == ("", "aeroplane")  # the background does not count
    assert read("coco") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_has_a_name_a_line(tmp_path, encoding, end):
    lines = ["# from 0", "Background", "road # asphalt", "", "traffic light", "  Straße "]
    names = read(write(tmp_path, end.join(lines), encoding))
    assert names == ("", "road", "", "traffic light", "Straße")
    assert by_id(names) == {1: "road", 3: "traffic light", 4: "Straße"}


@pytest.mark.parametrize("text", ["", "\n\n", "# road\n", "background\n"])
def test_a_file_without_names_is_refused(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(UserError, match="0 names") as error:
        read(path)
    assert path in str(error.value)


def test_neither_a_list_nor_a_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--teacher_classes=kitti.*cityscapes"):
        read("kitti")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00r")
    with pytest.raises(UserError, match="not a readable text file"):
        read(str(tmp_path / "names.txt"))


def test_cocos_classes_have_cocos_ids():
    ids = list(coco.NAMES)
    assert of_classes(None, 80, "coco") == (ids, coco.NAMES)
    assert of_classes(None, 81, "coco") == ([-1, *ids], coco.NAMES)
    numbers, names = of_classes(None, 91, "coco")
    assert names == coco.NAMES
    assert (numbers[0], numbers[1], numbers[12], numbers[13]) == (-1, 1, -1, 13)


def test_classes_of_a_list_have_its_places():
    names = ("road", "", "car", "")
    assert of_classes(names, 4, "f") == ([0, -1, 2, -1], {0: "road", 2: "car"})
    assert of_classes(names, 3, "f")[0] == [0, -1, 2]  # an empty last line is no class
    assert of_classes(read("ade20k"), 151, "ade20k")[0][:2] == [-1, 0]


@pytest.mark.parametrize(
    ("names", "count", "advice"),
    [
        (None, 21, "--teacher_classes=voc"),
        (None, 7, "FILE with 7 lines"),
        (("road", "car"), 3, "names 2"),
        (("road", "car"), 1, "names 2"),
        (("road", "car"), 19, "--teacher_classes=cityscapes"),
    ],
)
def test_another_number_of_classes_is_refused(names, count, advice):
    with pytest.raises(UserError, match=f"{count} classes.*{advice}"):
        of_classes(names, count, "f")


def test_options_of_saved_models_are_refused_elsewhere():
    options.TeacherOptions().check_unused("recorded:a")
    with pytest.raises(UserError, match=r"--teacher_signature=raw.*'recorded:a'"):
        options.TeacherOptions(signature="raw").check_unused("recorded:a")
    with pytest.raises(UserError, match="--teacher_input=bgr"):
        options.TeacherOptions(input="bgr")
