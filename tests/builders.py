"""Values that tests build by hand, and readers of what the program prints."""

import dataclasses
import json

from experiments import methods
from experiments.protocol import jobs, streams

# Reports of experiments: results, and the Markdown that is made of them


def made_result(stream="a", method="jitnet_0.8", iou=0.5, **changes):
    """A result as `experiments.protocol.evaluation.evaluate` returns it, of ten frames.

    Two are teacher frames, with three updates in all. The teacher takes .5 s a frame, an inference
    .1 s, an update .2 s; of a flow method, flow and warp take .1 s together.

    changes: "category", "classes" and "max_frames" of the stream, "settings" and "summary" are
    merged into the example's; all others replace a value of the result.
    """
    is_flow = method.startswith("flow")
    student = {"infer": 0.8, "trial": 0.2, "update": 0.6}
    of_stream = {"category": "squares", "classes": ["person"], "max_frames": None}
    summary = {
        "frames": 10,
        "teacher_frames": 2,
        "teacher_fraction": 0.2,
        "updates": 0 if is_flow else 3,
        "mean_iou": iou,
        "mean_iou_student_only": iou - 0.1 if iou else None,
        "speedup": 2.5,
        "teacher_seconds_per_frame": 0.5,
        "teacher_time": "recorded",
        "teacher_mode": "sync",
        "seconds": {"flow": 0.7, "warp": 0.1} if is_flow else student,
    }
    return {
        "stream": {
            "name": stream,
            **{name: changes.pop(name, value) for name, value in of_stream.items()},
        },
        "method": method,
        "settings": {**methods.settings_of(method), **changes.pop("settings", {})},
        "frames": 10,
        "recorded": {"recorded_teacher": "a teacher", "frame_size": [48, 64]},
        "summary": {**summary, **changes.pop("summary", {})},
        "flicker": {"prediction": 0.125, "teacher": 0.25},
        "machine": {"cpu": "a CPU", "cores": 2, "gpus": []},
        "versions": {"tensorflow": "2"},
        "jobs": 1,
        **changes,
    }


def made_peer_row(step, peer, median, **changes):
    """A row of `experiments.speed.comparison` for a step of a peer; median: milliseconds."""
    return {
        "what": step,
        "peer": peer,
        "precision": "float32",
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


@dataclasses.dataclass
class MarkdownTable:
    """A table of a Markdown text: the bold line above it, its head, and rows of cells."""

    title: str
    head: list[str]
    rows: list[list[str]]

    @property
    def cells(self):
        """Row's first cell → column → cell."""
        return {row[0]: dict(zip(self.head[1:], row[1:], strict=True)) for row in self.rows}


def markdown_tables(text):
    """The MarkdownTables of a text, in order. All rows of each are as long as its head."""
    found, title, lines = [], "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            continue
        if lines:
            head, rule, *rows = lines
            assert rule == ["-"] * len(head)
            assert all(len(row) == len(head) for row in rows)
            found.append(MarkdownTable(title, head, rows))
            title, lines = "", []
        if line.startswith("**") and line.endswith("**"):
            title = line.strip("*")
        elif line:
            title = ""
    return found


def markdown_table(text, title=""):
    """The one MarkdownTable of a text whose title contains `title`."""
    [found] = [table for table in markdown_tables(text) if title in table.title]
    return found


def markdown_rows(text, *start):
    """The rows, of all tables of a text, whose first cells are `start`."""
    rows = [row for table in markdown_tables(text) for row in table.rows]
    return [row for row in rows if tuple(row[: len(start)]) == start]


def write_result(results, result):
    """Writes a result to the path of `jobs.run` in the folder `results`; returns the path."""
    path = jobs.folder(results, result["stream"]["name"], result["method"]) / jobs.RESULT
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result))
    return path


# Commands over streams


def flag_arguments(**values):
    """Returns --name=value for each value that is not None."""
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def write_stream_list(folder, found, name="list.csv"):
    """Writes Streams whose files are in a folder as a stream list there; returns its path."""
    path = folder / name
    path.write_text(streams.to_csv(found, folder, folder))
    return path
