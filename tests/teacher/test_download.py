"""Downloads from a local server with faults."""

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


def test_cut_connection_resumes_where_it_broke(server, path):
    server.cuts = [100_000]
    assert_downloads(server, path)
    assert server.asked() == [None, "bytes=100000-"]


def test_errors_while_reading_resume_the_download(server, path):
    server.chunked = True  # http.client ends a cut body silently, but not a chunked one
    server.cuts = [2 * download.CHUNK]
    assert_downloads(server, path)
    assert server.asked() == [None, f"bytes={download.CHUNK}-"]


def test_several_cuts_in_one_call(server, path):
    server.cuts = [70_000, 50_000, 3]
    assert_downloads(server, path)
    assert server.asked() == [None, "bytes=70000-", "bytes=120000-", "bytes=120003-"]


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


def test_server_without_ranges_starts_over(server, path):
    server.honors_ranges = False
    server.cuts = [100_000]
    assert_downloads(server, path)
    assert server.asked() == [None, "bytes=100000-"]


def test_complete_file_is_not_downloaded_again(server, path):
    path.write_bytes(BODY)
    assert_downloads(server, path)
    assert server.asked() == [f"bytes={len(BODY)}-"]


def test_a_too_long_file_on_disk_starts_over(server, path):
    path.write_bytes(BODY + b"more")
    assert_downloads(server, path)
    assert server.asked() == [f"bytes={len(BODY) + 4}-", None]


def test_another_range_than_requested_starts_over(server, path):
    server.cuts = [100_000]
    server.shift = 1
    assert_downloads(server, path)
    assert server.asked() == [None, "bytes=100000-", None]


def test_a_body_shorter_than_its_content_length_is_refused(server, path):
    server.honors_ranges = False
    server.cuts = [len(BODY) - 1] * download.ATTEMPTS
    assert f"after {len(BODY) - 1} of {len(BODY)} bytes" in message(server.url(), path)


def test_unknown_size(server, path):
    server.lengths = False
    assert_downloads(server, path)


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


def test_overloaded_server_is_requested_again(server, path):
    server.statuses = [503, 429]
    assert_downloads(server, path)


def test_redirect_keeps_the_range(server, path):
    server.cuts = [100_000]
    server.statuses = [302, 0, 302]
    assert_downloads(server, path)
    assert server.asked() == [None, None, "bytes=100000-", "bytes=100000-"]


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
