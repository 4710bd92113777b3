"""URLs as text: what is one, what of it may be shown, which file it names."""

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z][A-Za-z0-9+.-]+)*://")
_CHAIN = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]+(?:::|://))")
_NO_FILE_NAME = re.compile(r"[\x00-\x1f/\\]+")
_LONGEST_NAME_BYTES = 200
"""Of a local copy; file systems take 255."""


def is_url(text: object) -> bool:
    """Tell a URL from a path: a scheme of at least two letters, so ``C:/`` is a path.

    >>> is_url("s3://archive/2026/a.svs"), is_url("C:/slides/a.svs"), is_url("/slides/a.svs")
    (True, False, False)
    """
    return isinstance(text, str) and _URL.match(text) is not None


def shown(location: str) -> str:
    """Say a location as it may be written down: no user, no password, no query of a URL.

    A presigned URL is a password; only what is left here may reach logs, results and messages.

    >>> shown("https://me:secret@host:8443/a/b.svs?X-Amz-Signature=1f#x")
    'https://host:8443/a/b.svs'
    """
    if not is_url(location):
        return location
    # a password may hold two colons: only what begins like a URL is a link of a chain
    first, *more = [location] if is_web(location) else _CHAIN.split(location, maxsplit=1)
    return "::".join([_bare(first), *map(shown, more)])


def url_name(url: str) -> str:
    """Name the file of a URL as its local copy is called: safe in any folder, suffix kept."""
    name = _NO_FILE_NAME.sub("_", PurePosixPath(url_path(url)).name)
    if name in ("", ".", ".."):
        return "slide"
    path = PurePosixPath(name)
    room = _LONGEST_NAME_BYTES - len(path.suffix.encode())
    return path.stem.encode()[: max(room, 1)].decode("utf-8", "ignore") + path.suffix


def url_path(url: str) -> str:
    """Path within the store, decoded; a key of an object store is taken as it is."""
    if is_web(url):
        return unquote(urlsplit(url).path)
    return url.partition("://")[2]


def is_web(url: str) -> bool:
    """Whether it is read by HTTP, where a question mark begins the query."""
    return url.lower().startswith(("http://", "https://"))


def with_path(url: str, change: str, *, cut: str) -> str:
    """Put ``change`` in the place of the end ``cut`` of a URL's path; a web query stays.

    Raises
    ------
    ValueError
        The path does not end so.
    """
    path, mark, query = url.partition("?") if is_web(url) else (url, "", "")
    if not path.endswith(cut):
        raise ValueError(f"{shown(url)} does not end in {cut}")
    return f"{path[: len(path) - len(cut)]}{change}{mark}{query}"


def _bare(url: str) -> str:
    if "://" not in url:
        return url
    scheme, _, rest = url.partition("://")
    # a key may hold a question mark, but what follows one may be a credential
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    name, colon, port = host.rpartition("@")[2].partition(":")
    # what follows a colon and is no port may be the beginning of a password
    return f"{scheme}://{name}{colon + port if port.isdigit() else ''}{slash}{path}"
