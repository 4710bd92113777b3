"""A headless Chromium that looks at local pages: found where it is installed, never fetched."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass
class Watched:
    """A page and what it did besides being shown."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Console messages and script errors."""
    requests: list[str] = field(default_factory=list)
    """Addresses that are not part of the page itself."""


def find_browser() -> str | None:
    """Path of the first Chromium that is installed; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_browser(
    path: str,
    *,
    width: int = 1360,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
    scale: float = 1.0,
) -> Iterator[Watched]:
    """Open an empty page of a browser without network."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                device_scale_factor=scale,
                offline=True,
            )
            watched = Watched(context.new_page())
            watched.page.on("console", lambda message: watched.complaints.append(message.text))
            watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
            watched.page.on("request", lambda request: _keep(watched, request.url))
            yield watched
        finally:
            browser.close()


def _keep(watched: Watched, address: str) -> None:
    if not address.startswith("data:"):
        watched.requests.append(address)
