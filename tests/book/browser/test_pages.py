"""Pages as people see them: navigation, search, dark mode, a phone, accessibility, and weight."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
DOCUMENTS = list(
    dict.fromkeys([TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])])
)
EXAMINED = [
    "book/start/index",
    "book/start/how_to_use",
    "book/start/diagnostic",
    "book/start/what_a_cloud_costs",
    "book/quizzes/start",
    "book/week1_aws/index",
    "book/week1_aws/aws_for_ml",
    "book/week1_aws/cost_on_aws",
    "solutions/start/00_tour",
    "solutions/week1_aws/03_sagemaker_endpoint",
    "book/reference/status",
]
PHONE = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True}
MOST_BYTES = 500_000
PICTURES = {".svg", ".png", ".jpg", ".gif", ".webp", ".ico"}

per_document = pytest.mark.parametrize("name", DOCUMENTS)


@pytest.mark.parametrize("settings", [{}, {**PHONE, "color_scheme": "dark"}], ids=["light desktop", "dark phone"])
@pytest.mark.parametrize("name", EXAMINED)
def test_axe_finds_nothing_serious(visitor, name, settings):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe. Install it: ./lab setup")
    with visitor.open(name, **settings) as page:
        found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert not serious, "\n".join(serious)


@per_document
def test_a_phone_need_not_scroll_sideways(visitor, name):
    with visitor.open(name, **PHONE) as page:
        wide = page.evaluate(
            """() => [...document.querySelectorAll("article *")]
                .filter((one) => one.getBoundingClientRect().right > innerWidth + 1
                    && !one.closest("pre, figure, .pst-scrollable-table-container, .output, details:not([open])"))
                .slice(0, 3).map((one) => one.outerHTML.slice(0, 150))"""
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, wide


@per_document
def test_a_page_is_light_and_asks_nobody_else(visitor, name):
    with visitor.profile() as context:
        asked = []
        context.on("request", lambda request: asked.append(request.url))
        page = visitor.visit(context, name)
        assert not page.failures
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    files = {Path(unquote(urlsplit(url).path)) for url in asked if url.startswith("file:")}
    weights = {path.name: path.stat().st_size for path in files if path.suffix not in PICTURES}
    assert sum(weights.values()) < MOST_BYTES, sorted(weights.items(), key=lambda each: -each[1])[:5]


def test_the_side_bar_leads_from_page_to_page(visitor):
    with visitor.open("book/start/index") as page:
        page.get_by_role("link", name="Cost on AWS").first.click()
        assert page.locator("article h1").inner_text().startswith("Cost on AWS")
        page.locator("a.left-prev").click()
        page.locator("a.right-next").click()
        assert page.locator("article h1").inner_text().startswith("Cost on AWS")


def test_a_phone_opens_the_side_bar(visitor):
    with visitor.open("book/start/index", **PHONE) as page:
        link = page.get_by_role("link", name="Cost on AWS").first
        assert not link.is_visible()
        page.locator("button.primary-toggle").first.click()
        link.click()
        assert page.locator("article h1").inner_text().startswith("Cost on AWS")


def test_the_keyboard_reaches_the_content_at_once(visitor):
    with visitor.open("book/start/index") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to main content"


def test_search_works_from_disk(visitor):
    with visitor.open("book/start/index") as page:
        page.keyboard.press("Control+k")
        page.keyboard.type("coordinated omission")
        page.keyboard.press("Enter")
        page.locator("#search-results a", has_text="Percentiles").first.click()
        assert page.locator("article h1").inner_text().startswith("Percentiles")


def background(page):
    """How bright the page is, from 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    parts = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(parts) / 3


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_a_page_follows_the_system(visitor, scheme, dark):
    with visitor.open("book/start/index", color_scheme=scheme) as page:
        assert (background(page) < 100) is dark


def test_dark_mode_can_be_chosen_and_stays(visitor):
    with visitor.profile(color_scheme="light") as context:
        page = visitor.visit(context, "book/start/index")
        button = page.locator(".bd-header-article .theme-switch-button")
        for _ in range(3):  # auto, light, dark
            if background(page) < 100:
                break
            button.click()
        assert background(page) < 100
        page.goto(visitor.url("book/week1_aws/cost_on_aws"))
        assert background(page) < 100


def test_icons_are_drawn(visitor):
    with visitor.open("book/week1_aws/cost_on_aws") as page:
        page.wait_for_function("document.fonts.status === 'loaded'")
        fonts = page.evaluate(
            "[...document.fonts].filter((font) => font.status === 'loaded').map((font) => font.family)"
        )
        icons = page.evaluate(
            """() => [...document.querySelectorAll(".fa-solid, .fas")].filter((icon) => icon.checkVisibility())
                .map((icon) => icon.offsetWidth)"""
        )
    assert any("Awesome" in font for font in fonts)
    assert icons
    assert min(icons) > 5
