"""jitnet_tf.labels: class groups; labels and weights against values worked out by hand."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf import labels
from jitnet_tf.base.errors import UserError
from jitnet_tf.labels import ClassGroups, LabelMaker, class_groups
from teacher import class_names, coco
from teacher.detections import Detections

PERSON, BICYCLE, CAR, MOTORCYCLE, BUS, TRUCK, CAT, DOG = 1, 2, 3, 4, 6, 8, 17, 18
UNASSIGNED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # ids in 1…90 that COCO left out


def detections(*rows, frame_size):
    """Detections from (class, score, box in pixels), each mask filling its box."""
    H, W = frame_size
    boxes = np.array([box for _, _, box in rows], np.float64).reshape(-1, 4)
    return Detections(
        (boxes / (H, W, H, W)).astype(np.float32),
        np.array([class_id for class_id, _, _ in rows], np.int32),
        np.array([score for _, score, _ in rows], np.float32),
        tuple(np.ones((y1 - y0, x1 - x0), bool) for _, _, (y0, x0, y1, x1) in rows),
        np.array([box[:2] for _, _, box in rows], np.int32).reshape(-1, 2),
    )


# Class groups


def test_lvs_is_the_papers():
    groups = class_groups("lvs")
    assert groups.names == (
        "background",
        *("person", "bike", "auto", "bird", "dog", "horse", "elephant", "giraffe"),
    )
    # fmt: off
    expected = {
        PERSON: 1, BICYCLE: 2, MOTORCYCLE: 2, CAR: 3, BUS: 3, TRUCK: 3, 16: 4, DOG: 5, 19: 6,
        22: 7, 25: 8,
    }
    # fmt: on
    table = groups.class_ids()
    assert table.dtype == np.uint8
    assert table.shape == (91,)
    assert {i: class_id for i, class_id in enumerate(table.tolist()) if class_id} == expected


def test_coco_has_its_80_categories_in_order():
    groups = class_groups("coco")
    assert len(groups.names) == 81
    assert len(set(groups.names)) == 81
    given_ids = [i for i in range(1, 91) if i not in UNASSIGNED]
    expected = np.zeros(91, np.uint8)
    expected[given_ids] = np.arange(1, 81)
    np.testing.assert_array_equal(groups.class_ids(), expected)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (1, "person"),
        (13, "stop sign"),
        (44, "bottle"),
        (62, "chair"),
        (72, "tv"),
        (90, "toothbrush"),
    ],
)
def test_coco_names(number, name):
    assert coco.NAMES[number] == name
    assert coco.IDS[name] == number


def test_groups_file(tmp_path):
    path = tmp_path / "groups.txt"
    path.write_text(
        "# what drives\n"
        "\n"
        "vehicle = car , bus,truck   # not the bikes\n"
        "  traffic light\n"
        "cat=cat\n"
        "two wheels = bicycle, motorcycle, bicycle\n"
        "person =\n"
    )
    groups = class_groups(str(path))
    assert groups.names == (
        *("background", "vehicle", "traffic light", "cat", "two wheels", "person"),
    )
    table = groups.class_ids()
    assert {i: int(table[i]) for i in np.flatnonzero(table)} == {
        **{CAR: 1, BUS: 1, TRUCK: 1},
        **{10: 2, CAT: 3, BICYCLE: 4, MOTORCYCLE: 4, PERSON: 5},
    }


def test_groups_file_of_a_windows_editor(tmp_path):
    path = tmp_path / "groups.txt"
    path.write_bytes("person\r\nauto = car, bus\r\n".encode("utf-8-sig"))
    assert class_groups(str(path)).names == ("background", "person", "auto")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("auto = car,\n", "line 1: ''"),
        ("auto = car = bus\n", "line 1: 'car = bus'"),
        ("auto = car\n\nbig = truck, car\n", "line 3: 'car'"),
        ("auto = car\nauto = bus\n", "line 2: group name 'auto'"),
        ("= car\n", "line 1: group name ''"),
        ("background = car\n", "line 1: group name 'background'"),
        ("car, bus\n", "'auto = car, bus'"),
        ("", "0 groups"),
        ("# person\n\n   \n", "0 groups"),
    ],
)
def test_groups_file_in_error(tmp_path, content, message):
    path = tmp_path / "groups.txt"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        class_groups(str(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


# The groups and the categories of a teacher


def groups_file(tmp_path, text):
    path = tmp_path / "groups.txt"
    path.write_text(text)
    return class_groups(str(path))


def named(groups, spec):
    """Name of a category → the class that it is labeled as, but background."""
    names = class_names.by_id(class_names.read(spec))
    table = groups.class_ids(names)
    return {names[i]: groups.names[table[i]] for i in names if table[i]}


def test_the_papers_classes_in_other_lists():
    groups = class_groups("lvs")
    assert named(groups, "voc") == {
        **{"person": "person", "bicycle": "bike", "motorbike": "bike", "car": "auto"},
        **{"bus": "auto", "bird": "bird", "dog": "dog", "horse": "horse"},
    }
    assert named(groups, "cityscapes") == {
        **{"person": "person", "rider": "person", "bicycle": "bike", "motorcycle": "bike"},
        **{"car": "auto", "bus": "auto", "truck": "auto"},
    }
    assert named(groups, "ade20k") == {
        **{"person": "person", "bicycle": "bike", "minibike": "bike"},
        **{"car": "auto", "bus": "auto", "truck": "auto", "van": "auto"},
    }


def test_a_groups_file_may_use_the_names_of_either_list(tmp_path):
    groups = groups_file(tmp_path, "Sofa\nplane = airplane\nscreen = TV_monitor\n")
    assert named(groups, "voc") == {"sofa": "Sofa", "aeroplane": "plane", "tvmonitor": "screen"}
    assert named(groups, "coco") == {"couch": "Sofa", "airplane": "plane", "tv": "screen"}


def test_a_name_of_its_own_goes_before_what_it_is_a_kind_of(tmp_path):
    groups = groups_file(tmp_path, "rider\nwalks = person\nroad\n")
    assert named(groups, "cityscapes") == {"rider": "rider", "person": "walks", "road": "road"}


def test_names_that_are_lists_of_synonyms(tmp_path):
    names = {0: "wall", 12: "person;individual;someone", 20: "car, auto, automobile"}
    table = class_groups("lvs").class_ids(names)
    assert {i: int(table[i]) for i in np.flatnonzero(table)} == {12: 1, 20: 3}


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        ("person\nauto = car, lorry\n", "coco", "'lorry'.*toothbrush"),
        ("road\nsky\n", "coco", "'road'"),
        ("road\nsky\nperson\n", "voc", "'road'.*tvmonitor"),
        ("elephant\nkite\n", "voc", "elephant, kite.*tvmonitor"),
    ],
)
def test_categories_that_the_teacher_lacks_are_refused(tmp_path, text, spec, message):
    groups = groups_file(tmp_path, text)
    with pytest.raises(UserError, match=message):
        groups.check(class_names.by_id(class_names.read(spec)))


def test_categories_of_coco_that_the_teacher_lacks_are_noted():
    groups = class_groups("lvs")
    assert groups.check(coco.NAMES) == []
    without_truck, classes = groups.check(class_names.by_id(class_names.read("voc")))
    assert "'auto'" in without_truck
    assert "truck" in without_truck
    assert "elephant, giraffe" in classes


def test_labels_of_another_list():
    names = class_names.by_id(class_names.read("cityscapes"))
    maker = LabelMaker(class_groups("lvs"), categories=names)
    seen = detections((18, 1.0, (0, 0, 2, 2)), (0, 1.0, (2, 0, 4, 4)), frame_size=(4, 4))
    np.testing.assert_array_equal(maker.labels(seen, (4, 4)), [[2, 2, 0, 0]] * 2 + [[0] * 4] * 2)


def test_groups_file_that_is_not_text(tmp_path):
    path = tmp_path / "groups.txt"
    path.write_bytes(b"person\n\xff\xfe\x00")
    with pytest.raises(UserError, match="not a readable text file"):
        class_groups(str(path))


@pytest.mark.parametrize("spec", ["LVS", "no/such/file", ""])
def test_unknown_groups(spec):
    with pytest.raises(UserError, match=re.escape(repr(spec))):
        class_groups(spec)


def test_a_folder_is_not_a_groups_file(tmp_path):
    with pytest.raises(UserError, match=re.escape(repr(str(tmp_path)))):
        class_groups(str(tmp_path))


# Labels


def test_labels_worked_out():
    maker = LabelMaker(class_groups("lvs"))
    seen = detections(
        (CAR, 0.9, (1, 1, 3, 4)),
        (PERSON, 0.8, (0, 3, 2, 5)),  # hidden by the car where both are: 3 > 1
        (DOG, 0.6, (3, 0, 4, 2)),
        frame_size=(4, 6),
    )
    expected = [
        [0, 0, 0, 1, 1, 0],
        [0, 3, 3, 3, 1, 0],
        [0, 3, 3, 3, 0, 0],
        [5, 5, 0, 0, 0, 0],
    ]
    result = maker.labels(seen, (4, 6))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_higher_class_wins_whatever_the_score_or_order(order):
    rows = [(CAR, 0.6, (0, 0, 2, 2)), (PERSON, 0.99, (0, 0, 2, 3)), (BICYCLE, 0.7, (0, 1, 1, 4))]
    maker = LabelMaker(class_groups("lvs"))
    result = maker.labels(detections(*(rows[i] for i in order), frame_size=(2, 4)), (2, 4))
    np.testing.assert_array_equal(result, [[3, 3, 2, 2], [3, 3, 1, 0]])


def test_grouped_categories_share_a_class():
    rows = [(class_id, 0.9, (0, i, 1, i + 1)) for i, class_id in enumerate((CAR, BUS, TRUCK, 25))]
    result = LabelMaker(class_groups("lvs")).labels(detections(*rows, frame_size=(1, 5)), (1, 5))
    np.testing.assert_array_equal(result, [[3, 3, 3, 8, 0]])


def test_score_equal_to_the_threshold_counts():
    rows = [(PERSON, s, (0, i, 1, i + 1)) for i, s in enumerate((0.9, 0.7, 0.6999, 0.1))]
    seen = detections(*rows, frame_size=(1, 4))
    maker = LabelMaker(class_groups("lvs"), score_threshold=0.7, box_dilation=0)
    np.testing.assert_array_equal(maker.labels(seen, (1, 4)), [[1, 1, 0, 0]])
    np.testing.assert_array_equal(maker.weights(seen, (1, 4)), [[5, 5, 1, 1]])


def test_objects_in_no_group_are_background_of_weight_one():
    seen = detections((CAT, 0.9, (0, 0, 4, 4)), (12, 0.9, (4, 4, 8, 8)), frame_size=(8, 8))
    maker = LabelMaker(class_groups("lvs"))
    assert not maker.labels(seen, (8, 8)).any()
    assert (maker.weights(seen, (8, 8)) == 1).all()
    maker = LabelMaker(ClassGroups({"pet": ("cat", "dog")}))
    assert (maker.labels(seen, (8, 8)) == 1).sum() == 16
    assert (maker.weights(seen, (8, 8)) == 5).any()


def test_no_detections():
    maker = LabelMaker(class_groups("lvs"))
    seen = detections(frame_size=(3, 5))
    np.testing.assert_array_equal(maker.labels(seen, (3, 5)), np.zeros((3, 5)))
    weights = maker.weights(seen, (3, 5))
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, np.ones((3, 5)))


@st.composite
def scenes(draw):
    H, W = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    masks, origins = [], []
    count = draw(st.integers(0, 5))
    for _ in range(count):
        y0, y1 = sorted(random.integers(0, H + 1, 2))  # an empty window now and then
        x0, x1 = sorted(random.integers(0, W + 1, 2))
        masks.append(random.random((y1 - y0, x1 - x0)) < 0.7)
        origins.append((y0, x0))
    seen = Detections(
        np.tile(np.float32([0, 0, 1, 1]), (count, 1)),
        random.choice([PERSON, BICYCLE, CAR, BUS, CAT, DOG, 12, 90], count).astype(np.int32),
        random.choice([0.1, 0.3, 0.5, 0.9], count).astype(np.float32),
        tuple(masks),
        np.array(origins, np.int32).reshape(-1, 2),
    )
    return seen, (H, W), draw(st.sampled_from(["lvs", "coco"])), draw(st.sampled_from([0.3, 0.5]))


@given(scenes())
def test_labels_pixel_by_pixel(scene):
    seen, (H, W), groups, threshold = scene
    groups = class_groups(groups)
    expected = np.zeros((H, W), int)
    for i in range(len(seen)):
        if seen.scores[i] < np.float32(threshold):
            continue
        name = coco.NAMES.get(int(seen.classes[i]))
        owners = [k for k, members in enumerate(groups.groups.values(), 1) if name in members]
        for y, x in zip(*np.nonzero(seen.masks[i]), strict=True):
            at = (y + seen.origins[i][0], x + seen.origins[i][1])
            expected[at] = max([expected[at], *owners])
    result = LabelMaker(groups, threshold).labels(seen, (H, W))
    np.testing.assert_array_equal(result, expected)


# Weights


def weights(box, frame_size=(100, 200), **options):
    seen = detections((PERSON, 0.9, box), frame_size=frame_size)
    return LabelMaker(class_groups("lvs"), **options).weights(seen, frame_size)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        # 20 × 40 pixels, so 3 more above and below, 6 more left and right
        ((20, 60, 40, 100), (17, 43), (54, 106)),
        # cut at each border of the frame
        ((0, 0, 20, 20), (0, 23), (0, 23)),
        ((80, 180, 100, 200), (77, 100), (177, 200)),
        ((0, 0, 100, 200), (0, 100), (0, 200)),
        # 15 % of 2 and of 4 pixels are .3 and .6: to whole pixels 0 and 1
        ((50, 50, 52, 54), (50, 52), (49, 55)),
        # of one pixel, .15
        ((50, 50, 51, 51), (50, 51), (50, 51)),
    ],
)
def test_boxes_are_dilated_by_15_percent_on_every_side(box, rows, columns):
    expected = np.ones((100, 200), np.float32)
    expected[slice(*rows), slice(*columns)] = 5
    result = weights(box)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


def test_dilation_and_weight_can_be_chosen():
    expected = np.ones((100, 200))
    expected[17:63, 57:103] = 10  # 7.5 % of 40 is 3
    np.testing.assert_array_equal(
        weights((20, 60, 60, 100), box_weight=10, box_dilation=0.075), expected
    )
    assert (weights((20, 60, 60, 100), box_dilation=0) == 5).sum() == 40 * 40


def test_overlapping_boxes_weigh_no_more():
    seen = detections(
        (PERSON, 0.9, (0, 0, 20, 20)), (CAR, 0.9, (10, 10, 30, 30)), frame_size=(40, 40)
    )
    result = LabelMaker(class_groups("lvs")).weights(seen, (40, 40))
    assert set(np.unique(result)) == {1, 5}
    assert (result == 5).sum() == 23 * 23 + 26 * 26 - 16 * 16  # 0…23, 7…33, both 7…23


def test_the_whole_box_weighs_not_the_mask_alone():
    box = np.float32([[0.25, 0.25, 0.75, 0.75]])
    mask = np.zeros((20, 20), bool)
    mask[:3] = True
    seen = Detections(
        box, np.int32([PERSON]), np.float32([0.9]), (mask,), np.array([[10, 10]], np.int32)
    )
    maker = LabelMaker(class_groups("lvs"), box_dilation=0)
    assert (maker.weights(seen, (40, 40)) == 5).sum() == 400
    assert (maker.labels(seen, (40, 40)) == 1).sum() == 60


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((-0.1, 0.5, 0.1, 0.6), (0, 13), (97, 123)),  # y −10…10, ±3; x 100…120, ±3
        ((0.9, 0.95, 1.1, 1.05), (87, 100), (187, 200)),
        ((1.5, 0, 1.9, 1), (0, 0), (0, 0)),
        ((0, -0.9, 1, -0.5), (0, 0), (0, 0)),
    ],
)
def test_boxes_that_reach_out_of_the_frame(box, rows, columns):
    seen = Detections(
        np.float32([box]),
        np.int32([PERSON]),
        np.float32([0.9]),
        (np.zeros((0, 0), bool),),
        np.zeros((1, 2), np.int32),
    )
    expected = np.ones((100, 200))
    expected[slice(*rows), slice(*columns)] = 5
    np.testing.assert_array_equal(
        LabelMaker(class_groups("lvs")).weights(seen, (100, 200)), expected
    )


def test_a_label_map_holds_every_preset():
    assert all(len(groups) < labels.MAX_CLASSES for groups in labels.PRESETS.values())


# Hesitation


def test_an_unsure_object_has_no_weight():
    found = detections(
        (PERSON, 0.9, (0, 0, 4, 4)),
        (DOG, 0.3, (2, 2, 6, 6)),  # unsure, and partly over a label
        (DOG, 0.05, (7, 7, 9, 9)),  # not even likely
        (CAT, 0.4, (0, 8, 2, 10)),  # in no class
        frame_size=(10, 10),
    )
    plain = LabelMaker(class_groups("lvs"), box_dilation=0)
    unsure = LabelMaker(class_groups("lvs"), box_dilation=0, hesitation=0.1)
    expected = plain.weights(found, (10, 10))
    expected[2:6, 2:6] = 0
    expected[2:4, 2:4] = 5
    np.testing.assert_array_equal(unsure.weights(found, (10, 10)), expected)
    np.testing.assert_array_equal(unsure.labels(found, (10, 10)), plain.labels(found, (10, 10)))


# The ignored region


def test_the_ignored_region_is_background_without_weight():
    size = (20, 20)
    ignored = np.zeros(size, bool)
    ignored[:, 10:] = True
    found = detections(
        (PERSON, 0.9, (2, 2, 6, 6)),  # outside
        (CAR, 0.9, (8, 6, 12, 14)),  # on both sides
        (DOG, 0.9, (15, 12, 18, 18)),  # inside, but for its dilated box
        frame_size=size,
    )
    groups = class_groups("lvs")
    plain = LabelMaker(groups, box_dilation=0.5)
    maker = LabelMaker(groups, box_dilation=0.5, ignored=ignored)
    expected = np.where(ignored, 0, plain.labels(found, size))
    np.testing.assert_array_equal(maker.labels(found, size), expected)
    weights = np.where(ignored, 0, plain.weights(found.take([0, 1]), size))
    np.testing.assert_array_equal(maker.weights(found, size), weights)
    assert maker.names_found(found) == ("person", "car")


def test_objects_without_a_pixel_are_not_in_the_ignored_region():
    """Their boxes weigh, as without a region."""
    size = (20, 20)
    ignored = np.zeros(size, bool)
    ignored[:, 10:] = True
    box = detections((PERSON, 0.9, (4, 2, 10, 8)), frame_size=size)
    empty = Detections(box.boxes, box.classes, box.scores, (np.zeros((6, 6), bool),), box.origins)
    weights = LabelMaker(class_groups("lvs"), ignored=ignored).weights(empty, size)
    assert weights[6, 5] == 5


def test_doubt_and_the_ignored_region_together():
    size = (20, 20)
    ignored = np.zeros(size, bool)
    ignored[:, 10:] = True
    found = detections((PERSON, 0.3, (2, 6, 6, 14)), frame_size=size)
    maker = LabelMaker(class_groups("lvs"), hesitation=0.1, ignored=ignored)
    expected = np.where(ignored, 0, 1)
    expected[2:6, 6:14] = 0
    np.testing.assert_array_equal(maker.weights(found, size), expected)
