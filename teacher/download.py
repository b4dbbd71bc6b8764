"""Brings a file from the web to disk: continues where it broke off, and checks the sum."""

import hashlib
import http.client
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request

import tqdm

from jitnet_tf.base.errors import UserError

ATTEMPTS = 4  # requests that one call makes before it gives up
BACKOFF_S = 2.0  # wait before the second request; grows by as much with each further one
TIMEOUT_S = 30.0  # silence of the server that counts as a cut
CHUNK = 1 << 16  # bytes


class ChecksumError(UserError):
    """The file came completely, but is not the expected one."""


class _CutError(Exception):
    """The transfer failed in a way that asking again may mend."""


def to_file(url: str, path: str | os.PathLike, sha256: str | None = None) -> str:
    """Downloads `url` to `path`, continuing what is there already; returns its SHA-256 in hex.

    What is there is taken for the beginning of the same file, so that only a checksum, `sha256` or
    the file's own, tells whether the file has changed on the server between two requests.

    Raises:
      ChecksumError: the file does not have `sha256`; it is deleted.
      UserError: the server cannot be reached or refuses; what has come is kept.
      OSError: the disk, never the network.
    """
    path = pathlib.Path(path)
    _say(f"downloading {url}")
    for attempt in range(ATTEMPTS):
        time.sleep(attempt * BACKOFF_S)
        try:
            _request(url, path)
            break
        except _CutError as cut:
            reason = str(cut)
            _say(f"attempt {attempt + 1} of {ATTEMPTS}: {reason}")
    else:
        raise UserError(
            f"cannot download {url}: {reason}; check the network and run again: what has come "
            "so far is kept"
        )
    digest = _digest(path)
    if sha256 not in (None, digest):
        path.unlink()
        raise ChecksumError(
            f"{url} has SHA-256 {digest} where {sha256} is expected; the download is deleted"
        )
    return digest


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # as the progress bar; never muted as logs are


def _request(url: str, path: pathlib.Path) -> None:
    """Asks once for what `path` lacks and appends it. Raises _CutError if that is not the end."""
    have = path.stat().st_size if path.exists() else 0
    with _open(url, have) as response:
        if response.status == 200:  # all of the file, whatever was asked for
            start, total = 0, response.headers.get("Content-Length", "")
        else:
            sent, _, total = response.headers.get("Content-Range", "").partition("/")
            start = have if sent.startswith(f"bytes {have}-") else None
        total = int(total) if total.isdigit() else None
        if response.status == 416 and total == have:  # nothing comes after what we have
            return
        if start is None:
            path.unlink(missing_ok=True)
            raise _CutError("what the server has does not continue what is on disk")
        with (
            open(path, "ab" if start else "wb") as file,
            tqdm.tqdm(initial=start, total=total, unit="B", unit_scale=True) as progress,
        ):
            for chunk in _chunks(response):
                file.write(chunk)
                progress.update(len(chunk))
    size = path.stat().st_size
    if total not in (None, size):
        raise _CutError(f"the connection was cut after {size} of {total} bytes")


def _open(url: str, start: int):
    """Returns the response to a request for the bytes from `start` on: 200, 206 or 416.

    Raises _CutError where another attempt may help, else UserError.
    """
    request = urllib.request.Request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
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
    """Yields the body. Raises _CutError for the network's errors; the disk's pass by."""
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
