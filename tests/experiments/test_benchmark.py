"""The benchmark command: a small measurement, tables, refusals."""

import json

import pytest

from experiments import benchmark
from experiments.speed import benchmark_report, peers
from experiments.speed.peer_process import INFER, UPDATE
from experiments.speed.peers import BFLOAT16, FLOAT32
from tests.builders import made_peer_row as row
from tests.builders import markdown_rows
from tests.commands import refusal, run_command

SMALL = ["--frame_size=64x96", "--width=0.25", "--rounds=2", "--peers=ours", "--loop_frames=4"]


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


def test_the_report_of_a_table():
    text = benchmark_report.render(example())
    [ours] = markdown_rows(text, "infer", "ours")
    assert ours[3:7] == ["45.0 (44.0–46.0)", "1.00", "100.000 %", "512"]
    [openvino] = markdown_rows(text, "infer", "openvino")
    assert openvino[4] == "2.00"
    [pytorch] = markdown_rows(text, "update", "pytorch eager **differs**")
    assert pytorch[3:6] == ["200 (199–201)", "1.33", "5e-01"]
    assert "- tflite, float32, all: gone" in text
    assert "wall clock +12.5 %" in text
    [computing] = markdown_rows(text, "in student and teacher")
    assert computing[1:] == ["92.5 %", "80.0 %"]
    # 45 ms of at least 30; 150 of at least 90. bfloat16 was not measured.
    assert "15.0 GFLOP at 500 GFLOP/s are 30.0 ms; 400 MB at 20.0 GB/s are 20.0 ms" in text
    assert "ours takes 1.5 times as long" in text
    assert "ours takes 1.7 times as long" in text
    assert text.count("times as long") == 2


def test_a_report_without_a_loop():
    assert "wall clock" not in benchmark_report.render(example(loop=None))


@pytest.mark.slow
def test_a_peer_beside_ours(tmp_path, monkeypatch):
    """Uses PyTorch if it is installed; if not, the table names it."""
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


@pytest.mark.slow
def test_measurement_is_written(measured):
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


@pytest.mark.slow
def test_printing_needs_only_the_file(measured, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "measure", None)
    assert run_command(benchmark, f"--print={measured}") == 0
    assert len(markdown_rows(capsys.readouterr().out, "update", "ours")) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--json=FILE"),
        (["--json=a", "--print=b"], "--json=FILE"),
        (["--json=taken"], "--json=taken exists"),
        (["--print=taken"], "experiments.benchmark --json"),
        (["--json=x", "--peers=abacus"], "--peers: 'abacus'"),
        (["--json=x", "--frame_size=big"], "'big'"),
        (["--json=x", "--width=0.1"], "--width"),
    ],
)
def test_invalid_flags_are_refused(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text('{"format": "else"}')
    assert named in refusal(benchmark, tmp_path, capsys, *arguments)
