"""Downloads from a local server with faults."""

import copy
import hashlib
import http.server
import os
import random

import pytest

from jitnet_tf.base.errors import UserError
from teacher import download
from tests import misbehaving_server

BODY = random.Random(0).randbytes(3 * download.CHUNK + 123)  # of several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0)
    with misbehaving_server.running() as server:
        server.body = BODY
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def assert_downloads(server, path):
    assert download.to_file(server.url(), path) == SHA256
    assert path.read_bytes() == BODY
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def message(url, path, **arguments):
    """The one-line message of the UserError that the download raises."""
    with pytest.raises(UserError) as caught:
        download.to_file(url, path, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_whole_file_at_once(server, path, capsys):
    assert_downloads(server, path)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert server.url() in captured.err
    assert "100%" in captured.err


def test_path_may_be_text(server, path):
    assert download.to_file(server.url(), str(path)) == SHA256


CUT = {"cuts": [100_000]}
RESUMED = [None, "bytes=100000-"]


@pytest.mark.parametrize(
    ("faults", "asked"),
    [
        (CUT, RESUMED),
        (
            {"cuts": [70_000, 50_000, 3]},
            [None, *(f"bytes={n}-" for n in (70_000, 120_000, 120_003))],
        ),
        # http.client raises an error for a cut chunked body; it ends others silently.
        ({"cuts": [2 * download.CHUNK], "chunked": True}, [None, f"bytes={download.CHUNK}-"]),
        ({**CUT, "honors_ranges": False}, RESUMED),
        ({**CUT, "shift": 1}, [*RESUMED, None]),  # answers with another range
        ({**CUT, "statuses": [302, 0, 302]}, [None, *RESUMED, RESUMED[-1]]),
        ({"statuses": [503, 429]}, [None] * 3),
        ({"lengths": False}, [None]),
    ],
    ids=str,
)
def test_faults_of_the_server_are_overcome(server, path, faults, asked):
    vars(server).update(copy.deepcopy(faults))
    assert_downloads(server, path)
    assert server.asked() == asked


@pytest.mark.parametrize(("more", "asked"), [(b"", []), (b"more", [None])])
def test_existing_files_are_kept_if_complete(server, path, more, asked):
    path.write_bytes(BODY + more)
    assert_downloads(server, path)
    assert server.asked() == [f"bytes={len(BODY + more)}-", *asked]


def test_too_many_cuts_fail_and_the_next_call_resumes(server, path):
    server.cuts = [1000] * download.ATTEMPTS
    text = message(server.url(), path)
    assert f"after {1000 * download.ATTEMPTS} of {len(BODY)} bytes" in text
    assert len(server.requests) == download.ATTEMPTS
    assert path.read_bytes() == BODY[: 1000 * download.ATTEMPTS]

    assert_downloads(server, path)
    assert server.asked()[download.ATTEMPTS :] == [f"bytes={1000 * download.ATTEMPTS}-"]


def test_waits_grow_between_attempts(server, path, monkeypatch):
    waits = []
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 2.0)
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.statuses = [503] * download.ATTEMPTS
    assert "503" in message(server.url(), path)
    assert waits == [2.0 * attempt for attempt in range(download.ATTEMPTS)]


def test_a_body_shorter_than_its_content_length_is_refused(server, path):
    server.honors_ranges = False
    server.cuts = [len(BODY) - 1] * download.ATTEMPTS
    assert f"after {len(BODY) - 1} of {len(BODY)} bytes" in message(server.url(), path)


def test_matching_checksum(server, path):
    server.cuts = [100_000]
    assert download.to_file(server.url(), path, sha256=SHA256) == SHA256


def test_wrong_checksum_is_refused(server, path):
    with pytest.raises(download.ChecksumError):
        download.to_file(server.url(), path, sha256="0" * 64)
    text = message(server.url(), path, sha256="0" * 64)
    assert SHA256 in text
    assert "0" * 64 in text
    assert not path.exists()


def test_not_found_is_not_requested_twice(server, path):
    server.statuses = [404]
    text = message(server.url(), path)
    assert "404" in text
    assert server.url() in text
    assert len(server.requests) == 1


def test_unreachable_server(server, path):
    with http.server.HTTPServer(("127.0.0.1", 0), None) as gone:
        url = f"http://127.0.0.1:{gone.server_port}/file"
    text = message(url, path)
    assert url in text
    assert "refused" in text


def test_a_missing_folder_is_not_a_network_error(server, path):
    with pytest.raises(FileNotFoundError):
        download.to_file(server.url(), path / "deeper")
    assert len(server.requests) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_is_not_a_network_error(server, path):
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        download.to_file(server.url(), path)
    assert len(server.requests) == 1
