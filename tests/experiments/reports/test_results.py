"""Reading results, missing ones, and settings that differ."""

import pytest

from experiments.reports.results import Results
from jitnet_tf.base.errors import UserError
from tests.builders import made_result, markdown_table, write_result


def test_all_results_of_a_folder_or_some_are_read(tmp_path):
    for stream in ("a", "b"):
        for method in ("oracle", "defaults"):
            write_result(tmp_path, made_result(stream, method))
    assert len(Results.load(tmp_path).cells) == 4
    assert list(Results.load(tmp_path, streams={"b", "c"}).streams) == ["b"]
    assert Results.load(tmp_path, chosen=["oracle"]).methods() == ["oracle"]
    with pytest.raises(UserError, match=f"{tmp_path}.*--help"):
        Results.load(tmp_path, streams=["c"])
    assert not Results.load(tmp_path / "nowhere", required=False)


def test_other_methods_come_after_those_of_the_report():
    names = ("max_updates=4", "defaults", "flow_fast", "oracle")
    results = Results([made_result("a", name) for name in names])
    first = ("oracle", "never_adapted", "flow_fast")
    assert results.methods(first) == ["oracle", "flow_fast", "defaults", "max_updates=4"]


def test_methods_that_lack_a_stream_have_no_mean():
    results = Results([made_result("a"), made_result("b"), made_result("b", "oracle")])
    assert [r["stream"]["name"] for r in results.over(["b", "a"], "jitnet_0.8")] == ["b", "a"]
    assert results.over(["b", "a"], "oracle") is None
    assert len(results.of("oracle")) == 1


def test_rows_are_all_streams_then_categories_then_each_stream():
    results = Results([made_result(name, category=name in "ac") for name in "abc"])
    assert results.groups() == [("overall", ["a", "b", "c"]), (False, ["b"]), (True, ["a", "c"])]
    assert results.each_stream() == [(f"{name} (person)", [name]) for name in "abc"]
    one_category = Results([made_result(name) for name in "ab"])
    assert one_category.groups() == [("overall", ["a", "b"])]


@pytest.mark.parametrize("setting", ["oracle_steps", "seed"])
def test_settings_that_differ_are_refused(setting):
    made = [made_result(n, "oracle", settings={setting: int(n)}) for n in ("7", "900")]
    with pytest.raises(UserError, match=rf"oracle .* {setting} \(7, 900\)"):
        Results(made)


def test_settings_of_other_methods_may_differ():
    made = [made_result(n, "flow_slow", settings={"oracle_steps": int(n)}) for n in ("7", "900")]
    assert "oracle_steps" not in Results(made).origin()


def test_the_origin_names_every_machine_and_setting():
    other = {"cpu": "another CPU", "cores": 4, "gpus": ["a GPU"]}
    results = Results([made_result("a"), made_result("b", "oracle", machine=other)])
    values = dict(markdown_table(results.origin(lambda r: {"more": r["method"]})).rows)
    assert values["machine"] == "2 cores of a CPU, no GPU; 4 cores of another CPU, a GPU"
    assert values["more"] == "jitnet_0.8; oracle"
    assert (values["seed"], values["oracle_steps"]) == ("0", "500")
    assert "flow" not in values  # no flow is among the results


def test_a_recording_that_does_not_name_its_teacher_has_an_origin():
    missing = {"recorded_teacher": None}
    values = dict(markdown_table(Results([made_result("a", recorded=missing)]).origin()).rows)
    assert values["recorded teacher"] == "–"
