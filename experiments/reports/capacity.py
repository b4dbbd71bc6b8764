"""The capacity of machines and GPUs in streams: the model, and its table."""

import dataclasses

from experiments.reports import markdown


@dataclasses.dataclass(frozen=True)
class Parts:
    """Costs of a stream, in seconds of one core.

    Attributes:
      frame: of each frame: all parts but updates and the teacher's.
      labels: of each teacher frame: all updates on it.
      teacher: of each teacher frame.
    """

    frame: float
    labels: float
    teacher: float

    def student(self, share):
        """Returns the student's seconds a frame. share: of teacher frames, 0…1."""
        return self.frame + share * self.labels

    def whole(self, share):
        """Returns the seconds a frame of student and teacher on the same cores."""
        return self.student(share) + share * self.teacher


@dataclasses.dataclass(frozen=True)
class Gpu:
    """Costs of the parts on a GPU, in seconds, given by the user; None: not given."""

    frame: float | None = None
    labels: float | None = None
    teacher: float | None = None


def frames_per_second(parts, share, cores):
    """Returns the frames a second that streams of any number have together on some cores."""
    return cores / parts.whole(share)


def plan(parts, gpu, shares, fps, cores, machines=1, gpus=0):
    """Returns a row for each share, as JSON values.

    Args:
      parts: Parts, of one core.
      gpu: Gpu.
      shares: of teacher frames, 0…1.
      fps: frames a second of each stream.
      cores: of a machine.
      machines, gpus: of a cluster, its GPUs for teachers.

    Each row: "share"; "student" and "teacher", the cores that a stream needs; "alone", streams on a
    machine that runs both; "students", streams on a machine whose teachers are elsewhere;
    "per_teacher_cores", streams that a machine of teachers serves; with a GPU's times
    "per_teacher_gpu" and "per_student_gpu", streams that a GPU serves; "cluster", streams on all
    machines, with teachers on its GPUs, or without any on the same cores.
    """
    rows = []
    for share in shares:
        student = fps * parts.student(share)
        teacher = fps * share * parts.teacher
        row = {
            "share": share,
            "student": student,
            "teacher": teacher,
            "alone": cores / (student + teacher),
            "students": cores / student,
            "per_teacher_cores": cores / teacher,
        }
        if gpu.teacher is not None:
            row["per_teacher_gpu"] = 1 / (fps * share * gpu.teacher)
        row["cluster"] = machines * row["alone"]
        if gpus and gpu.teacher is not None:
            row["cluster"] = min(machines * row["students"], gpus * row["per_teacher_gpu"])
        if gpu.frame is not None and gpu.labels is not None:
            row["per_student_gpu"] = 1 / (fps * (gpu.frame + share * gpu.labels))
        rows.append(row)
    return rows


COLUMNS = {
    "student": "cores a student",
    "teacher": "cores of the teacher, a stream",
    "alone": "streams a machine",
    "students": "students alone",
    "per_teacher_cores": "teachers alone",
    "per_teacher_gpu": "streams a GPU of teachers",
    "per_student_gpu": "streams a GPU of students",
    "cluster": "streams a cluster",
}


def table(rows):
    """Returns the plan as a Markdown table."""
    names = [name for name in COLUMNS if name in rows[0]]
    lines = [[f"{100 * row['share']:g} %", *(f"{row[name]:.2f}" for name in names)] for row in rows]
    return markdown.table(["teacher frames", *(COLUMNS[name] for name in names)], lines)
