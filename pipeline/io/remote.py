"""Slides named by URL: which texts are URLs."""

import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::|://)")


def is_url(text: object) -> bool:
    """Tell a URL from a path: a scheme of at least two letters, so ``C:/`` is a path.

    >>> is_url("s3://archive/2026/a.svs"), is_url("C:/slides/a.svs"), is_url("/slides/a.svs")
    (True, False, False)
    """
    return isinstance(text, str) and _SCHEME.match(text) is not None
