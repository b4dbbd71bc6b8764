"""The list of streams: rows, mistakes by line, changes."""

import pytest
from absl import flags

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.flags import define_flags
from jitnet_tf.fleet import streams

LIST = """\
# cameras of the north side
name, video, teacher_budget, width, class_groups
gate, rtsp://u:p@gate/1, .04, ,

street, "a, b.mp4", , .25, coco
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "cameras.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_rows(written):
    found = streams.read_list(written("\ufeff" + LIST))
    gate = {"video": "rtsp://u:p@gate/1", "teacher_budget": ".04"}
    street = {"video": "a, b.mp4", "width": ".25", "class_groups": "coco"}
    assert found == {
        "gate": streams.Stream("gate", gate, 3),
        "street": streams.Stream("street", street, 5),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n\n", "is empty"),
        ("name\na\n", "'video'"),
        ("video\na\n", "'name'"),
        ("name,video,name\n", "'name'"),
        ("name,video,teacher_buget\n", "'teacher_buget'.*'teacher_budget'"),
        ("name,video,logdir\n", "'logdir'.*leave it out"),
        ("name,video\na,1.mp4\nb\n", "line 3: 1 values for 2"),
        ("name,video\n\na,1.mp4,2\n", "line 3: 3 values for 2"),
        ("name,video\na,\n", "line 2: the video of 'a'"),
        ("name,video\n,1.mp4\n", "line 2: invalid name ''"),
        ("name,video\n../a,1.mp4\n", r"line 2: invalid name '\.\./a'"),
        ("name,video\na,1\n#\nb,2\na,3\n", "line 5: .*'a' in line 2"),
        ('name,video\na,"1\nb,2\n', "line 3"),
    ],
)
def test_mistakes_are_told_by_line(written, text, message):
    with pytest.raises(UserError, match=rf"--streams=.*cameras\.csv.*{message}"):
        streams.read_list(written(text))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa"])
def test_a_file_that_cannot_be_read(tmp_path, content):
    if content:
        (tmp_path / "cameras.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"cameras\.csv cannot be read"):
        streams.read_list(tmp_path / "cameras.csv")


@pytest.fixture
def flags_of_runs():
    """The flags of a run, at their defaults."""
    before = set(flags.FLAGS)
    define_flags(RunConfig)
    flags.FLAGS(["command", "--max_updates=3"])
    yield
    flags.FLAGS.unparse_flags()
    flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)


@pytest.mark.usefixtures("flags_of_runs")
def test_options_of_a_row_come_before_those_of_the_command(tmp_path):
    row = {"video": "0", "teacher_budget": ".04", "width": "0.25", "triggers": "cut"}
    found = streams.config_of(streams.Stream("gate", row, 2), tmp_path)
    expected = {"teacher_budget": 0.04, "triggers": ("cut",), "video": "0", "teacher": ""}
    assert {name: getattr(found, name) for name in expected} == expected
    assert (found.student.width, found.teacher_mode) == (0.25, "async")
    assert found.logdir == str(tmp_path / "gate")
    assert found.max_updates == 3


@pytest.mark.usefixtures("flags_of_runs")
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("teacher_budget", "much", "teacher_budget='much'"),
        ("teacher_budget", "2", "--teacher_budget=2"),
        ("frame_size", "360", "360"),
        ("min_stride", "999", "--min_stride=999"),
        ("optimizer", "best", "optimizer='best'"),
    ],
)
def test_invalid_options_are_told_by_line(tmp_path, name, text, message):
    row = streams.Stream("gate", {"video": "0", name: text}, 7)
    with pytest.raises(UserError, match=f"stream 'gate', line 7: .*{message}"):
        streams.config_of(row, tmp_path)


# Changes


def test_changes(written):
    path = written("name,video\na,1\nb,2\nc,3\n")
    watch = streams.Watch(path)
    assert watch.changes() == ([], [])
    written("name,video\n# a is gone, b another video, d new\nb,9\nc,3\nd,4\n")
    assert watch.changes() == (["b", "d"], ["a", "b"])
    assert watch.changes() == ([], [])
    assert list(watch.streams) == ["b", "c", "d"]


def test_a_list_with_a_mistake_changes_nothing(written):
    watch = streams.Watch(written("name,video\na,1\n"))
    written("name,video\na,1\na,2\n")
    assert watch.changes() == ([], [])
    assert "line 3" in watch.problem
    assert list(watch.streams) == ["a"]
    written("name,video\na,1\nb,2\n").unlink()
    assert watch.changes() == ([], [])
    assert "cannot be read" in watch.problem
    written("name,video\na,1\nb,2\n")
    assert watch.changes() == (["b"], [])
    assert watch.problem is None
