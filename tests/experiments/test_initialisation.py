"""experiments.initialisation: its table from results by hand, and results that do not fit."""

import pytest

from experiments import initialisation
from jitnet_tf.base.errors import UserError


def result(stream, method, init, *, iou=0.5, student=0.4, start=0.3, teacher=0.1, updates=7):
    return {
        "stream": {"name": stream},
        "method": method,
        "settings": {"init": init},
        "summary": {
            "mean_iou": iou,
            "mean_iou_student_only": student,
            "teacher_fraction": teacher,
            "updates": updates,
        },
        "start_iou": start,
    }


def results():
    random = [
        result("street", "jitnet_0.8", "random", iou=0.5, start=None, teacher=0.1, updates=70),
        result("park", "jitnet_0.8", "random", iou=0.6, start=0.2, teacher=0.2, updates=10),
    ]
    pretrained = [
        result("street", "jitnet_0.8", "pretrained", iou=0.625, teacher=0.05, updates=50),
        result("street", "never_adapted", "pretrained", iou=0.25),
        result("park", "jitnet_0.8", "pretrained", iou=0.5, start=0.5, teacher=0.1, updates=20),
        result("park", "never_adapted", "pretrained", iou=None),
    ]
    return random, pretrained


def test_report():
    text = initialisation.report(*results())
    head, _, street, park, mean, *_ = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()
    )
    assert head[0] == "stream"
    assert street[:2] == ["street", "50.0 → 62.5 (+12.5)"]
    assert street[3:] == ["– → 30.0", "10.0 → 5.0 (-5.0)", "70 → 50 (-20)", "25.0"]
    assert park[1:4] == ["60.0 → 50.0 (-10.0)", "40.0 → 40.0 (+0.0)", "20.0 → 50.0 (+30.0)"]
    assert park[-1] == "–"
    assert mean == [
        "mean",
        "55.0 → 56.2 (+1.2)",
        "40.0 → 40.0 (+0.0)",
        "20.0 → 40.0 (+20.0)",
        "15.0 → 7.5 (-7.5)",
        "40.0 → 35.0 (-5.0)",
        "25.0",
    ]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ((0, 1), "no result of jitnet_0.8 on park from random weights"),
        ((1, 1), "no result of never_adapted on street from pretrained weights"),
    ],
)
def test_a_result_that_is_missing(missing, message):
    both = results()
    del both[missing[0]][missing[1]]
    with pytest.raises(UserError, match=message):
        initialisation.report(*both)


def test_results_of_other_weights():
    random, pretrained = results()
    with pytest.raises(UserError, match="there started from 'pretrained'"):
        initialisation.report(pretrained, random)
