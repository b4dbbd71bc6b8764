"""The frontier command: its tables and plot from results by hand, seeds, and a small run."""

import pytest

from experiments import frontier, methods
from experiments.methods import named
from experiments.protocol import jobs, seeds, streams
from experiments.reports import curves
from experiments.reports import frontier as tables
from experiments.reports.curves import BASE, Frontier
from experiments.reports.results import Results
from tests.builders import made_result, markdown_table, write_result, write_stream_list
from tests.commands import refusal, run_command
from tests.materials import write_square_stream

BUDGETS = (0.02, 0.05)
KNOWN = curves.curves(BUDGETS)
PRESET = KNOWN["presets"].points["5 %"]
STREAMS = {"a": "traffic", "b": "animals"}


def result(stream, method, iou, seed=0, **changes):
    settings = (
        seeds.settings(seed, "pretrained") if "seed" in methods.named(method).settings else {}
    )
    summary = {"mean_iou_student_only": iou, "teacher_fraction": 0.05, **changes.pop("summary", {})}
    return made_result(
        stream,
        method,
        iou + 0.1,
        category=STREAMS[stream],
        settings=settings,
        summary=summary,
        **changes,
    )


def both(method, one, two, seed=0, **changes):
    return [result("a", method, one, seed, **changes), result("b", method, two, seed, **changes)]


def everything(**changes):
    first = [
        *both(BASE, 0.5, 0.6, **changes),
        *both("flow_20", 0.6, 0.8, **changes),
        *both(PRESET, 0.7, 0.75, **changes),
    ]
    second = [*both(BASE, 0.5, 0.7, 1, **changes), *both(PRESET, 0.7, 0.85, 1, **changes)]
    return [first, second]


def found(**changes):
    return Frontier(KNOWN, [Results(results) for results in everything(**changes)])


# Tables and plot


def test_accuracy_by_budget():
    text = tables.report(found(), BUDGETS)
    of_students = markdown_table(text, "did not see, by teacher frames")
    assert of_students.head == ["", "2 %", "5 %"]
    assert of_students.rows == [
        ["Algorithm 1", "57.5 (55.0–60.0)*", "57.5 (55.0–60.0)"],
        ["flow", "–", "70.0"],
        ["presets", "–", "75.0 (72.5–77.5)"],
    ]
    of_all = markdown_table(text, "all frames, by teacher frames")
    assert of_all.cells["presets"]["5 %"] == "85.0 (82.5–87.5)"


def test_accuracy_by_category_and_stream():
    table = markdown_table(tables.report(found(), BUDGETS), "at 5 % teacher frames")
    assert table.head == ["", "Algorithm 1", "flow", "presets", "presets − flow"]
    assert {row[0]: row[2:] for row in table.rows} == {
        "overall": ["70.0", "75.0 (72.5–77.5)", "+5.0"],
        "animals": ["80.0", "80.0 (75.0–85.0)", "+0.0"],
        "traffic": ["60.0", "70.0 (70.0–70.0)", "+10.0"],
        "a (person)": ["60.0", "70.0 (70.0–70.0)", "+10.0"],
        "b (person)": ["80.0", "80.0 (75.0–85.0)", "+0.0"],
    }
    of_none = markdown_table(tables.report(found(), BUDGETS), "at 2 % teacher frames")
    assert of_none.cells["overall"]["presets − flow"] == "–"


def test_costs():
    made = everything()
    for r in made[0][-2:]:  # the preset's of the first seed take half the time
        r["summary"]["seconds"] = {"infer": 0.3}
    table = markdown_table(
        tables.report(Frontier(KNOWN, map(Results, made)), BUDGETS), "cost of each method"
    )
    assert table.cells["Algorithm 1: 0.8"] == {
        "student frames": "57.5 (55.0–60.0)",
        "all frames": "67.5 (65.0–70.0)",
        "teacher frames, %": "5.0 (5.0–5.0)",
        "updates": "0.30 (0.30–0.30)",
        "ms a frame": "260.0 (260.0–260.0)",
        "ms against 0.8": "1.00 (1.00–1.00)",
        "seeds": "2",
    }
    ours = table.cells["presets: 5 %"]
    assert (ours["ms a frame"], ours["ms against 0.8"]) == (
        "195.0 (130.0–260.0)",
        "0.75 (0.50–1.00)",
    )
    flow = table.cells["flow: 5 %"]
    assert (flow["ms a frame"], flow["updates"], flow["seeds"]) == ("180.0", "0.00", "1")
    assert table.cells["presets: saving"]["student frames"] == "–"


def test_speedup_over_a_timed_teacher():
    assert "speedup" not in tables.report(found(), BUDGETS)
    text = tables.report(found(summary={"teacher_time": "measured"}), BUDGETS)
    table = markdown_table(text, "cost of each method")
    assert table.cells["flow: 5 %"]["speedup over the teacher on every frame"] == "2.5×"


def test_flicker():
    made = everything()
    made[1][-2]["flicker"] = {"prediction": 0.5, "teacher": 0.25}
    presets = {name: curve for name, curve in KNOWN.items() if name == "presets"}
    renamed = curves.Curve("presets", {"balanced": PRESET})
    found = Frontier({**KNOWN, **presets, "presets": renamed}, map(Results, made))
    table = markdown_table(tables.report(found, ()), "Flicker")
    assert table.head == ["", "teacher", "JITNet 0.8", "balanced"]
    assert table.rows[0] == ["a (person)", "25.0", "12.5 (12.5–12.5)", "31.2 (12.5–50.0)"]


def test_plot():
    figure = tables.draw(found())
    figure.canvas.draw()
    by_teacher, by_time = figure.axes
    for axis, expected in ((by_teacher, [5, 5, 5]), (by_time, [260, 180, 260])):
        lines = [container[0] for container in axis.containers]
        assert [line.get_xdata()[0] for line in lines] == pytest.approx(expected)
        assert [line.get_ydata()[0] for line in lines] == pytest.approx([57.5, 70, 75])
        [bar] = axis.containers[2][2][0].get_segments()
        assert list(bar[:, 1]) == pytest.approx([72.5, 77.5])
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Algorithm 1", "flow", "presets"]


def test_presets_are_labeled():
    method = KNOWN["presets"].points["saving"]
    figure = tables.draw(Frontier(KNOWN, [Results(both(method, 0.5, 0.6))]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["saving"]


# The command


def write(results):
    for seed, made in enumerate(everything()):
        for r in made:
            write_result(seeds.folder(results, seed), r)


def test_print(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "run", lambda *_: pytest.fail("it ran something"))
    write(tmp_path)
    arguments = [f"--print={tmp_path}", "--budgets=5,2,5"]
    assert run_command(frontier, *arguments, f"--plot={tmp_path}/p.png") == 0
    expected = tables.report(Frontier.load(tmp_path, KNOWN), BUDGETS)
    assert capsys.readouterr().out.startswith(expected + "\n")
    assert (tmp_path / "p.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--streams is missing"),
        (["--print=nowhere"], "no results"),
        (["--budgets=2,many"], "'many'"),
        (["--budgets=0"], "'0'"),
        (["--budgets=100"], "'100'"),
        (["--budgets=nan"], "'nan'"),
        (["--budgets="], "--budgets"),
        (["--seeds=0"], "seeds"),
        (["--seed=3"], "seed"),
        (["--plot=p.jpg"], ".png"),
    ],
)
def test_invalid_flags_are_refused(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert named in refusal(frontier, tmp_path, capsys, *arguments)


@pytest.fixture
def listed(tmp_path):
    write_stream_list(tmp_path, [write_square_stream(tmp_path, name, 9) for name in STREAMS])
    return [f"--streams={tmp_path}/list.csv", f"--results={tmp_path}/results"]


@pytest.fixture
def asked(monkeypatch):
    """Records the requests, (stream, method, seed, noise), in place of evaluations."""
    found = []

    def run(pairs, settings, place, *_):
        for stream, _, method in pairs:
            seed = settings["seed"]
            found.append((stream.name, method, seed, settings["noise"]))
            made = result(stream.name, method, 0.5, seed)
            write_result(place, {**made, "recorded": streams.recorded(stream)})
        return True

    monkeypatch.setattr(jobs, "run", run)
    return found


def test_seeds_are_of_what_depends_on_chance(listed, asked, tmp_path):
    only = f'--only=a,flow,frozen,"{BASE}"'
    assert run_command(frontier, *listed, only, "--budgets=5", "--seeds=2") == 0
    frozen = KNOWN["frozen"].points["5 %"]
    assert set(asked) == {
        *(("a", method, 0, 0.0) for method in (BASE, "flow_20", frozen)),
        *(("a", method, 1, seeds.NOISE) for method in (BASE, frozen)),
    }
    assert len(asked) == 5
    text = (tmp_path / "results" / "frontier.md").read_text()
    assert markdown_table(text, "did not see, by teacher frames").cells["flow"] == {"5 %": "50.0"}
    assert (tmp_path / "results" / "frontier.png").exists()
    asked.clear()
    assert run_command(frontier, *listed, only, "--budgets=5", "--seeds=3") == 0
    assert {seed for _, _, seed, _ in asked} == {2}


def test_only_refuses_unknown_names(listed, tmp_path, capsys):
    message = refusal(frontier, tmp_path, capsys, *listed, "--only=c")
    assert "'c' is neither a method" in message


@pytest.mark.slow
def test_two_streams(listed, tmp_path, capsys):
    """Runs flow and a student with a budget in worker processes."""
    only = f'--only=flow,"{PRESET}"'
    assert run_command(frontier, *listed, only, "--budgets=5", "--seeds=1", "--init=random") == 0
    found = Results.load(seeds.folder(tmp_path / "results", 0))
    assert len(found.cells) == 4
    for stream in STREAMS:
        flow, ours = (found.cells[stream, method]["summary"] for method in ("flow_20", PRESET))
        assert flow["teacher_frames"] == ours["teacher_frames"] == 1
        most = named(PRESET).changes["max_updates"]
        assert (flow["updates"], ours["updates"]) == (0, most)
        assert ours["seconds"]["fuse"] > 0
    assert "presets − flow" in capsys.readouterr().out
