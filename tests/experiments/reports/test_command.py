"""Commands over streams, without evaluations."""

import json

import pytest
from absl import flags

from experiments import methods
from experiments.protocol import jobs, streams
from experiments.reports import command
from jitnet_tf.base.errors import UserError
from tests.builders import made_result
from tests.commands import refusal, run_command
from tests.materials import write_square_stream

FRAMES = 5
NAMES = ("flow_fast", "max_updates=4")


class Example:
    """A minimal command."""

    __name__ = "example"

    define_flags = staticmethod(command.define_flags)

    def __init__(self, settings=None):
        self.settings = settings or {}

    def main(self):
        listed = command.listed_streams()
        place = flags.FLAGS.results
        command.make_results(listed, NAMES, self.settings, place, evaluate="its own")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A list of two streams, beside them."""
    folder = tmp_path_factory.mktemp("material")
    found = [write_square_stream(folder, name, FRAMES) for name in ("a", "b")]
    (folder / "list.csv").write_text(streams.to_csv(found, folder, folder))
    return folder


@pytest.fixture
def asked(monkeypatch):
    """Records the calls of `jobs.run`, which does nothing and returns .done."""

    class Asked(list):
        done = True

    asked = Asked()

    def run(*arguments):
        asked.append(arguments)
        return asked.done

    monkeypatch.setattr(jobs, "run", run)
    return asked


def done(material, place, name, **settings):
    """Writes results as evaluations of a stream would."""
    [stream] = [s for s in streams.read_list(material / "list.csv") if s.name == name]
    values = {"stream": vars(stream), "recorded": streams.recorded(stream)}
    for method in NAMES:
        path = jobs.folder(place, name, method) / jobs.RESULT
        path.parent.mkdir(parents=True)
        found = {"settings": methods.settings_of(method, settings), "method": method}
        path.write_text(json.dumps({**made_result(), **values, **found}))


def test_every_method_runs_on_every_stream(material, tmp_path, asked):
    place = tmp_path / "deep" / "results"
    arguments = [f"--streams={material}/list.csv", f"--results={place}", "--jobs=3"]
    assert run_command(Example(), *arguments) == 0
    [(pairs, settings, results, count, evaluate)] = asked
    assert [(s.name, frames, method) for s, frames, method in pairs] == [
        (stream, FRAMES, method) for stream in ("a", "b") for method in NAMES
    ]
    assert (settings, count, evaluate) == ({}, 3, "its own")
    assert str(place) == results


def test_only_missing_results_are_made(material, tmp_path, asked):
    arguments = [f"--streams={material}/list.csv", f"--results={tmp_path}"]
    done(material, tmp_path, "a")
    assert run_command(Example(), *arguments) == 0
    assert [(s.name, method) for s, _, method in asked.pop()[0]] == [("b", m) for m in NAMES]
    done(material, tmp_path, "b")
    assert run_command(Example(), *arguments) == 0
    assert asked == []


def test_an_interruption_ends_the_command(material, tmp_path, asked, capsys):
    asked.done = False
    arguments = [f"--streams={material}/list.csv", f"--results={tmp_path}"]
    assert run_command(Example(), *arguments) == 130
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("stopped early")
    assert f"({tmp_path})" in line


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"streams": None}, "--streams is missing"),
        ({"results": None}, "--results is missing"),
        ({"streams": "nowhere.csv"}, "'nowhere.csv'"),
        ({"videos": "nowhere"}, "'nowhere/a.mp4'"),
        ({"recordings": "nowhere"}, "'nowhere/a.recording'"),
        ({"results": "/proc/results"}, "--results=/proc/results"),
        ({"jobs": 0}, "jobs"),
        ({"stream": "x"}, "'stream'"),
    ],
)
def test_invalid_flags_are_refused(material, tmp_path, monkeypatch, asked, capsys, change, named):
    monkeypatch.chdir(tmp_path)
    values = {"streams": f"{material}/list.csv", "results": "results", **change}
    arguments = [f"--{name}={value}" for name, value in values.items() if value is not None]
    assert named in refusal(Example(), tmp_path, capsys, *arguments)
    assert asked == []


@pytest.mark.parametrize("other", [{"seed": 1}, {"noise": 0.01}, {"init": "random"}])
def test_results_of_other_settings_are_refused(material, tmp_path, asked, capsys, other):
    done(material, tmp_path, "b", **other)
    arguments = [f"--streams={material}/list.csv", f"--results={tmp_path}"]
    [name] = other
    message = refusal(Example(), tmp_path, capsys, *arguments)
    assert f"another {name}" in message
    assert "--results" in message
    assert asked == []


def test_methods_are_checked_before_streams(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "check", lambda _: pytest.fail("a stream was read"))
    with pytest.raises(UserError, match="'nowhere'"):
        command.make_results(["any"], NAMES, {"init": "nowhere"}, tmp_path)


def test_settings_are_those_of_the_commands_flags():
    class Settings:
        __name__ = "settings"

        @staticmethod
        def define_flags():
            flags.DEFINE_string("init", "pretrained", "")
            flags.DEFINE_integer("oracle_steps", 7, "")

        @staticmethod
        def main():
            assert command.settings() == {"init": "random", "oracle_steps": 7}

    assert run_command(Settings(), "--init=random") == 0


class Shown:
    """A command with a table and a plot."""

    __name__ = "shown"

    def __init__(self, draw):
        self._draw = draw

    @staticmethod
    def define_flags():
        command.define_flags()
        command.define_plot_flag("x")

    def main(self):
        command.check_plot()
        command.show("a table", self._draw, "x")


def picture():
    from matplotlib.figure import Figure

    return Figure((1, 1))


def test_tables_and_plots_are_kept_beside_results(tmp_path, capsys):
    assert run_command(Shown(picture), f"--results={tmp_path}") == 0
    assert (tmp_path / "x.md").read_text() == "a table\n"
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.startswith("a table\n")


def test_print_writes_only_the_plot(tmp_path, capsys):
    never = Shown(lambda: pytest.fail("a plot was drawn"))
    assert run_command(never, "--print=x", f"--results={tmp_path}") == 0
    assert capsys.readouterr().out == "a table\n"
    assert list(tmp_path.iterdir()) == []
    assert run_command(Shown(picture), "--print=x", f"--plot={tmp_path}/p.png") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_plots_other_than_png_are_refused(tmp_path, capsys):
    never = Shown(lambda: pytest.fail("a plot was drawn"))
    message = refusal(never, tmp_path, capsys, f"--results={tmp_path}", "--plot=curve.pdf")
    assert "--plot=curve.pdf" in message
