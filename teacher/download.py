"""Downloads a file: resumes interrupted transfers and checks the SHA-256."""

import hashlib
import http.client
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request

from jitnet_tf.base.errors import UserError
from jitnet_tf.base.progress import progress_bar

ATTEMPTS = 4  # requests of one call before it fails
BACKOFF_SECONDS = 2.0  # wait before the second request; more by as much before each further one
TIMEOUT_SECONDS = 30.0  # silence of the server that counts as an interruption
CHUNK = 1 << 16  # bytes


class ChecksumError(UserError):
    """The downloaded file is complete, but not the expected one."""


class _CutError(Exception):
    """The transfer failed, and another request may succeed."""


def to_file(url: str, path: str | os.PathLike, sha256: str | None = None) -> str:
    """Downloads `url` to `path` and returns its SHA-256 in hex.

    An existing file is taken for the beginning of the same file and continued. Only a checksum,
    `sha256` or one inside the file, can show that the file has changed on the server meanwhile.

    Raises:
      ChecksumError: the file has another SHA-256 than `sha256`; it is deleted.
      UserError: the server cannot be reached or refuses; the downloaded part is kept.
      OSError: an error of the disk, never of the network.
    """
    path = pathlib.Path(path)
    _say(f"downloading {url}")
    for attempt in range(ATTEMPTS):
        time.sleep(attempt * BACKOFF_SECONDS)
        try:
            _request(url, path)
            break
        except _CutError as cut:
            reason = str(cut)
            _say(f"attempt {attempt + 1} of {ATTEMPTS}: {reason}")
    else:
        raise UserError(
            f"cannot download {url}: {reason}; check the network and run again: the downloaded "
            "part is kept"
        )
    digest = _digest(path)
    if sha256 not in (None, digest):
        path.unlink()
        raise ChecksumError(
            f"{url} has SHA-256 {digest} where {sha256} is expected; the download is deleted"
        )
    return digest


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # like the progress bar; logs may be muted


def _request(url: str, path: pathlib.Path) -> None:
    """Requests once what `path` lacks and appends it. Raises _CutError if more is missing."""
    have = path.stat().st_size if path.exists() else 0
    with _open(url, have) as response:
        if response.status == 200:  # the whole file, even if a part was requested
            start, total = 0, response.headers.get("Content-Length", "")
        else:
            sent, _, total = response.headers.get("Content-Range", "").partition("/")
            start = have if sent.startswith(f"bytes {have}-") else None
        total = int(total) if total.isdigit() else None
        if response.status == 416 and total == have:  # the file on disk is complete
            return
        if start is None:
            path.unlink(missing_ok=True)
            raise _CutError("the server's file does not continue the one on disk")
        with (
            open(path, "ab" if start else "wb") as file,
            progress_bar(initial=start, total=total, unit="B", unit_scale=True) as progress,
        ):
            for chunk in _chunks(response):
                file.write(chunk)
                progress.update(len(chunk))
    size = path.stat().st_size
    if total not in (None, size):
        raise _CutError(f"the connection was cut after {size} of {total} bytes")


def _open(url: str, start: int):
    """Requests the bytes from `start` on; returns the response, of status 200, 206 or 416.

    Raises _CutError if another attempt may succeed, else UserError.
    """
    request = urllib.request.Request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:
            return error
        error.close()
        problem = f"the server answers {error.code} {error.reason}"
        if error.code >= 500 or error.code in (408, 429):
            raise _CutError(problem) from error
        raise UserError(f"cannot download {url}: {problem}; choose another one") from error
    except (OSError, http.client.HTTPException) as error:
        raise _cut(error) from error


def _chunks(response):
    """Yields the body. Raises _CutError for errors of the network."""
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _cut(error) from error


def _cut(error: Exception) -> _CutError:
    return _CutError(str(getattr(error, "reason", error)) or type(error).__name__)


def _digest(path: pathlib.Path) -> str:
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()
