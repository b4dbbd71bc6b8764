"""Joining a cluster: addresses that cannot be joined, with an answer made by hand."""

import contextlib
import subprocess

import pytest

from jitnet_tf.base.errors import UserError
from jitnet_tf.fleet import cluster

ADDRESS = "127.0.0.1:6379"
MISMATCH = (
    b"Traceback:\n  File x\nRuntimeError: Ray version mismatch: cluster has 2.9, local 2.60\n"
)
TOKEN = b"ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: missing or incorrect\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (subprocess.CalledProcessError(1, "ray", stderr=MISMATCH), "joined .*Ray version mismatch"),
        (subprocess.CalledProcessError(1, "ray", stderr=TOKEN), "auth_token from the cluster's"),
        (subprocess.TimeoutExpired("ray", 60), "does not answer .not as Ray does, within 60 s"),
    ],
)
def test_what_cannot_be_joined(monkeypatch, error, message):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(cluster.subprocess, "run", run)
    connection = contextlib.ExitStack()  # anything with `close`
    monkeypatch.setattr(cluster.socket, "create_connection", lambda *_: connection)
    with pytest.raises(UserError, match=f"--address={ADDRESS} .*{message}"):
        cluster._check_answers(ADDRESS)


@pytest.mark.parametrize("address", ["nowhere", ":6379", "ray://head:10001", "head:port"])
def test_what_is_no_address(address):
    with pytest.raises(UserError, match=f"--address={address} is invalid"):
        cluster._check_answers(address)


@pytest.mark.parametrize("has_token", [True, False])
def test_the_token_of_this_machine_is_shown(tmp_path, monkeypatch, has_token):
    path = tmp_path / "auth_token"
    if has_token:
        path.write_text("t")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that what is set in its place is undone
        monkeypatch.delenv(name)
    cluster._use_token()
    assert cluster.os.environ.get("RAY_AUTH_MODE") == ("token" if has_token else None)
