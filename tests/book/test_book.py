"""The book: a bare build without warning or local cloud, pages that are there, and nothing from the net."""

import inspect
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

from labs.commands import course

ROOT = Path(__file__).parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
DOCUMENTS = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
LABS = [name for name in DOCUMENTS if name.startswith("solutions/")]

per_document = pytest.mark.parametrize("name", DOCUMENTS)


def page(html, name):
    return BeautifulSoup((html / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def article(html, name):
    return page(html, name).find("article")


def test_the_first_page_leads_to_the_start_page(html):
    assert f"{TOC['root']}.html" in (html / "index.html").read_text()


@per_document
def test_a_page_is_there_with_one_title(html, name):
    titles = article(html, name).find_all("h1")
    assert len(titles) == 1
    assert titles[0].get_text(strip=True)


@per_document
def test_links_and_files_of_a_page_exist(html, name):
    broken = []
    for tag, attribute in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")):
        for element in page(html, name).find_all(tag, attrs={attribute: True}):
            link = urlsplit(element[attribute])
            if link.scheme or link.netloc or not link.path:
                continue
            target = (html / name).parent / unquote(link.path)
            if not target.exists():
                broken.append(element[attribute])
    assert not broken


@per_document
def test_anchors_within_a_page_exist(html, name):
    soup = page(html, name)
    ids = {element["id"] for element in soup.find_all(id=True)}
    wanted = {a["href"][1:] for a in soup.find("article").find_all("a", href=re.compile("^#."))}
    assert wanted <= ids


@per_document
def test_pictures_have_alt_text_of_their_own(html, name):
    texts = [image.get("alt", "") for image in article(html, name).find_all("img")]
    assert all(len(text) > 15 and not text.endswith((".png", ".svg")) for text in texts), texts
    assert len(set(texts)) == len(texts)


@per_document
def test_a_page_loads_nothing_from_the_net(html, name):
    soup = page(html, name)
    loading = [
        *(element.get("src") for element in soup.find_all(["script", "img", "iframe", "video", "audio", "source"])),
        *(element.get("href") for element in soup.find_all("link")),
    ]
    assert not [url for url in loading if url and re.match("(https?:)?//", url)]
    inline = " ".join(script.get_text() for script in soup.find_all("script"))
    assert not re.findall(r"https?://[^\s\"']*(?:cdn|unpkg|jsdelivr|googleapis)[^\s\"']*", inline)


def test_styles_load_nothing_from_the_net(html):
    imports = re.compile(r"(?:@import\s+(?:url\()?|url\()\s*[\"']?(?:https?:)?//", re.IGNORECASE)
    assert not [path.name for path in html.rglob("*.css") if imports.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", LABS)
def test_a_lab_offers_its_notebook_without_answers(html, name):
    link = article(html, name).select_one(".learner-copy a[href]")
    file = (html / name).parent / unquote(link["href"])
    learner = ROOT / f"notebooks/{name.removeprefix('solutions/')}.ipynb"
    assert file.read_bytes() == learner.read_bytes()


@pytest.mark.parametrize("name", LABS)
def test_a_lab_opens_in_the_jupyterlab_of_lab_start(html, name):
    link = article(html, name).select_one('.learner-copy a[href*="/lab/tree/"]')["href"]
    server, notebook = link.split("/lab/tree/")
    assert server == f"http://127.0.0.1:{inspect.signature(course.start).parameters['port'].default}"
    assert (ROOT / "notebooks" / notebook).is_file()


@pytest.mark.parametrize("name", LABS)
def test_a_labs_answers_are_folded(html, name):
    source = (ROOT / f"{name}.py").read_text()
    shown = article(html, name)
    assert "SOLUTION" not in shown.get_text()
    if "# BEGIN SOLUTION" in source:
        assert shown.select("details.hide")


def test_every_lab_is_in_the_book():
    written = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "solutions").rglob("[0-9]*.py")}
    assert written == set(LABS)
