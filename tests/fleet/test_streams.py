"""The list of streams: rows, mistakes by line, changes."""

import pathlib

import pytest
from absl import flags

from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.fleet import streams
from jitnet_tf.runs import directory

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
        ("name,video,preview_port\na,1.mp4,80\n", "the column 'preview_port' out"),
        ("name,video,logdir\n", "the column 'logdir' out: .*LOGDIR/NAME"),
        ("name,video\na,1.mp4\nb\n", "line 3: 1 values for 2"),
        ("name,video\n\na,1.mp4,2\n", "line 3: 3 values for 2"),
        ("name,video\na,\n", "line 2: the video of 'a'"),
        ("name,video\n,1.mp4\n", "line 2: invalid name ''"),
        ("name,video\n../a,1.mp4\n", r"line 2: invalid name '\.\./a'"),
        ("name,video\na,1\n#\nb,2\na,3\n", "line 5: .*'a' in line 2"),
        *(
            (f"name,video\n{rows}", f"line {line}: a quote is not closed")
            for line, rows in ((2, 'a,"1\n'), (2, 'a,"1\nb,2\n'), (3, 'a,1\nb,"2\n'))
        ),
        ('name,video\na,"1\nb,"2"\nc,3\n', "line 2: a quote is not closed"),
        ('name,video\n\na,"1"\nb,"2"3\n', "line 4: .* expected after"),
        ("name;video\na;1\n", "commas"),
        ("name\tvideo\na\t1\n", "commas"),
        ("name,video\nfleet_summary.json,1\n", "line 2: invalid name"),
    ],
)
def test_mistakes_are_told_by_line(written, text, message):
    with pytest.raises(UserError, match=rf"--streams=.*cameras\.csv.*{message}"):
        streams.read_list(written(text))


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"\xff\xfe\xfa", "is not UTF-8")]
)
def test_a_file_that_cannot_be_read(tmp_path, content, message):
    if content:
        (tmp_path / "cameras.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"cameras\.csv {message}"):
        streams.read_list(tmp_path / "cameras.csv")


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


SECRET = "rtsp://user:5ecret@gate.local/1"


@pytest.mark.usefixtures("flags_of_runs")
@pytest.mark.parametrize("options", [{"frame_size": SECRET}, {"teacher_budget": SECRET}])
def test_a_cell_in_a_wrong_column_shows_no_password(tmp_path, options):
    with pytest.raises(UserError, match="line 7") as refused:
        streams.config_of(streams.Stream("gate", {"video": "0", **options}, 7), tmp_path)
    assert "5ecret" not in str(refused.value)


def test_a_name_that_is_a_url_shows_no_password(written):
    with pytest.raises(UserError, match=r"line 2: invalid name 'rtsp://\*\*\*@") as refused:
        streams.read_list(written(f"name,video\n{SECRET},gate\n"))
    assert "5ecret" not in str(refused.value)


@pytest.mark.usefixtures("flags_of_runs")
class TestRunsThatAreThere:
    def config(self, folder, **options):
        return streams.config_of(streams.Stream("gate", {"video": "0", **options}, 2), folder)

    def start(self, folder, **options):
        config = self.config(folder, **options)
        pathlib.Path(config.logdir).mkdir()
        directory.write_config(config)
        return config

    def test_go_on_as_they_are(self, tmp_path):
        config = self.start(tmp_path, width=".5", max_frames="9")
        assert self.config(tmp_path, width=".5", max_frames="9") == config

    def test_take_what_may_change(self, tmp_path):
        """A cell that is emptied, too."""
        self.start(tmp_path, max_frames="9")
        assert self.config(tmp_path, max_frames="12").max_frames == 12
        assert self.config(tmp_path).max_frames is None

    def test_refuse_what_may_not(self, tmp_path):
        self.start(tmp_path, width=".25")
        for options in ({"width": "1"}, {}):
            with pytest.raises(UserError, match=r"line 2: .*--width=0\.25"):
                self.config(tmp_path, **options)
        anew = streams.config_of(streams.Stream("gate", {"video": "0"}, 2), tmp_path, anew=True)
        assert anew.student.width == 0.5  # the default


@pytest.mark.usefixtures("flags_of_runs")
def test_streams_do_not_wait_for_their_teachers_unless_told(tmp_path):
    config = streams.config_of(streams.Stream("gate", {"video": "0"}, 2), tmp_path)
    assert config.max_staleness == streams.NO_WAITING
    row = streams.Stream("gate", {"video": "0", "max_staleness": "8"}, 2)
    assert streams.config_of(row, tmp_path).max_staleness == 8


@pytest.mark.usefixtures("flags_of_runs")
def test_masks_are_in_the_streams_own_folder(tmp_path):
    flags.FLAGS.masks = "masks"
    config = streams.config_of(streams.Stream("gate", {"video": "0"}, 2), tmp_path)
    assert config.masks == str(tmp_path / "gate" / "masks")


@pytest.mark.usefixtures("flags_of_runs")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frame_size", "small", "invalid frame size 'small'"),
        ("teacher_budget", 40.0, "--teacher_budget=40"),
        ("keep", 3600.0, "--keep=1h"),
        ("class_groups", "none.txt", "--class_groups=none.txt does not exist"),
    ],
)
def test_a_mistake_of_the_command_is_none_of_the_list(tmp_path, name, value, message):
    flags.FLAGS[name].value = value
    with pytest.raises(UserError, match=f"^{message}"):
        streams.config_of(streams.Stream("gate", {"video": "0"}, 2), tmp_path)


@pytest.mark.usefixtures("flags_of_runs")
@pytest.mark.parametrize("name", ["ignore_mask", "class_groups", "init", "reference"])
def test_files_of_a_row_exist(tmp_path, name):
    path = tmp_path / "file"
    row = streams.Stream("gate", {"video": "none.mp4", name: str(path)}, 2)
    with pytest.raises(UserError, match=f"line 2: --{name}=.*file does not exist"):
        streams.config_of(row, tmp_path)
    path.touch()
    assert streams.config_of(row, tmp_path).video == "none.mp4"  # which only its stream needs
    row.options[name] = f"recorded:{path}"
    with pytest.raises(UserError, match="does not exist"):
        streams.config_of(row, tmp_path)


# Changes


def look_twice(watch):
    """The changes, which count at the second look that finds them."""
    assert watch.changes() == ([], [])
    return watch.changes()


def test_changes(written):
    path = written("name,video\na,1\nb,2\nc,3\n")
    watch = streams.Watch(path)
    assert look_twice(watch) == ([], [])
    written("name,video\n# a is gone, b another video, d new\nb,9\nc,3\nd,4\n")
    assert look_twice(watch) == (["b", "d"], ["a", "b"])
    assert look_twice(watch) == ([], [])
    assert list(watch.streams) == ["b", "c", "d"]


def test_a_file_that_is_being_written_changes_nothing(written):
    watch = streams.Watch(written("name,video\na,1\nb,2\n"))
    for half in ("name,video\na,", "name,video\na,1\n", "name,video\na,1\nb,2\nc"):
        written(half)
        assert watch.changes() == ([], [])
    written("name,video\na,1\nb,2\nc,3\n")
    assert look_twice(watch) == (["c"], [])


def test_a_list_with_a_mistake_changes_nothing(written):
    watch = streams.Watch(path := written("name,video\na,1\n"))
    written("name,video\na,1\na,2\n")
    assert look_twice(watch) == ([], [])
    assert "line 3" in watch.problem
    assert list(watch.streams) == ["a"]
    written("name,video\na,1\nb,2\n").unlink()
    assert look_twice(watch) == ([], [])
    assert "cannot be read" in watch.problem
    written("name,video\n")
    assert look_twice(watch) == ([], [])
    assert "has no streams" in watch.problem
    path.write_bytes("name,video\na,caf\u00e9.mp4\n".encode("latin-1"))
    assert look_twice(watch) == ([], [])
    assert "not UTF-8" in watch.problem
    written("name,video\na,1\nb,2\n")
    assert look_twice(watch) == (["b"], [])
    assert watch.problem is None


def test_a_row_with_a_wrong_option_changes_nothing(written):
    def check(stream):
        if stream.options["video"] == "9":
            raise UserError(f"line {stream.line}: no camera 9")

    watch = streams.Watch(written("name,video\na,1\nb,2\n"), check)
    written("name,video\na,9\nc,3\n")
    assert look_twice(watch) == ([], [])
    assert "line 2: no camera 9" in watch.problem
    assert watch.streams["a"].options == {"video": "1"}


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({}, 0.125),  # of the least stride, 8
        ({"teacher_budget": 0.04}, 0.04),
        ({"teacher_budget": 0.5}, 0.125),
        ({"teacher_budget": 0.5, "min_stride": 1}, 0.5),
    ],
)
def test_the_budget_is_what_the_options_allow(given, share):
    assert streams.budget_of(RunConfig(video="a.mp4", **given)) == share
