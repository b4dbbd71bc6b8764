"""experiments.benchmark: a small run of our own student, its tables, and what it refuses."""

import json
import types

import numpy as np
import pytest

from experiments import benchmark
from experiments.speed import benchmark_report, peers, worker
from experiments.speed.peers import BFLOAT16, FLOAT32, Steps, Variant
from experiments.speed.worker import INFER, UPDATE, Built
from jitnet_tf.base.errors import UserError
from tests.commands import run_command

SMALL = ["--frame_size=64x96", "--width=0.25", "--rounds=2", "--peers=ours", "--loop_frames=4"]


def row(what, peer, median, **changes):
    return {
        "what": what,
        "peer": peer,
        "precision": FLOAT32,
        "variant": "default",
        "median_ms": median,
        "min_ms": median - 1,
        "max_ms": median + 1,
        "all_ms": [median],
        "agreement": 1.0,
        "loss_difference": 2e-6,
        "memory_mib": 512.4,
        "differs": False,
        **changes,
    }


def run(computing, wall):
    return {
        "frames": 8,
        "updates": 3,
        "teacher_frames": 1,
        "wall_seconds": wall,
        "seconds": {"infer": 0.5, "update": 0.25},
        "fps": 8 / wall,
        "computing": computing,
    }


def example(**changes):
    """A table by hand."""
    limits = {
        "operations_per_second": 500e9,
        "arithmetic_ms": 30.0,
        "bytes": 400e6,
        "memory_ms": 20.0,
    }
    return {
        "format": benchmark_report.FORMAT,
        "frame_size": [720, 1280],
        "num_classes": 9,
        "width": 0.5,
        "normalization": "frame",
        "init": "pretrained",
        "rounds": 20,
        "machine": {"cpu": "Abacus", "cores": 2, "gpus": []},
        "versions": {"tensorflow": "2.15.1"},
        "rows": [
            row(INFER, "ours", 45.0),
            row(INFER, "openvino", 90.0),
            row(UPDATE, "ours", 150.0),
            row(UPDATE, "pytorch eager", 200.0, differs=True, loss_difference=0.5),
        ],
        "variants": [],
        "skipped": [{"peer": "tflite", "precision": FLOAT32, "variant": "all", "why": "gone"}],
        "loop": {
            "frames": 8,
            "precision": FLOAT32,
            "slower": 0.125,
            "runs": {"no output": [run(0.925, 0.8)], "overlay and masks": [run(0.8, 0.9)]},
        },
        "roofline": {
            "copy_bytes_per_second": 20e9,
            "operations": 15e9,
            "update": 3,
            FLOAT32: limits,
            BFLOAT16: limits,
        },
        **changes,
    }


def cells(text, *start):
    """The cells of the Markdown lines that begin with these."""
    found = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return [row for row in found if tuple(row[: len(start)]) == start]


def test_the_report_of_a_table():
    text = benchmark_report.render(example())
    [ours] = cells(text, "infer", "ours")
    assert ours[3:7] == ["45.0 (44.0–46.0)", "1.00", "100.000 %", "512"]
    [openvino] = cells(text, "infer", "openvino")
    assert openvino[4] == "2.00"
    [pytorch] = cells(text, "update", "pytorch eager **differs**")
    assert pytorch[3:6] == ["200 (199–201)", "1.33", "5e-01"]
    assert "- tflite, float32, all: gone" in text
    assert "wall clock +12.5 %" in text
    assert cells(text, "in infer, update, teacher") == [
        ["in infer, update, teacher", "92.5 %", "80.0 %"]
    ]
    # 45 ms of at least 30; 150 of at least 90. bfloat16 was not measured.
    assert "15.0 GFLOP at 500 GFLOP/s are 30.0 ms; 400 MB at 20.0 GB/s are 20.0 ms" in text
    assert "ours takes 1.5 times as long" in text
    assert "ours takes 1.7 times as long" in text
    assert text.count("times as long") == 2


def test_a_report_without_a_loop():
    assert "wall clock" not in benchmark_report.render(example(loop=None))


def test_the_fastest_variant_that_computes_the_same_is_the_row():
    variants = [
        row(INFER, "openvino (from pytorch)", 50.0, variant="logits first", differs=True),
        row(INFER, "openvino (from pytorch)", 80.0, variant="reference graph"),
        row(INFER, "openvino (from tensorflow)", 90.0),
        row(UPDATE, "ours", 10.0),
        row(INFER, "ours", 9.0),
        row(INFER, "ours", 8.0, precision=BFLOAT16),
    ]
    best = benchmark.best_rows(variants)
    assert [(r["what"], r["peer"], r["precision"], r["median_ms"]) for r in best] == [
        (INFER, "openvino", FLOAT32, 80.0),
        (INFER, "ours", FLOAT32, 9.0),
        (INFER, "ours", BFLOAT16, 8.0),
        (UPDATE, "ours", FLOAT32, 10.0),
    ]
    assert best[0]["variant"] == "from pytorch, reference graph"


def test_rows_tell_who_computes_something_else():
    classes = np.zeros((10, 100), np.uint8)
    other = classes.copy()
    other[0, :2] = 1  # 2 of 1,000 pixels
    reference = Built("ours", "default", classes, 2.0)
    built = [
        Built("a", "same", classes, 2.0),
        Built("a", "ids", other),
        Built("a", "loss", classes, 2.1),
    ]
    process = types.SimpleNamespace(built=built, precision=FLOAT32)
    times = {(i, step): [3.0, 1.0, 2.0] for i in range(3) for step in process.built[i].steps}
    rows = benchmark.rows_of(process, times, 100.0, reference)
    assert [(r["variant"], r["what"], r["differs"]) for r in rows] == [
        ("same", INFER, False),
        ("same", UPDATE, False),
        ("ids", INFER, True),
        ("loss", INFER, False),
        ("loss", UPDATE, True),
    ]
    assert (rows[0]["median_ms"], rows[0]["min_ms"], rows[0]["max_ms"]) == (2.0, 1.0, 3.0)
    assert rows[2]["agreement"] == pytest.approx(0.998)
    process.precision = BFLOAT16  # for which it is stated only
    rows = benchmark.rows_of(process, times, 100.0, reference)
    assert not any(r["differs"] for r in rows)


def test_first_runs_that_fail_are_told():
    material = worker.Material(*(np.zeros(0),) * 3)

    def fails():
        raise RuntimeError("no\nkernel")

    assert worker._first_runs(Variant("p", "v", fails), material) == (
        None,
        Built("p", "v", failure="RuntimeError: no kernel"),
    )
    calls = []
    steps = Steps(lambda frame: calls.append("infer") or [[1]])
    _, built = worker._first_runs(Variant("p", "v", lambda: steps), material)
    assert (built.steps, built.classes.tolist()) == ((INFER,), [[1]])
    assert len(calls) == worker.FIRST_RUNS


class Told:
    """A Worker that is told what to answer."""

    precision = FLOAT32

    def __init__(self, name, calls, fails=()):
        self.built = [Built(name, "v", None, 1.0), Built(name, "w"), Built(name, "x", failure="!")]
        self.calls, self.fails = calls, fails

    def run(self, variant, step):
        call = (self.built[variant].peer, self.built[variant].name, step)
        self.calls.append(call)
        if self.calls.count(call) == 2 and step in self.fails:
            raise worker.WorkerError("out of memory")
        return float(len(self.calls))


def test_workers_take_turns_and_what_fails_is_dropped():
    calls, skipped = [], []
    workers = [Told("a", calls), Told("b", calls, fails=(UPDATE,))]
    times = benchmark.take_turns(workers, 3, skipped)
    a = [("a", "v", INFER), ("a", "v", UPDATE), ("a", "w", INFER)]
    b = [("b", "v", INFER), ("b", "v", UPDATE), ("b", "w", INFER)]
    assert calls == [*a, *b, *a, *b, *a, b[0], b[2]]
    assert times[0, 0, UPDATE] == [2.0, 8.0, 14.0]
    assert (1, 0, UPDATE) not in times
    assert len(times) == 5
    assert skipped == [
        {"peer": "b", "precision": FLOAT32, "variant": "v, update", "why": "out of memory"}
    ]


def test_a_worker_beside_ours(tmp_path, monkeypatch):
    """PyTorch where it is installed; where not, it is named."""
    for name in ("ours", "pytorch eager"):
        monkeypatch.setitem(peers.PEERS, name, (peers.PEERS[name][0], (FLOAT32,)))
    arguments = ["--frame_size=64x96", "--rounds=1", "--peers=pytorch_eager", "--loop_frames=0"]
    assert run_command(benchmark, *arguments, f"--json={tmp_path}/a.json") == 0
    table = json.loads((tmp_path / "a.json").read_text("utf-8"))
    found = {(r["what"], r["peer"]): r for r in table["rows"]}
    assert {(INFER, "ours"), (UPDATE, "ours")} <= found.keys()
    assert table["init"] == "pretrained"
    assert table["loop"] is None
    if absent := peers.missing("pytorch eager"):
        assert absent == ["torch"]
        [skipped] = table["skipped"]
        assert skipped["peer"] == "pytorch eager"
        assert "torch not installed: experiments/requirements_peers.txt" in skipped["why"]
        return
    assert table["skipped"] == []
    assert len(table["variants"]) == 2 + 2 * 4
    assert "torch" in table["versions"]
    for each in table["variants"]:
        assert each["agreement"] > 0.999
        assert not each["differs"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A file that the command wrote."""
    output = tmp_path_factory.mktemp("benchmark") / "new" / "benchmark.json"
    assert run_command(benchmark, *SMALL, f"--json={output}") == 0
    return output


def test_what_is_measured(measured):
    table = json.loads(measured.read_text("utf-8"))
    assert [(r["what"], r["peer"], r["precision"]) for r in table["rows"]] == [
        (INFER, "ours", FLOAT32),
        (INFER, "ours", BFLOAT16),
        (UPDATE, "ours", FLOAT32),
        (UPDATE, "ours", BFLOAT16),
    ]
    for each in table["rows"]:
        assert 0 < each["min_ms"] <= each["median_ms"] <= each["max_ms"]
        assert len(each["all_ms"]) == table["rounds"] == 2
        assert each["memory_mib"] > 100
    assert table["rows"][0]["agreement"] == 1
    assert table["rows"][2]["loss_difference"] == 0
    assert table["skipped"] == []
    runs = table["loop"]["runs"]
    assert [len(runs[kind]) for kind in ("no output", "overlay and masks")] == [2, 2]
    for each in (*runs["no output"], *runs["overlay and masks"]):
        assert each["frames"] == 4
        assert 0 < each["computing"] < 1.01
    assert "output" in runs["overlay and masks"][0]["seconds"]
    assert table["roofline"]["operations"] > 1e6


def test_printing_takes_the_file_alone(measured, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "measure", None)
    assert run_command(benchmark, f"--print={measured}") == 0
    assert len(cells(capsys.readouterr().out, "update", "ours")) == 2


def test_missing_packages_are_named_and_the_rest_is_measured(monkeypatch):
    monkeypatch.setattr(peers, "missing", lambda name: [] if name == "ours" else ["abacus"])
    monkeypatch.setattr(benchmark, "sample_material", lambda network: None)
    started = []

    def start(name, network, precision, material, stack, skipped):
        started.append((name, precision))

    monkeypatch.setattr(benchmark, "start_worker", start)
    with pytest.raises(UserError, match="our student does not run: abacus not installed: exp"):
        benchmark.compare(["ours", "tflite"], None, 1)
    assert started == [("ours", FLOAT32), ("ours", BFLOAT16)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --json=FILE, to measure, or --print=FILE"),
        (["--json=a", "--print=b"], "give either --json=FILE, to measure, or --print=FILE"),
        (["--json={tmp}/taken"], "--json={tmp}/taken exists: give another name"),
        (["--json={tmp}/taken/x"], "--json={tmp}/taken/x cannot be written"),
        (["--print={tmp}/absent"], "--print={tmp}/absent cannot be read"),
        (["--print={tmp}/taken"], "is not what experiments.benchmark --json writes"),
        (["--json={tmp}/x", "--peers=abacus"], "--peers: there is no 'abacus'; choose of ours, py"),
        (["--json={tmp}/x", "--frame_size=big"], "big"),
        (["--json={tmp}/x", "--width=0.1"], "--width has to be at least 0.25"),
    ],
)
def test_what_is_refused(arguments, message, tmp_path, capsys):
    (tmp_path / "taken").write_text('{"format": "else"}')
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    assert run_command(benchmark, *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message.format(tmp=tmp_path) in lines[-1]
    assert not (tmp_path / "x").exists()
