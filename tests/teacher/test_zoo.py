"""Fetching zoo models from a local server."""

import hashlib
import io
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import threading
import types

import pytest

from jitnet_tf.base import locks
from jitnet_tf.base.errors import UserError
from teacher import download, zoo
from tests import misbehaving_server

NAME = "tiny"
REPOSITORY = pathlib.Path(__file__).parents[2]
WEIGHTS = random.Random(0).randbytes(200_000)  # incompressible


def tarball(members=None, folder=NAME):
    """A .tar.gz in bytes; by default a model with a checkpoint beside, as the zoos have it."""
    if members is None:
        members = {
            f"{folder}/saved_model/saved_model.pb": b"graph",
            f"{folder}/saved_model/variables/variables.data": WEIGHTS,
            f"{folder}/checkpoint/ckpt-0": b"not needed",
        }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:  # a pair: type of the link, where it points to
                info.type, info.linkname = content
                archive.addfile(info)
    return buffer.getvalue()


def damaged(content):
    """The same with one bit flipped inside of WEIGHTS."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)
    with misbehaving_server.running() as server:
        server.body = tarball()
        model = zoo.ZooModel(server.url(), NAME, "for tests", ms=1, box_map=1.0)
        monkeypatch.setitem(zoo.ZOO, NAME, model)
        yield server


def assert_good(saved_model, cache):
    assert saved_model == cache / NAME / "saved_model"
    assert (saved_model / "saved_model.pb").read_bytes() == b"graph"
    assert (saved_model / "variables" / "variables.data").read_bytes() == WEIGHTS
    kept = {path.name for path in cache.iterdir()}
    assert kept == {NAME, f"{NAME}.sha256"}


def message(call, *arguments):
    """The one-line message of the UserError that the call raises."""
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def part(cache):
    return cache / f"{NAME}.tar.gz.part"


def test_fetch_unpacks_the_saved_model_and_keeps_its_digest(server, tmp_path, capsys):
    cache = tmp_path / "new" / "cache"
    assert_good(zoo.fetch(NAME, cache), cache)
    assert (cache / f"{NAME}.sha256").read_text() == (
        hashlib.sha256(server.body).hexdigest() + "\n"
    )
    assert [path.name for path in (cache / NAME).iterdir()] == ["saved_model"]
    assert capsys.readouterr().out == ""


def test_a_second_fetch_makes_no_request(server, tmp_path):
    first = zoo.fetch(NAME, tmp_path)
    assert zoo.fetch(NAME, str(tmp_path)) == first
    assert len(server.requests) == 1


def test_failing_download_is_continued_by_the_next_fetch(server, tmp_path):
    server.cuts = [1000] * download.ATTEMPTS
    have = 1000 * download.ATTEMPTS
    assert f"after {have} of {len(server.body)} bytes" in message(zoo.fetch, NAME, tmp_path)
    assert part(tmp_path).read_bytes() == server.body[:have]
    assert not (tmp_path / f"{NAME}.sha256").exists()

    assert_good(zoo.fetch(NAME, tmp_path), tmp_path)
    assert server.asked()[download.ATTEMPTS :] == [f"bytes={have}-"]


def test_a_file_that_changes_during_its_download_is_refused(server, tmp_path):
    old = tarball({f"{NAME}/saved_model/variables/variables.data": WEIGHTS[::-1]})
    part(tmp_path).write_bytes(old[:5000])
    assert NAME in message(zoo.fetch, NAME, tmp_path)
    assert_good(zoo.fetch(NAME, tmp_path), tmp_path)


def test_a_later_download_must_equal_the_first(server, tmp_path):
    saved_model = zoo.fetch(NAME, tmp_path)
    kept = tmp_path / f"{NAME}.sha256"
    first, good = kept.read_text().strip(), server.body

    def delete_model():
        for path in sorted((tmp_path / NAME).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (tmp_path / NAME).rmdir()

    delete_model()
    server.body = tarball({f"{NAME}/saved_model/saved_model.pb": b"other"})
    text = message(zoo.fetch, NAME, tmp_path)
    for expected in (first, hashlib.sha256(server.body).hexdigest(), f"delete {kept}"):
        assert expected in text
    assert not part(tmp_path).exists()
    assert not saved_model.exists()
    assert kept.read_text().strip() == first

    server.body = good  # the trusted one is accepted
    assert_good(zoo.fetch(NAME, tmp_path), tmp_path)

    delete_model()
    kept.unlink()  # as the message says, for users who trust the change
    server.body = tarball({f"{NAME}/saved_model/saved_model.pb": b"other"})
    assert (zoo.fetch(NAME, tmp_path) / "saved_model.pb").read_bytes() == b"other"


def test_unknown_name_lists_the_known_ones(tmp_path):
    text = message(zoo.fetch, "mask_rcnn", tmp_path)
    assert "'mask_rcnn'" in text
    for name in zoo.ZOO:
        assert name in text


@pytest.mark.parametrize(
    "members",
    [
        {"../escaped": b"evil"},
        {f"{NAME}/saved_model/../../../escaped": b"evil"},
        {"/escaped": b"evil"},
    ],
)
def test_tarball_that_reaches_outside_is_refused(server, tmp_path, members):
    cache = tmp_path / "cache"
    server.body = tarball({f"{NAME}/saved_model/saved_model.pb": b"graph", **members})
    assert "outside" in message(zoo.fetch, NAME, cache)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["saved_model.pb", "../../../../escaped"])
def test_links_are_skipped(server, tmp_path, kind, target):
    graph, link = f"{NAME}/saved_model/saved_model.pb", f"{NAME}/saved_model/link"
    server.body = tarball({graph: b"graph", link: (kind, target)})
    cache = tmp_path / "cache"
    assert [path.name for path in zoo.fetch(NAME, cache).iterdir()] == ["saved_model.pb"]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_file_behind_a_link_stays_inside(server, tmp_path):
    graph, link = f"{NAME}/saved_model/saved_model.pb", f"{NAME}/saved_model/link"
    server.body = tarball(
        {graph: b"graph", link: (tarfile.SYMTYPE, str(tmp_path)), f"{link}/escaped": b"evil"}
    )
    cache = tmp_path / "cache"
    assert (zoo.fetch(NAME, cache) / "link" / "escaped").read_bytes() == b"evil"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (tarball(folder="other"), "has no tiny/saved_model/saved_model.pb"),
        (tarball({f"{NAME}/saved_model/variables/v": b""}), "has no tiny/saved_model"),
        (b"<html>log in to this network</html>", "Not a gzipped file"),
        (tarball()[:-1000], "ended before"),
        (damaged(tarball()), "CRC check failed"),
    ],
)
def test_an_unusable_tarball_is_refused_and_not_trusted(server, tmp_path, body, expected):
    good, server.body = server.body, body
    text = message(zoo.fetch, NAME, tmp_path)
    assert expected in text
    assert not (tmp_path / NAME).exists()
    assert not (tmp_path / f"{NAME}.sha256").exists()
    server.body = good
    assert_good(zoo.fetch(NAME, tmp_path), tmp_path)


def test_a_kill_during_unpacking_leaves_no_model(server, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zoo.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            zoo.fetch(NAME, tmp_path)
    assert not (tmp_path / NAME).exists()
    leftover = tmp_path / f"{NAME}.unpacking" / NAME / "saved_model" / "half"  # as of kill -9
    leftover.parent.mkdir(parents=True)
    leftover.touch()

    saved_model = zoo.fetch(NAME, tmp_path)
    assert_good(saved_model, tmp_path)
    assert not (saved_model / "half").exists()
    assert server.asked() == [None, f"bytes={len(server.body)}-"]


def test_concurrent_fetches_download_once(server, tmp_path, monkeypatch):
    waiting = threading.Event()
    monkeypatch.setattr(locks, "print", lambda *_, **__: waiting.set(), raising=False)
    results = []
    second = threading.Thread(target=lambda: results.append(zoo.fetch(NAME, tmp_path)))

    def start_second_one():
        if not second.ident:
            second.start()
            assert waiting.wait(timeout=30)

    server.before = start_second_one
    results.append(zoo.fetch(NAME, tmp_path))
    second.join()
    assert results == [tmp_path / NAME / "saved_model"] * 2
    assert len(server.requests) == 1
    assert_good(results[0], tmp_path)


def test_a_cache_that_is_a_file_is_refused(server, tmp_path):
    (tmp_path / "file").touch()
    text = message(zoo.fetch, NAME, tmp_path / "file")
    assert str(tmp_path / "file") in text
    assert "JITNET_TF_CACHE" in text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_full_disk(server, tmp_path):
    part(tmp_path).symlink_to("/dev/full")
    text = message(zoo.fetch, NAME, tmp_path)
    assert "No space left" in text
    assert str(tmp_path) in text
    assert len(server.requests) == 1


def test_cache_folder_comes_from_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("JITNET_TF_CACHE", str(tmp_path / "set"))
    assert_good(zoo.fetch(NAME), tmp_path / "set")
    assert_good(zoo.fetch(NAME, tmp_path / "argument"), tmp_path / "argument")


def test_default_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("JITNET_TF_CACHE", raising=False)
    monkeypatch.setattr(zoo.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    name = next(iter(zoo.ZOO))
    saved_model = tmp_path / "jitnet_tf" / "zoo" / name / "saved_model"
    saved_model.mkdir(parents=True)
    assert zoo.fetch(name) == saved_model
    # No file is written: a complete cache may be read-only.
    assert [path.name for path in saved_model.parents[1].iterdir()] == [name]


@pytest.mark.parametrize("name", zoo.ZOO)
def test_real_models_are_well_formed(name):
    model = zoo.ZOO[name]
    assert model.url.startswith("https://download.tensorflow.org/models/object_detection/")
    assert model.url.endswith(f"/{name}.tar.gz")
    assert model.name == name
    assert name.startswith("mask_rcnn_")
    assert model.ms > 0
    assert 0 < model.box_map < 100
    assert model.mask_map is None or 0 < model.mask_map < model.box_map


def test_five_models():
    assert len(zoo.ZOO) == 5


def test_main_lists_and_fetches(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JITNET_TF_CACHE", str(tmp_path))

    def run(fetch=None):
        monkeypatch.setattr(zoo.flags, "FLAGS", types.SimpleNamespace(fetch=fetch))
        zoo.main()
        return capsys.readouterr().out

    def row():
        return next(line for line in run().splitlines() if line.startswith(f"{NAME} "))

    assert row().split()[1:4] == ["no", "1", "1.0/-"]
    assert run(NAME) == f"{tmp_path / NAME / 'saved_model'}\n"
    assert row().split()[1] == "yes"
    assert len(run().splitlines()) == 1 + len(zoo.ZOO)


def test_as_a_program(tmp_path):
    environment = {**os.environ, "JITNET_TF_CACHE": str(tmp_path)}

    def run(*arguments):
        command = [sys.executable, "-m", "teacher.zoo", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )

    listed = run()
    assert listed.returncode == 0, listed.stderr
    for name in zoo.ZOO:
        assert name in listed.stdout
    unknown = run("--fetch=nobody")
    assert unknown.returncode == 2
    assert "'nobody'" in unknown.stderr
    assert "Traceback" not in unknown.stderr
