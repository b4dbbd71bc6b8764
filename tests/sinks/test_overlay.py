"""The overlay: colors, panels, and texts that neither overlap nor are cut."""

import itertools
import pathlib

import cv2
import matplotlib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitnet_tf.sinks import lettering
from jitnet_tf.sinks.overlay import Overlay, Status, blend
from jitnet_tf.sinks.palette import colorize, palette

LVS = ["background", "person", "bike", "auto", "bird", "dog", "horse", "elephant", "giraffe"]
MANY = ["background", *(f"class number {i}" for i in range(1, 81))]
LONG = ["background", "an exceedingly long name of a class", "vélo à Zürich, ß", "车", ""]
DEJAVU = str(pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
STATUS = Status(131, 16, (0.62, 0.81), 0.061, 43)
SIZES = [
    (120, 160),
    (240, 320),
    (272, 640),
    (360, 640),
    (719, 1281),
    (1080, 1920),
    (1280, 720),
    (40, 1500),
    (1500, 40),
]


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def boxes(size, class_id=1, background=0):
    """A class map with a rectangle of the class in the middle."""
    class_map = np.full(size, background, np.uint8)
    height, width = size
    class_map[height // 4 : height // 2, width // 4 : width // 2] = class_id
    return class_map


@pytest.fixture
def texts(monkeypatch):
    """Collects each text: (image's id and size, text, left, top, right, bottom)."""
    written, pictures = [], []
    put_text = cv2.putText

    def record(picture, text, origin, font, scale, color, thickness, line):
        (width, height), below = cv2.getTextSize(text, font, scale, thickness)
        left, baseline = origin
        box = (left, baseline - height, left + width, baseline + below)
        pictures.append(picture)  # kept, so that no other gets its id
        written.append(((id(picture), picture.shape[:2]), text, *box))
        return put_text(picture, text, origin, font, scale, color, thickness, line)

    monkeypatch.setattr(cv2, "putText", record)
    return written


@pytest.fixture
def fonts(monkeypatch):
    """Sets the fonts of the system."""

    def set_fonts(*files):
        lettering.system_font.cache_clear()
        monkeypatch.setattr(lettering, "SYSTEM_FONTS", files)

    yield set_fonts
    lettering.system_font.cache_clear()


def assert_all_readable(texts):
    """Checks that texts are inside their image and do not overlap."""
    for picture, text, left, top, right, bottom in texts:
        height, width = picture[1]
        assert left >= 0, text
        assert top >= 0, text
        assert right <= width, text
        assert bottom <= height, text
        assert bottom - top >= 10, text
    for a, b in itertools.combinations(texts, 2):
        if a[0] == b[0]:
            apart = a[4] < b[2] or b[4] < a[2] or a[5] <= b[3] or b[5] <= a[3]
            assert apart, (a[1], b[1])


class TestLayout:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("names", [LVS, MANY, LONG, ["background"]], ids=len)
    def test_every_frame_size(self, size, names, texts):
        overlay = Overlay(names, size)
        frame, class_map = noise(size), boxes(size, len(names) - 1)
        for teacher in (None, (frame, class_map, 112)):
            picture = overlay.draw(frame, class_map, teacher, STATUS)
            assert picture.shape == (*overlay.size, 3)
            assert picture.dtype == np.uint8
            assert_all_readable(texts)
            texts.clear()
        assert overlay.size[0] % 2 == overlay.size[1] % 2 == 0
        assert 3 * 480 <= overlay.size[1] <= 1920
        assert overlay.size[0] <= 1300

    @pytest.mark.parametrize("max_width", [1200, 1279, 1280, 2560])
    def test_max_width(self, max_width, texts):
        overlay = Overlay(LVS, (720, 1280), max_width)
        assert max_width - 6 <= overlay.size[1] <= max_width
        overlay.draw(noise((720, 1280)), boxes((720, 1280)), None, STATUS)
        assert_all_readable(texts)

    @settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        index=st.integers(0, 10**7),
        stride=st.integers(1, 10**4),
        accuracy=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
        teacher_fraction=st.floats(0, 1),
        updates=st.integers(0, 10**7),
    )
    def test_every_status(self, texts, **values):
        texts.clear()
        frame, class_map = noise((120, 160)), boxes((120, 160))
        Overlay(LVS, (120, 160)).draw(
            frame, class_map, (frame, class_map, values["index"]), Status(**values)
        )
        assert_all_readable(texts)

    def test_small_frames_are_enlarged_without_inventing_classes(self):
        overlay = Overlay(LVS, (120, 160))
        prediction = boxes((120, 160), 8)
        picture = overlay.triptych(noise((120, 160)), prediction, prediction)
        assert picture.shape == (360, 3 * 480, 3)
        white = np.full((120, 160, 3), 255, np.uint8)
        drawn = overlay.triptych(white, prediction, prediction)[:, 480:960]
        expected = blend(
            np.repeat(np.repeat(white, 3, 0), 3, 1), prediction.repeat(3, 0).repeat(3, 1)
        )
        np.testing.assert_array_equal(drawn, expected)


class TestContent:
    @pytest.fixture
    def overlay(self):
        """An overlay at the frame's own resolution, 360x640."""
        return Overlay(LVS, (360, 640))

    def panels(self, overlay, picture):
        """The three panels, less the lines between them."""
        top = next(y for y in range(100) if picture[y, 0].tolist() != picture[0, 0].tolist())
        whole = picture[top : top + 360]
        return [whole[:, left + 1 : left + 639] for left in (0, 640, 1280)]

    def test_three_panels(self, overlay):
        frame, teacher_frame = noise((360, 640), 1), noise((360, 640), 2)
        prediction, labels = boxes((360, 640), 3), boxes((360, 640), 5)
        picture = overlay.draw(frame, prediction, (teacher_frame, labels, 112), STATUS)
        inputs = [frame, blend(frame, prediction), blend(teacher_frame, labels)]
        for panel, shown in zip(self.panels(overlay, picture), inputs, strict=True):
            np.testing.assert_array_equal(panel, shown[:, 1:639])
        triptych = overlay.triptych(frame, prediction, labels)
        np.testing.assert_array_equal(triptych, np.hstack([*inputs[:2], blend(frame, labels)]))

    def test_latest_teacher_frame_stays_until_the_next(self, overlay):
        labels = boxes((360, 640))
        shown = []
        for index, teacher_index in [(0, 0), (1, 0), (8, 8)]:
            teacher = (noise((360, 640), teacher_index), labels, teacher_index)
            status = Status(index, 8, (0.5, 0.6), 0.1, 1)
            picture = overlay.draw(noise((360, 640), 50 + index), labels, teacher, status)
            shown.append(self.panels(overlay, picture)[2])
        np.testing.assert_array_equal(shown[0], shown[1])
        assert (shown[1] != shown[2]).mean() > 0.5

    def test_texts(self, overlay, texts):
        frame, class_map = noise((360, 640)), boxes((360, 640))
        overlay.draw(frame, class_map, (frame, class_map, 112), STATUS)
        words = [text for _, text, *_ in texts]
        assert words[:3] == ["video", "student", "teacher, frame 112"]
        status = "frame 131 stride 16 teacher 6.1% updates 43 accuracy 0.62 0.81"
        assert " ".join(filter(None, words[3:-8])) == status
        assert words[-8:] == LVS[1:]

    def test_accuracy_before_the_first_teacher_frame(self, overlay, texts):
        overlay.draw(noise((360, 640)), boxes((360, 640)), None, Status(0, 8, None, 0.0, 0))
        words = [text for _, text, *_ in texts]
        assert "teacher: not asked yet" in words
        assert words[words.index("accuracy") + 1] == "-"

    def test_title_is_highlighted_on_teacher_frames(self, overlay):
        frame, class_map = noise((360, 640)), boxes((360, 640))
        reds = [
            overlay.draw(frame, class_map, (frame, class_map, 112), Status(index, 8, None, 0.0, 0))[
                :30, 1280:, [0, 2]
            ].max((0, 1))
            for index in (112, 113)
        ]
        assert reds[0][0] > reds[0][1] + 50  # orange
        assert reds[1][0] == reds[1][1]  # white

    def test_inputs_are_left_alone(self, overlay):
        frame, class_map = noise((360, 640)), boxes((360, 640))
        copies = frame.copy(), class_map.copy()
        for array in (frame, class_map):
            array.flags.writeable = False
        overlay.draw(frame, class_map, (frame, class_map, 1), STATUS)
        np.testing.assert_array_equal(frame, copies[0])
        np.testing.assert_array_equal(class_map, copies[1])

    def test_images_are_independent(self, overlay):
        frame, class_map = noise((360, 640)), boxes((360, 640))
        first = overlay.draw(frame, class_map, None, STATUS)
        kept = first.copy()
        overlay.draw(noise((360, 640), 9), class_map, (frame, class_map, 0), STATUS)
        np.testing.assert_array_equal(first, kept)


class TestLegend:
    def has_swatch(self, overlay, picture, class_id):
        below_panels = picture[-overlay.size[0] // 4 :]
        return (below_panels == palette()[class_id]).all(-1).sum() > 50

    def test_all_classes_if_they_fit(self):
        overlay = Overlay(LVS, (360, 640))
        frame, nothing = noise((360, 640)), np.zeros((360, 640), np.uint8)
        picture = overlay.draw(frame, nothing, (frame, nothing, 0), STATUS)
        assert all(self.has_swatch(overlay, picture, class_id) for class_id in range(1, 9))

    def test_present_classes_come_first_if_not_all_fit(self, texts):
        overlay = Overlay(MANY, (360, 640))
        frame = noise((360, 640))
        picture = overlay.draw(frame, boxes((360, 640), 77), None, STATUS)
        picture = overlay.draw(
            frame, boxes((360, 640), 77), (frame, boxes((360, 640), 80), 0), STATUS
        )
        assert self.has_swatch(overlay, picture, 77)
        assert self.has_swatch(overlay, picture, 80)
        legend = [text for _, text, *_ in texts if text.startswith(("class", "+"))]
        last = legend[legend.index("class number 77", 2) :]
        assert last[:4] == [
            "class number 77",
            "class number 80",
            "class number 1",
            "class number 2",
        ]
        left_out = 80 - (len(last) - 1)
        assert last[-1] == f"+ {left_out} more"

    def test_names_without_a_font_are_in_ascii_or_numbered(self, fonts, texts):
        fonts()
        overlay = Overlay(LONG, (360, 640))
        overlay.draw(noise((360, 640)), boxes((360, 640)), None, STATUS)
        names = ["an exceedingly l..", "velo a Zurich, ss", "class 3", "class 4"]
        assert [text for _, text, *_ in texts][-4:] == names
        [problem] = overlay.problems
        assert "3 for '车'" in problem

    def test_names_in_ascii_need_no_font(self, fonts):
        fonts()
        assert Overlay(LVS, (360, 640)).problems == []

    @pytest.mark.parametrize("name", ["Fußgänger", "žluťoučký kůň", "Велосипед", "λεωφορείο"])
    def test_letters_are_drawn_by_a_font_that_has_them(self, fonts, texts, name):
        """As high as the other names, each letter of its own, and in its room."""
        fonts("no_such_font.ttf", DEJAVU)
        overlay = Overlay(["background", name, "next"], (360, 640))
        assert overlay.problems == []
        nothing = np.zeros((360, 640), np.uint8)
        legend = overlay.draw(noise((360, 640)), nothing, None, STATUS)[-40:]
        [left] = [left for _, text, left, *_ in texts if text == "next"]
        written = legend[:, 40 : left - 30].max(axis=(1, 2)) > 100
        ground = legend[:, left - 30 : left - 26]
        assert 12 <= written.sum() <= 28
        assert ground.max() < 60

    def test_letters_that_a_font_lacks_are_numbered(self, fonts):
        fonts(DEJAVU)
        assert "1 for '車'" in Overlay(["background", "車", "Вяз"], (360, 640)).problems[0]


class TestBlend:
    def test_fill_border_and_background(self):
        frame = np.full((40, 60, 3), 100, np.uint8)
        class_map = np.zeros((40, 60), np.uint8)
        class_map[10:30, 10:40] = 1
        class_map[10:30, 25:40] = 2
        picture = blend(frame, class_map)
        colors = palette().astype(int)
        np.testing.assert_array_equal(picture[5, 5], [75, 75, 75])
        np.testing.assert_allclose(picture[20, 18], (colors[1] + 100) / 2, atol=1)
        np.testing.assert_allclose(picture[20, 32], (colors[2] + 100) / 2, atol=1)
        for x in (10, 11):  # left border of 1
            np.testing.assert_array_equal(picture[20, x], colors[1])
        for x in (25, 26, 38, 39):  # borders of 2 to 1 and to the background
            np.testing.assert_array_equal(picture[20, x], colors[2])
        np.testing.assert_allclose(picture[20, 24], (colors[1] + 100) / 2, atol=1)

    def test_no_border_at_the_edge_of_the_image(self):
        frame = np.full((40, 60, 3), 100, np.uint8)
        picture = blend(frame, np.full((40, 60), 3, np.uint8))
        assert (picture == picture[0, 0]).all()
        assert picture[0, 0].tolist() != palette()[3].tolist()


class TestPalette:
    def test_colors_are_distinct(self):
        assert len(np.unique(palette(), axis=0)) == 256
        lab = cv2.cvtColor(palette()[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
        for count, least in ((9, 25), (81, 5)):
            distances = np.linalg.norm(lab[:count, None] - lab[:count], axis=-1)
            assert distances[~np.eye(count, dtype=bool)].min() > least

    def test_classes_keep_their_colors(self):
        """Videos of different runs and releases stay comparable."""
        pinned = {
            0: [0, 0, 0],
            1: [213, 94, 0],
            8: [225, 225, 225],
            9: [109, 73, 255],
            40: [255, 182, 73],
            80: [182, 255, 109],
        }
        assert palette()[list(pinned)].tolist() == list(pinned.values())

    def test_colorize(self):
        class_map = np.arange(256, dtype=np.uint8).reshape(16, 16)
        np.testing.assert_array_equal(colorize(class_map), palette()[class_map])
        np.testing.assert_array_equal(colorize(class_map.T), palette()[class_map.T])


def test_the_ignored_region_is_dark_and_striped_beside_the_video():
    ignored = np.zeros((360, 640), bool)
    ignored[:, 320:] = True
    frame = np.full((360, 640, 3), 200, np.uint8)
    nothing = np.zeros((360, 640), np.uint8)
    plain, striped = Overlay(LVS, (360, 640)), Overlay(LVS, (360, 640), ignored=ignored)
    teacher = (frame, nothing, 0)
    one, other = (each.draw(frame, nothing, teacher, STATUS) for each in (plain, striped))
    width, inner = plain.size[1] // 3, np.s_[60:300, 20:300]
    panels = [
        (a[:, i * width : (i + 1) * width], b[:, i * width : (i + 1) * width])
        for i in range(3)
        for a, b in ((one, other),)
    ]
    np.testing.assert_array_equal(*panels[0])
    for before, after in panels[1:]:
        np.testing.assert_array_equal(before[inner], after[inner])
        right = after[60:300, 340:620]
        assert (before[60:300, 340:620] > 140).all()
        assert (right < 110).all()
        assert len(np.unique(right)) > 1
