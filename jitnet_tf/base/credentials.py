"""URLs without what only their owner should read: passwords, user names, keys and tokens.

Nothing tells a password from another word. So a part of a URL is shown only where it is known to
be harmless, and *** stands for the rest: the user before @, every value of a query but the number
of a channel or stream, and of the path whatever has a telling name, has the form of a key, or
stands where cameras and servers have user and password. A word of the path that has none of these
signs is shown.
"""

import itertools
import os
import re
import urllib.parse
from collections.abc import Iterable

MASK = "***"
ADVICE = "in a user name or password write %2F for /, %3F for ?, %23 for #, %40 for @, %25 for %"

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_ANYWHERE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HOST = re.compile(r"(([\w-]+\.)*[\w-]+\.?|\[[0-9a-z:.%]+\])?(:[0-9]{1,5})?", re.IGNORECASE)


def _words(text):
    return frozenset(text.split())


# Names whose value is a secret.
_TELLING = _words(
    """
    user users username usr uname u name login account acct email pass passwd password passphrase
    passcode psw pswd pwd pw p pin code token tok access_token accesstoken auth authbasic
    authorization bearer key apikey api_key keys secret client_secret sig sign signature hash hmac
    md5 hdnts hdnea hdntl policy expires exp session sessionid sid jsessionid phpsessid ticket jwt
    cred credential credentials streamkey stream_key streamid id t e h st wowzatokenhash loginuse
    loginpas x-amz-signature x-amz-credential x-amz-security-token x-amz-date x-amz-algorithm
    x-amz-expires x-amz-signedheaders x-goog-signature x-goog-credential key-pair-id
    awsaccesskeyid
    """
)
# Names whose value is shown where it is a small number.
_NUMBERED = _words(
    """
    channel channels channelid ch chn chid cam camera cameraid stream streamtype streamno subtype
    sub subtyp profile track trackid quality resolution unicast multicast fps live
    """
)
# Words of paths and queries that are no secrets.
_WORDS = _words(
    """
    api app asp audio avc av axis back bin cam camera cameras cgi ch channel channels chunklist
    cif clip dash default feed first flv front h hd hevc high hls hq image images img in index
    input ipcam jpeg jpg left live low lq m main major manifest master media medias minor mjpeg
    mjpg mov movie mp mpd mpeg multicast now onvif out output php play playlist preview primary
    profile profiles real realmonitor right rtmp rtsp s sd sdp second secondary series smp amp
    snapshot stream streaming streams sub subtype track trackid ts ucast uhd unicast v vid video
    videos view webm avi mkv
    """
)
_USERS = _words(
    """
    admin administrator root guest operator supervisor service viewer
    """
)
_NAMED = re.compile(
    rf"(?:^|(?<=[_&;,~!?]))({'|'.join(sorted(map(re.escape, _TELLING | _NUMBERED)))})=",
    re.IGNORECASE,
)
_SMALL = re.compile(r"[0-9]{1,3}(\.sdp)?")
# A file on a server, no part of a live stream, and no number such as those of channels.
_FILE = re.compile(r".*[^0-9.].*\.(avi|m4v|mkv|mov|mp4|mpe?g|webm|wmv)", re.IGNORECASE)


def without_credentials(spec: str) -> str:
    """Returns a URL with *** for its secrets; see the module. Other texts are returned unchanged.

    A URL without its scheme (me:secret@camera/1) is recognized where there is no such file. The
    result is the same each time, also for a result.
    """
    url = _URL.fullmatch(spec)
    if url:
        return f"{url[1]}://{_without_scheme(url[1].lower(), url[2])}"
    if os.path.lexists(spec) or os.path.isdir(os.path.dirname(spec)):  # a pattern of images
        return spec
    if inner := _ANYWHERE.search(spec):
        before = spec[: inner.start()]  # a protocol that wraps another's URL, say async:
        before = before if re.fullmatch(r"([a-z0-9]+:)*", before) else MASK
        return before + without_credentials(spec[inner.start() :])
    if spec.startswith((".", "~")) or (os.path.isabs(spec) and not spec.startswith("//")):
        return spec
    telling = any(name[1].lower() in _TELLING for name in _NAMED.finditer(spec))
    if telling or re.search(r":.*@", spec, re.DOTALL):
        slashes = "//" if spec.startswith("//") else ""
        return slashes + _without_scheme("", spec.removeprefix(slashes))
    return spec


def is_url(spec: str) -> bool:
    """Returns whether a text has the form scheme://…"""
    return _URL.fullmatch(spec) is not None


def hidden(text: str, values: Iterable[str]) -> str:
    """Returns a message without the secrets of the URLs among the values that it may quote."""
    for value in sorted(values, key=len, reverse=True):
        shown = without_credentials(value)
        if shown != value:
            for quoted in (value, repr(value)[1:-1], " ".join(value.split())):
                text = text.replace(quoted, shown)
    return text


def may_be_misread(url: str) -> bool:
    """Returns whether a URL has an @ behind its host, as one whose password contains / ? or #."""
    parts = _URL.fullmatch(url)
    return bool(parts) and "@" in parts[2][len(_authority(parts[2])) :]


def is_surely_misread(url: str) -> bool:
    """Returns whether what stands in a URL before the first / ? or # cannot be a host."""
    parts = _URL.fullmatch(url)
    return may_be_misread(url) and not _is_host(_authority(parts[2]).rpartition("@")[2])


def plain_name(url: str) -> str:
    """Returns a name for files about a URL, of letters, digits, dots and dashes; may be empty.

    It is that of the file on the server, else the host and the last part of the path.
    """
    shown = without_credentials(url)
    parts = _URL.fullmatch(shown)
    path, _, query = (parts[2] if parts else shown).partition("#")[0].partition("?")
    host, *path = path.rstrip("/").split("/")
    last = path[-1] if path else ""
    if parts and _FILE.fullmatch(last) and MASK not in last:
        name = os.path.splitext(last)[0]
    else:
        name = " ".join((host.rpartition("@")[2], last, query))
    name = re.sub(r"[\w-]*=?" + re.escape(MASK), " ", name)
    name = re.sub(r"[^\w.]+", "-", name, flags=re.ASCII)
    return re.sub("_*-[-_]*", "-", name).strip("-._")


def _authority(rest):
    return re.split("[/?#]", rest, maxsplit=1)[0]


def _is_host(text):
    return _HOST.fullmatch(text) is not None


def _without_scheme(scheme, rest):
    """Masks what follows scheme://."""
    authority = _authority(rest)
    rest = rest[len(authority) :]
    # The password may contain a / ? or #, and then nothing can be told from it.
    if "@" in rest:
        return MASK
    user, at, host = authority.rpartition("@")
    host = host if _is_host(host) or host == MASK else MASK
    rest, _, fragment = rest.partition("#")
    path, _, query = rest.partition("?")
    shown = (MASK if user else "") + at + host
    shown += path if scheme == "file" else "/".join(_path(scheme, path.split("/")))
    fields = [_field(field) for field in re.split("[&;]", query) if field]
    shown += "?" + "&".join(fields) if fields else ""
    return shown + (f"#{MASK}" if fragment else "")


def _path(scheme, segments):
    """Masks the segments of a path; the first is what stands before the first slash, nothing."""
    shown = [_segment(segment) for segment in segments]
    secret = set()
    places = [place for place, segment in enumerate(segments) if segment]
    for place, following in itertools.zip_longest(places, places[1:]):
        word = segments[place].lower()
        if word in _USERS:
            secret |= {place, following}
        elif word in _TELLING and len(word) > 2:
            secret.add(following)
        elif "=" in word and not (following is None or _is_known(segments[following])):
            secret.add(following)  # the rest of a password with a slash
        elif not (_is_known(word) or following is None or _is_known(segments[following])):
            # Two words that no camera has of its own: user and password, as in /live/me/secret/1.
            is_file = scheme.startswith("http") and _FILE.fullmatch(segments[places[-1]])
            secret |= set() if is_file else {place, following}
    if places and scheme.startswith("rtmp"):  # a stream key
        last = segments[places[-1]]
        secret |= {places[-1]} if len(places) > 1 or not _is_known(last) else set()
    for place in secret - {None}:
        is_last = place == places[-1] and scheme.startswith("http") and "." in segments[place]
        if shown[place] == segments[place] and MASK not in shown[place] and not is_last:
            shown[place] = MASK
    return shown


def _segment(segment):
    """Masks a segment of a path that by itself shows that it holds a secret."""
    plain = urllib.parse.unquote(segment)
    if "=" in plain:
        return _named(segment) if plain == segment else MASK
    if ":" in plain or ";" in plain or _is_key(plain):
        return MASK
    return segment


def _named(segment):
    """Masks the values of a segment such as user=me_password=secret_channel=1."""
    names = list(_NAMED.finditer(segment))
    if not names:
        return MASK
    starts = [name.start() for name in names]
    before = segment[: starts[0]]
    shown = before if _is_known(before[:-1]) else MASK + before[-1]
    for name, end in zip(names, [*starts[1:], len(segment)], strict=True):
        value = segment[name.end() : end]
        bare = value.rstrip("_&;,~!?") if end < len(segment) else value
        separator = value[len(bare) :][-1:]
        is_shown = name[1].lower() in _NUMBERED and _SMALL.fullmatch(bare)
        shown += name[0] + (bare if is_shown else MASK) + separator
    return shown


def _field(field):
    """Masks a field of a query."""
    name, _, value = field.partition("=")
    if not value.strip("="):  # else the name is one, not the end of a padded key
        return field if _is_known(field) else MASK
    if name.lower() in _NUMBERED and _SMALL.fullmatch(value):
        return field
    return f"{name}={MASK}" if name.lower() in _TELLING | _NUMBERED else MASK


def _is_known(text):
    """Returns whether a text consists of words that are no secrets, and of small numbers."""
    parts = re.findall(r"[a-z]+|[0-9]+|[^a-z0-9._+-]", text.lower())
    return all(part in _WORDS or _SMALL.fullmatch(part) for part in parts)


def _is_key(text):
    """Returns whether a text has the form of a key: long, of letters and digits in turns."""
    text = re.sub(r"[-_]", "", text.partition(".")[0])
    turns = len(re.findall(r"[0-9]+|[^0-9]+", text)) - 1
    return len(text) >= 12 and (turns >= 5 or (len(text) >= 32 and " " not in text))
