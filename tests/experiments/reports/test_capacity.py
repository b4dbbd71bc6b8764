"""The plan of a fleet, on numbers worked out by hand."""

import pytest

from experiments.reports.capacity import Gpu, Parts, frames_per_second, plan, table

PARTS = Parts(frame=0.010, labels=0.200, teacher=0.500)


def test_frames_a_second():
    # A frame of student and teacher: 10 ms + 4 % × (200 + 500) ms = 38 ms of one core.
    assert frames_per_second(PARTS, 0.04, 2) == pytest.approx(2 / 0.038)


def test_plan():
    gpu = Gpu(frame=0.002, labels=0.040, teacher=0.020)
    [row] = plan(PARTS, gpu, [0.04], fps=25, cores=16)
    assert row == {
        "share": 0.04,
        "student": pytest.approx(0.45),  # 25 × 18 ms
        "teacher": pytest.approx(0.5),  # 25 × 20 ms
        "alone": pytest.approx(16 / 0.95),
        "students": pytest.approx(16 / 0.45),
        "per_teacher_cores": pytest.approx(32),
        "per_teacher_gpu": pytest.approx(50),  # 1 / (25 × .04 × 20 ms)
        "per_student_gpu": pytest.approx(1 / (25 * 0.0036)),
        "cluster": pytest.approx(16 / 0.95),
    }


def test_a_cluster_carries_what_students_and_teachers_do():
    gpu = Gpu(teacher=0.020)
    rows = [plan(PARTS, gpu, [0.04], 25, 16, machines=3, gpus=n)[0]["cluster"] for n in (0, 1, 4)]
    assert rows == pytest.approx([3 * 16 / 0.95, 50, 3 * 16 / 0.45])


def test_a_plan_without_gpus_has_no_column_of_them():
    text = table(plan(PARTS, Gpu(), [0.02, 0.08], fps=25, cores=2))
    assert "GPU" not in text
    assert text.splitlines()[-1].startswith("| 8 % |")
