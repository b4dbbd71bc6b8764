"""The ablations command: studies, seeds, table and plot from results by hand."""

import dataclasses
import types

import pytest

from experiments import ablations, methods
from experiments.ablations import SEEDS, STUDIES, Study
from experiments.protocol import jobs, streams
from jitnet_tf.base.errors import UserError
from jitnet_tf.config import RunConfig
from jitnet_tf.distillation import build
from jitnet_tf.labels import LabelMaker, class_groups
from tests.builders import made_result, markdown_table, write_result, write_stream_list
from tests.commands import refusal, run_command
from tests.materials import write_square_stream

FIELDS = {"skip": {"skip"}, "adam": {"optimizer", "learning_rate"}, "init": {"init"}}
SMALL = Study("A study", {"1": "max_updates=1", "8": "defaults", "16": "max_updates=16"}, "8")


# Studies


@pytest.fixture
def configured(monkeypatch):
    """Returns the RunConfig of a method's student."""
    found = []
    monkeypatch.setattr(build, "make_distiller", lambda config, *_: found.append(config))

    def configured(name):
        method = methods.named(name)
        context = types.SimpleNamespace(
            settings=method.take({}),
            teacher=None,
            frame_size=None,
            label_maker=LabelMaker(class_groups("lvs")),
        )
        method.make(context)
        return found.pop()

    return configured


def flat(config):
    """Returns a configuration's fields with those of its student."""
    return config.flat()


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "parts"])
def test_a_study_varies_only_the_setting_in_its_name(configured, name):
    study = STUDIES[name]
    assert len(study.variants) >= 2
    default = flat(RunConfig(shown="teacher"))  # as in every table
    fields = FIELDS.get(name, {name})
    found = []
    for label, method in study.variants.items():
        values = flat(configured(method))
        changed = {field for field in values if values[field] != default[field]}
        assert changed <= fields
        assert (label == study.default) == (not changed)
        found.append({field: values[field] for field in sorted(fields)})
        if name not in FIELDS:
            assert label == str(values[name])
    assert all(found.count(values) == 1 for values in found)


def test_parts_are_left_out_one_at_a_time(configured):
    whole = flat(configured(STUDIES["parts"].variants["whole"]))
    assert whole["teacher_budget"] == 0.05
    changed = [
        {(name, value) for name, value in flat(configured(method)).items() if value != whole[name]}
        for method in STUDIES["parts"].variants.values()
    ]
    assert changed[0] == set()
    assert all(changed[1:])
    assert len(set(map(frozenset, changed))) == len(changed)


def test_networks_that_the_weights_do_not_fit_start_at_random():
    """All others start from --init."""
    random = {name for name, study in STUDIES.items() if study.init}
    assert random == {"skip", "width", "normalization", "input_normalization"}
    assert {STUDIES[name].init for name in random} == {"random"}


def test_settings_of_a_seed():
    weights, of_random = STUDIES["momentum"], STUDIES["width"]
    assert ablations.settings(weights, 0, "x") == {"init": "x", "seed": 0, "noise": 0.0}
    assert ablations.settings(weights, 2, "x") == {"init": "x", "seed": 2, "noise": 0.01}
    # From random weights the seed makes the difference.
    random = {"init": "random", "seed": 2, "noise": 0.0}
    assert ablations.settings(weights, 2, "random") == random
    assert ablations.settings(of_random, 2, "x") == random


def test_studies_share_results_of_the_same_start():
    place = {name: ablations.folder("r", study, 1) for name, study in STUDIES.items()}
    assert len(set(place.values())) == 2
    assert place["momentum"] == place["init"] != place["width"] == place["skip"]
    assert ablations.folder("r", STUDIES["width"], 0) != place["width"]


# Results by hand


def result(stream, method, iou, *, seed=0, teacher=0.1, updates=40):
    return made_result(
        stream,
        method,
        iou,
        frames=90,
        settings=ablations.settings(SMALL, seed, "pretrained"),
        summary={"teacher_fraction": teacher, "updates": updates},
    )


def write(results, made):
    write_result(ablations.folder(results, SMALL, made["settings"]["seed"]), made)


def table_of(*made):
    """Builds a table as `ablations.found` returns it."""
    labels = {method: label for label, method in SMALL.variants.items()}
    table = {label: {} for label in SMALL.variants}
    for r in made:
        table[labels[r["method"]]].setdefault(r["stream"]["name"], []).append(r)
    return table


def complete():
    """Two streams; the default is .6 and .7 (by three seeds), the others further from it."""
    return table_of(
        result("a", "max_updates=1", 0.5, teacher=0.2, updates=10),
        result("b", "max_updates=1", 0.7, teacher=0.3, updates=30),
        result("a", "defaults", 0.6),
        result("b", "defaults", 0.64, seed=0),
        result("b", "defaults", 0.7, seed=1, teacher=0.16, updates=70),
        result("b", "defaults", 0.76, seed=2, teacher=0.16, updates=70),
        result("a", "max_updates=16", 0.62),
        result("b", "max_updates=16", 0.75),
    )


def rows(text):
    """Label → column → cell."""
    return markdown_table(text).cells


def test_report():
    text = ablations.report(SMALL, complete())
    assert text.startswith("**A study**\n\n|")
    assert rows(text) == {
        "1": {
            "mean IoU": "60.0",
            "against default": "-5.0",
            "a": "50.0",
            "b": "70.0",
            "teacher frames, %": "25.0",
            "updates": "20",
            "ms a frame": "260.0",  # 1.6 s and 2 teacher frames at .5 s, of 10 frames
            "seeds": "1",
        },
        "8 (default)": {
            "mean IoU": "65.0",
            "against default": "–",
            "a": "60.0",
            "b": "70.0 (64.0–76.0)",
            "teacher frames, %": "12.0",  # 10, and the mean of 10, 16 and 16
            "updates": "50",  # 40, and the mean of 40, 70 and 70
            "ms a frame": "260.0",
            "seeds": "3",
        },
        "16": {
            "mean IoU": "68.5",
            "against default": "+3.5",
            "a": "62.0",
            "b": "75.0",
            "teacher frames, %": "10.0",
            "updates": "40",
            "ms a frame": "260.0",
            "seeds": "1",
        },
    }
    assert text.endswith("Initial weights: pretrained. Frames: a: 90 of 48×64; b: 90 of 48×64.")


def test_a_study_of_student_frames():
    """Their mean IoU is .1 below that of all, by hand."""
    by_students = dataclasses.replace(SMALL, key="mean_iou_student_only")
    text = ablations.report(by_students, complete())
    assert [row["mean IoU"] for row in rows(text).values()] == ["50.0", "55.0", "58.5"]
    assert rows(text)["16"]["b"] == "65.0"
    assert "did not see" in text
    assert "did not see" not in ablations.report(SMALL, complete())


def test_incomplete_methods_are_dashes():
    table = complete()
    del table["16"]["a"]
    found = rows(ablations.report(SMALL, table))
    assert set(found["16"].values()) == {"–"}
    assert found["1"]["against default"] == "-5.0"


def test_no_difference_from_a_default_that_is_incomplete():
    """The means would be over different streams."""
    table = complete()
    del table["8"]["a"]
    found = rows(ablations.report(SMALL, table))
    assert set(found["8 (default)"].values()) == {"–"}
    assert found["1"]["mean IoU"] == "60.0"
    assert found["1"]["against default"] == "–"
    assert ablations.close(SMALL, table, 100) == []


def test_no_results():
    with pytest.raises(UserError, match="no results of this study"):
        ablations.report(SMALL, table_of())


@pytest.mark.parametrize(
    ("points", "methods_found"),
    [
        (0, []),
        (3.4, []),  # the default alone is no comparison
        (3.6, ["defaults", "max_updates=16"]),
        (5.1, ["max_updates=1", "defaults", "max_updates=16"]),
    ],
)
def test_close_methods(points, methods_found):
    """The means are 60, 65 and 68.5."""
    assert ablations.close(SMALL, complete(), points) == methods_found


def test_plot():
    table = complete()
    del table["16"]["a"]
    figure = ablations.draw(SMALL, table)
    figure.canvas.draw()
    above, below = figure.axes
    assert above.get_title() == "A study (shaded: the default)"
    assert [text.get_text() for text in below.get_xticklabels()] == ["1", "8", "16"]
    for axis, a, b, mean in (
        (above, [50, 60], [70, 70, 75], [60, 65]),
        (below, [20, 10], [30, 14, 10], [25, 12]),
    ):
        lines = {line.get_label(): line for line in axis.lines}
        for name, values in (("a", a), ("b", b)):
            assert list(lines[name].get_ydata()) == pytest.approx(values)
        assert list(lines["mean of streams"].get_ydata())[:2] == pytest.approx(mean)
        assert list(lines["a"].get_xdata()) == [0, 1]
        # No mean over a part of the streams.
        assert str(lines["mean of streams"].get_ydata()[2]) == "nan"
    spread = above.collections[1].get_paths()[0].get_extents()  # of b, over seeds
    assert (spread.y0, spread.y1) == pytest.approx((64, 76))
    default = [line for line in above.lines if line.get_color() == "0.85"]
    assert [list(line.get_xdata()) for line in default] == [[1, 1]]


def test_found_results(tmp_path):
    for label in complete().values():
        for made in label.values():
            for r in made:
                write(tmp_path, r)
    write(tmp_path, result("a", "momentum=0.5", 0.1))  # of another study
    assert ablations.found(SMALL, tmp_path) == complete()
    assert ablations.found(SMALL, tmp_path, {"b"}) == {
        label: {"b": by_stream["b"]} for label, by_stream in complete().items()
    }


# The command


@pytest.fixture
def small(monkeypatch):
    """Replaces the studies by a small one."""
    monkeypatch.setattr(ablations, "STUDIES", {"small": SMALL})


def test_print(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran something"))
    made = result("a", "defaults", 0.5)
    write(tmp_path / "there", made)
    arguments = ["--study=small", f"--print={tmp_path}/there"]
    assert run_command(ablations, *arguments) == 0
    assert capsys.readouterr().out == ablations.report(SMALL, table_of(made)) + "\n"
    assert run_command(ablations, *arguments, f"--plot={tmp_path}/p.png") == 0
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert not list(tmp_path.rglob("*.md"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "study"),
        (["--study=magic"], "value should be one of <max_updates|min_stride|"),
        (["--study=width"], "--streams is missing"),
        (["--study=width", "--print=nowhere"], "no results of this study"),
        (["--study=width", "--print=nowhere", "--plot=p.jpg"], ".png"),
        (["--study=width", "--seed=3"], "seed"),
    ],
)
def test_invalid_flags_are_refused(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert named in refusal(ablations, tmp_path, capsys, *arguments)


@pytest.fixture
def listed(tmp_path):
    """Arguments of a study of two streams."""
    found = [write_square_stream(tmp_path, name, 4) for name in ("a", "b")]
    write_stream_list(tmp_path, found)
    return ["--study=small", f"--streams={tmp_path}/list.csv", f"--results={tmp_path}/results"]


@pytest.fixture
def answers(monkeypatch):
    """(method, seed) → mean IoU, in place of evaluations; records the requests."""
    values, asked = {}, []

    def run(pairs, settings, place, *_):
        for stream, _, method in pairs:
            asked.append((stream.name, method, settings["seed"], settings["noise"]))
            value = values[method, settings["seed"]]
            made = result(stream.name, method, value, seed=settings["seed"])
            made["recorded"] = streams.recorded(stream)
            write(place.parents[1], made)
        return True

    monkeypatch.setattr(jobs, "run", run)
    return values, asked


def asked_for(methods_asked, seed, noise):
    return {(name, method, seed, noise) for name in "ab" for method in methods_asked}


def test_one_seed_if_differences_are_large(small, listed, answers, tmp_path, capsys):
    values, asked = answers
    values.update({("max_updates=1", 0): 0.5, ("defaults", 0): 0.6, ("max_updates=16", 0): 0.63})
    assert run_command(ablations, *listed) == 0
    assert len(asked) == 6
    assert set(asked) == asked_for(SMALL.variants.values(), 0, 0.0)
    text = (tmp_path / "results" / "small.md").read_text()
    assert rows(text)["16"]["against default"] == "+3.0"
    assert capsys.readouterr().out.startswith(text)
    assert (tmp_path / "results" / "small.png").exists()


def test_three_seeds_if_differences_are_small(small, listed, answers, tmp_path):
    """The default's other seeds bring a further method close, which is measured again then."""
    values, asked = answers
    values.update(
        {
            **{("max_updates=1", 0): 0.57, ("max_updates=1", 1): 0.5, ("max_updates=1", 2): 0.51},
            **{("defaults", 0): 0.6, ("defaults", 1): 0.58, ("defaults", 2): 0.56},  # mean .58
            **{("max_updates=16", 0): 0.61, ("max_updates=16", 1): 0.7, ("max_updates=16", 2): 0.7},
        }
    )
    assert run_command(ablations, *listed) == 0
    near, rest = ("defaults", "max_updates=16"), ("max_updates=1",)
    assert set(asked[:6]) == asked_for(SMALL.variants.values(), 0, 0.0)
    assert set(asked[6:14]) == asked_for(near, 1, 0.01) | asked_for(near, 2, 0.01)
    assert set(asked[14:]) == asked_for(rest, 1, 0.01) | asked_for(rest, 2, 0.01)
    assert len(asked) == 18
    found = rows((tmp_path / "results" / "small.md").read_text())
    assert found["8 (default)"]["a"] == "58.0 (56.0–60.0)"
    assert [row["seeds"] for row in found.values()] == ["3", "3", "3"]
    # The same command finds everything there.
    assert run_command(ablations, *listed) == 0
    assert len(asked) == 18


def test_only(small, listed, answers):
    values, asked = answers
    values.update({("max_updates=16", seed): 0.6 for seed in SEEDS})
    assert run_command(ablations, *listed, "--only=max_updates=16,b") == 0
    assert asked == [("b", "max_updates=16", 0, 0.0)]


def test_only_refuses_unknown_names(small, listed, tmp_path, capsys):
    message = refusal(ablations, tmp_path, capsys, *listed, "--only=c")
    assert "--only" in message
    assert "'c' is neither a method (max_updates=1, defaults, max_updates=16)" in message


def test_results_of_another_noise_are_refused(small, listed, answers, tmp_path, capsys):
    made = result("b", "max_updates=16", 0.5)
    made["settings"]["noise"] = 0.5
    made["recorded"] = streams.recorded(streams.read_list(tmp_path / "list.csv")[1])
    write(tmp_path / "results", made)
    message = refusal(ablations, tmp_path, capsys, *listed)
    assert "another noise" in message
    assert answers[1] == []


@pytest.mark.slow
def test_box_dilation_on_a_real_stream(monkeypatch, tmp_path, capsys):
    """Runs two evaluations in worker processes with real students, then none."""
    dilations = {"0.0": "box_dilation=0.0", "0.15": "defaults"}
    study = Study("Dilation", dilations, "0.15", "random")
    monkeypatch.setattr(ablations, "STUDIES", {"box_dilation": study})
    monkeypatch.setattr(ablations, "SEEDS", (0,))
    stream = write_square_stream(tmp_path, "a", 9)
    write_stream_list(tmp_path, [stream])
    place = tmp_path / "results"
    arguments = ["--study=box_dilation", f"--streams={tmp_path}/list.csv", f"--results={place}"]
    assert run_command(ablations, *arguments) == 0
    printed = capsys.readouterr().out
    found = rows((place / "box_dilation.md").read_text())
    assert list(found) == ["0.0", "0.15 (default)"]
    made = ablations.found(study, place)
    assert [r["settings"] for [r] in (by["a"] for by in made.values())] == [
        methods.settings_of("defaults", {"init": "random"})
    ] * 2
    for [r] in (by_stream["a"] for by_stream in made.values()):
        assert r["frames"] == 9
        assert r["summary"]["teacher_frames"] == 2
        assert r["summary"]["updates"] > 0
    # The students differ in what they learned.
    assert len({str(by_stream["a"][0]["timeline"]) for by_stream in made.values()}) == 2
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran again"))
    assert run_command(ablations, *arguments) == 0
    assert capsys.readouterr().out == printed
