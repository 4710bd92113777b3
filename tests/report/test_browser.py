"""The report in a real browser: sort, filter, open a card, without a complaint or a request."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.browser import Watched, find_browser, open_browser
from benchmarks.synthetic_batch import make_batch
from pipeline.report import html
from pipeline.report.html import write_report
from tests.report.batches import add_slide

BROWSER = find_browser()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed here"),
]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("batch")
    make_batch(out, 14, looks=1, category=True)
    add_slide(out, "nasty-1", name="<img src=x onerror=alert(1)>.svs", positive=90, negative=10)
    write_report(out)
    return out


@pytest.fixture(scope="module")
def watched(batch: Path) -> Iterator[Watched]:
    with open_browser(BROWSER or "") as opened:
        yield opened


@pytest.fixture
def shown(batch: Path, watched: Watched) -> Watched:
    watched.complaints.clear()
    watched.requests.clear()
    watched.page.goto((batch / "report.html").as_uri())
    return watched


def column(shown: Watched, place: int) -> list[str]:
    cells = shown.page.locator(f"#table tbody tr:not([hidden]) td:nth-child({place})")
    return [text.strip() for text in cells.all_inner_texts()]


def indices(shown: Watched) -> list[float | None]:
    return [None if text == "–" else float(text.split()[0]) for text in column(shown, 3)]


def test_the_page_asks_for_nothing_and_complains_of_nothing(shown: Watched, batch: Path) -> None:
    assert shown.requests == [(batch / "report.html").as_uri()]
    assert shown.complaints == []
    assert shown.page.locator("#table tbody tr").count() == 15
    decoded = "Array.from(document.images).every((i) => i.decode().then(() => true))"
    assert shown.page.evaluate(decoded)
    assert "<img src=x onerror=alert(1)>.svs" in shown.page.inner_text("#table")


def test_failed_slides_come_first_and_a_column_sorts_by_keyboard(shown: Watched) -> None:
    assert column(shown, 2)[0] == "failed"
    button = shown.page.get_by_role("button", name="Index", exact=True)
    button.focus()
    shown.page.keyboard.press("Enter")
    known = [value for value in indices(shown) if value is not None]
    assert known == sorted(known)
    assert indices(shown)[-1] is None
    shown.page.keyboard.press("Enter")
    known = [value for value in indices(shown) if value is not None]
    assert known == sorted(known, reverse=True)
    assert indices(shown)[-1] is None  # what is not known stays last
    assert shown.page.get_attribute("#table th:nth-child(3)", "aria-sort") == "descending"


def test_words_chips_and_a_range_filter_rows_and_cards(shown: Watched) -> None:
    page = shown.page
    page.keyboard.press("/")
    page.keyboard.type("case-0003")
    assert page.locator("#table tbody tr:not([hidden])").count() == 1
    assert page.locator("article:not([hidden])").count() == 1
    assert page.inner_text("#shown") == "1 of 15 shown"
    page.click("#clear")
    assert page.locator("#table tbody tr:not([hidden])").count() == 15
    page.locator("button[data-filter=status]", has_text="failed").click()
    assert set(column(shown, 2)) == {"failed"}
    page.click("#clear")
    page.fill("#low", "10")
    page.fill("#high", "40")
    assert all(value is not None and 10 <= value <= 40 for value in indices(shown))
    page.click("#clear")
    page.fill("#filter", "no such slide")
    assert page.locator("#empty").is_visible()


def test_a_name_leads_to_its_card_and_layers_and_dots_can_be_hidden(shown: Watched) -> None:
    page = shown.page
    page.get_by_role("link", name="case-0002.svs").first.click()
    card = page.locator("article:target")
    assert card.locator("h3").text_content() == "case-0002.svs"
    card.scroll_into_view_if_needed()
    layer = card.locator(".l-index")
    assert layer.is_visible()
    card.locator(".on-index").uncheck()
    assert not layer.is_visible()
    dots = card.locator(".marks").first
    assert dots.is_visible()
    page.get_by_role("button", name="off", exact=True).click()
    assert not dots.is_visible()
    page.get_by_role("button", name="red and blue").click()
    colour = card.locator(".marks .pos").first.evaluate("e => getComputedStyle(e).stroke")
    assert colour == "rgb(212, 32, 42)"
    crop = card.locator(".crop").first
    before = crop.bounding_box()
    crop.click()
    after = crop.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > before["width"]


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1360, "dark")])
def test_text_stands_out_and_nothing_leaves_the_page(
    batch: Path, watched: Watched, width: int, scheme: str
) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto((batch / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in (".quiet", ".state.good", ".state.warn", ".state.bad", ".note.bad p"):
        assert contrast(watched, selector) >= 4.5, selector
    page.set_viewport_size({"width": 1360, "height": 900})
    page.emulate_media(color_scheme="light")


def contrast(shown: Watched, selector: str) -> float:
    """Ratio of WCAG 2 between an element's text and the ground it stands on."""
    ink, ground = shown.page.locator(selector).first.evaluate(
        """element => {
          let ground = element;
          while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") {
            ground = ground.parentElement;
          }
          return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
        }"""
    )
    low, high = sorted((luminance(ink), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_slides_own_page_shows_its_linked_pictures(
    batch: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "EMBEDDED_MOST", 10)
    write_report(batch)
    watched.complaints.clear()
    watched.requests.clear()
    page = watched.page
    page.goto((batch / "report.html").as_uri())
    page.get_by_role("link", name="case-0002.svs").first.click()
    page.wait_for_load_state()
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
    page.wait_for_function("Array.from(document.images).every((i) => i.naturalWidth > 0)")
    assert "case-0002.svs" in page.title()
    assert watched.complaints == []
    assert all(address.startswith("file:") for address in watched.requests)
    page.get_by_role("link", name="all slides").first.click()
    assert page.locator("#table").is_visible()
