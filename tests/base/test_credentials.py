"""URLs without credentials: nothing of a password shows, and cameras can be told apart."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet_tf.base.credentials import (
    hidden,
    is_surely_misread,
    may_be_misread,
    plain_name,
    without_credentials,
)

# Where cameras and servers have user and password, or a key.
FORMS = (
    "rtsp://bob:{}@host:554/ch1",
    "rtsp://{}@host/ch1",
    "HTTP://bob:{}@host",
    "rtsp://host/user=bob_password={}_channel=1_stream=0.sdp?real_stream",
    "rtsp://host/user=bob&password={}&channel=1",
    "rtsp://host/live;user=bob;password={}",
    "rtsp://host/cam/realmonitor?channel=1&subtype=0&username=bob&password={}",
    "rtsp://host/h264/bob/{}/ch1/main/av_stream",
    "rtsp://host/admin/{}",
    "rtsp://host/11?usr=bob&pwd={}",
    "http://bob:{}@host/clip.mp4?x=1",
    "http://host/x?access_token={}",
    "http://host/x?{}",
    "http://host/x?a=1;apikey={}",
    "http://host/x?pass%77ord={}",
    "http://host/x#token={}",
    "http://host/token/{}/index.m3u8",
    "http://host/clip.mp4;jsessionid={}",
    "http://host:8080/live/bob/{}/123.ts",
    "http://host:8080/bob/{}/123",
    "rtmp://host/app/{}",
    "srt://host:9000?passphrase={}",
    "srt://host:9000?streamid=#!::u=bob,s={}",
    "bob:{}@host/ch1",
    "//bob:{}@host/ch1",
    "host/user=bob_password={}_channel=1",
    "host/cgi?user=bob&password={}",
    "async:rtsp://bob:{}@host/1",
    "rtsp://bob:{}@host/1,rtsp://bob:{}@host/2",
)
ODD = ["", *string.punctuation, " ", "\t", "ü", "%2F", "/?#@", "@/"]


def check_nothing_shows(form, odd):
    for secret in (f"s3cr{odd}tP4ss", f"{odd}s3crtP4ss", f"s3crtP4ss{odd}"):
        url = form.replace("{}", secret)
        shown = without_credentials(url)
        assert without_credentials(shown) == shown
        for text in (shown, plain_name(url), hidden(f"no {url!r}; {url} is odd", [url])):
            assert not any(part in text for part in ("s3cr", "tP4", "P4ss")), (url, text)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_a_password_shows(form):
    # A slash ends the secrets that stand between slashes, for the server as well.
    for odd in ODD if "/{}" not in form else [odd for odd in ODD if "/" not in odd]:
        check_nothing_shows(form, odd)


@given(st.sampled_from([form for form in FORMS if "/{}" not in form]), st.text(max_size=4))
def test_nothing_of_any_password_shows(form, odd):
    check_nothing_shows(form, odd)


@pytest.mark.parametrize(
    ("url", "shown", "name"),
    [
        ("rtsp://10.0.0.7/ch1", None, "10.0.0.7-ch1"),
        ("rtsp://10.0.0.7/Streaming/Channels/101", None, "10.0.0.7-101"),
        ("rtsp://u:p@10.0.0.7:554/ch1", "rtsp://***@10.0.0.7:554/ch1", "10.0.0.7-554-ch1"),
        ("rtsp://[fe80::1%25eth0]:554/ch0_0.h264", None, "fe80-1-25eth0-554-ch0_0.h264"),
        (
            "rtsp://h/user=a_password=b_channel=3_stream=0.sdp?real_stream",
            "rtsp://h/user=***_password=***_channel=3_stream=0.sdp?real_stream",
            "h-channel-3_stream-0.sdp-real_stream",
        ),
        (
            "rtsp://h/cam/realmonitor?channel=2&subtype=1&password=x",
            "rtsp://h/cam/realmonitor?channel=2&subtype=1&password=***",
            "h-realmonitor-channel-2-subtype-1",
        ),
        (
            "http://h/recordings/site4/clip.mp4?t=1",
            "http://h/recordings/site4/clip.mp4?t=***",
            "clip",
        ),
        ("https://h/v.m3u8?sig=a=b&x", "https://h/v.m3u8?sig=***&***", "h-v.m3u8"),
        ("https://h/v?", "https://h/v", "h-v"),
        ("udp://@239.0.0.1:1234", None, "239.0.0.1-1234"),
        ("file:///home/user/clip.mp4", None, "clip"),
        ("rtmp://h/live", None, "h-live"),
        ("http://u:p@ss/w@host/x", "http://***", ""),
    ],
)
def test_the_rest_is_shown(url, shown, name):
    assert without_credentials(url) == (shown or url)
    assert plain_name(url) == name


@pytest.mark.parametrize("path", ["a:b@c.mp4", "user=me/%04d.png", "password=x.mp4", "/no/user=x"])
def test_paths_are_unchanged(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user=me").mkdir()
    (tmp_path / "a:b@c.mp4").touch()
    (tmp_path / "password=x.mp4").touch()
    assert without_credentials(path) == path


@pytest.mark.parametrize(
    ("url", "may_be", "surely"),
    [
        ("rtsp://u:p%3F@h/x", False, False),
        ("rtsp://u:p@q@h/x", False, False),
        ("rtsp://u:p?@h/x", True, True),
        ("rtsp://u:p#@h/x", True, True),
        ("rtsp://u:1/2@h/x", True, False),
        ("http://h/@me/clip.mp4", True, False),
        ("a@b/c@d", False, False),
    ],
)
def test_misread_passwords_are_found(url, may_be, surely):
    assert (may_be_misread(url), is_surely_misread(url)) == (may_be, surely)
