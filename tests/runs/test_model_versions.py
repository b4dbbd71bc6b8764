"""The folder of exported models: numbers, refusals, what is kept, what a kill leaves."""

import json

import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.runs import model_versions
from jitnet_tf.runs.model_versions import DESCRIPTION, EXTRA

MODEL = {"classes": ["background", "person"], "frame_size": [48, 64]}


def export(folder, keep=3, **changes):
    path = model_versions.begin(folder)
    (path / EXTRA).mkdir(parents=True)
    (path / "saved_model.pb").write_text("model")
    (path / EXTRA / DESCRIPTION).write_text(json.dumps({**MODEL, **changes}))
    return model_versions.commit(folder, keep)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_versions_count_on_and_only_the_newest_are_kept(tmp_path):
    folder = tmp_path / "models" / "street"
    assert [export(folder, keep=2) for _ in range(4)] == [1, 2, 3, 4]
    assert names(folder) == ["3", "4"]
    assert model_versions.numbers(folder) == [3, 4]
    for number in range(5, 12):
        assert export(folder) == number
    assert model_versions.numbers(folder) == [9, 10, 11]
    assert (folder / "11" / "saved_model.pb").read_text() == "model"


def test_what_a_kill_leaves_is_no_version_and_deleted(tmp_path):
    export(tmp_path)
    (model_versions.begin(tmp_path) / EXTRA).mkdir(parents=True)
    (tmp_path / ".old-0").mkdir()
    (tmp_path / ".old-0" / "saved_model.pb").write_text("")
    assert model_versions.numbers(tmp_path) == [1]
    model_versions.check(tmp_path, MODEL, overwrite=False)
    model_versions.clean(tmp_path)
    assert names(tmp_path) == ["1"]


def test_a_failed_rename_leaves_the_versions(tmp_path, monkeypatch):
    export(tmp_path, keep=1)

    def fail(*_):
        raise OSError("full")

    rename = model_versions.os.rename
    monkeypatch.setattr(model_versions.os, "rename", fail)
    with pytest.raises(OSError, match="full"):
        export(tmp_path, keep=1)
    monkeypatch.setattr(model_versions.os, "rename", rename)
    assert model_versions.numbers(tmp_path) == [1]
    assert export(tmp_path, keep=1) == 2


def test_a_folder_of_ones_own_versions_is_taken(tmp_path):
    model_versions.check(tmp_path / "new", MODEL, overwrite=False)
    assert not (tmp_path / "new").exists()
    export(tmp_path)
    (tmp_path / ".lock").write_text("")
    model_versions.check(tmp_path, MODEL, overwrite=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, None) for name in ("notes.txt", "0", "01", "١", "1.tmp", "-1", ".git")),
        ("1", None),  # without a description
        ("1", "[1]"),
        ("1", "no JSON"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_things_is_refused(tmp_path, name, content, overwrite):
    folder = tmp_path / name / EXTRA
    folder.mkdir(parents=True)
    if content:
        (folder / DESCRIPTION).write_text(content)
    with pytest.raises(UserError, match=f"--export_dir=.* holds {name}, "):
        model_versions.check(tmp_path, MODEL, overwrite)
    assert names(tmp_path) == [name]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(UserError, match=r"--export_dir=.*models is a file"):
        model_versions.check(tmp_path / "models", MODEL, overwrite=False)


@pytest.mark.parametrize(
    ("name", "value"), [("classes", ["background", "car"]), ("frame_size", [96, 128])]
)
def test_students_of_another_kind_are_continued_only_if_asked(tmp_path, name, value):
    export(tmp_path)
    other = {**MODEL, name: value}
    with pytest.raises(UserError, match=f"--export_dir=.*another {name}.*--overwrite"):
        model_versions.check(tmp_path, other, overwrite=False)
    model_versions.check(tmp_path, other, overwrite=True)
    assert export(tmp_path, **{name: value}) == 2
    model_versions.check(tmp_path, other, overwrite=False)
