"""The list of topics: complete, true to the book, and refused when malformed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXTENSIONS = ROOT / "book" / "_ext"
sys.path.insert(0, str(EXTENSIONS))

import topics  # noqa: E402  (extensions of the book are not a package)

PARTS = topics.read(ROOT / topics.CURRICULUM)
TOPICS = [topic for _title, part in PARTS for topic in part]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
DOCUMENTS = {chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]}
WEEKS = ("start", "week1_aws", "week2_azure", "week3_multicloud", "week4_scale_cost", "capstone")
# Pages of a week that teach no topic of their own.
FRAME = {"index", "milestone", "how_to_use"}


def test_every_lab_is_a_topics_lab() -> None:
    solutions = ROOT / "solutions"
    written = {path.relative_to(solutions).with_suffix("").as_posix() for path in solutions.rglob("[0-9]*.py")}
    missing = written - {topic.lab for topic in TOPICS}
    assert not missing, f"add to {topics.CURRICULUM}: {', '.join(sorted(missing))}"


def test_every_lecture_is_a_topics_lecture() -> None:
    pages = {name for name in DOCUMENTS if re.match(r"book/(start|week\d_\w+|capstone)/", name)}
    lectures = {name for name in pages if name.rpartition("/")[2] not in FRAME}
    missing = lectures - {name for topic in TOPICS for name in topic.lectures}
    assert not missing, f"add to {topics.CURRICULUM}: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_names_pages_of_the_course(topic: topics.Topic) -> None:
    folders = [name.removeprefix(topics.LABS).removeprefix("book/").split("/")[0] for name in topic.documents]
    assert set(folders) <= {*WEEKS, "quizzes", "assessment", "templates"}
    assert re.fullmatch(r"(\w+/\d\d_\w+)?", topic.lab)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topics_objectives_are_in_its_lecture(topic: topics.Topic) -> None:
    text = "".join((ROOT / f"{name}.md").read_text() for name in topic.lectures if (ROOT / f"{name}.md").exists())
    assert [name for name in topic.objectives if f"{{#{name}}}" not in text] == []


def test_every_objective_of_a_lecture_belongs_to_a_topic() -> None:
    lectures = {name for topic in TOPICS for name in topic.lectures if (ROOT / f"{name}.md").exists()}
    text = "".join((ROOT / f"{name}.md").read_text() for name in sorted(lectures))
    missing = set(re.findall(r"\{#((?:start|w\d)-[a-z]+-\d+)\}", text)) - {
        each for topic in TOPICS for each in topic.objectives
    }
    assert not missing, f"add to a topic in {topics.CURRICULUM}: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if not topic.lab], ids=lambda topic: topic.name)
def test_a_topic_without_a_lab_has_a_lecture_with_sources(topic: topics.Topic) -> None:
    pages = [ROOT / f"{name}.md" for name in topic.lectures if (ROOT / f"{name}.md").exists()]
    assert not pages or any("https://" in page.read_text() for page in pages), "cite a source, or plan a lab"


def test_topics_are_named_once() -> None:
    names = [topic.name for topic in TOPICS]
    assert len(set(names)) == len(names)


BANK = [
    topics.Item("w/01_a", "book/w/x", "w-1"),
    topics.Item("w/01_a", "book/w/x", "w-2"),
    topics.Item("", "book/w/y", ""),
]


@pytest.mark.parametrize(
    ("topic", "state", "items"),
    [
        (topics.Topic("all there", ("book/w/x",), "w/01_a"), "there", 2),
        (topics.Topic("by objective", ("book/w/x",), "", ("w-2",)), "there", 1),
        (topics.Topic("lecture only", ("book/w/y",)), "there", 1),
        (topics.Topic("no lab yet", ("book/w/x",), "w/02_b"), "in part", 0),
        (topics.Topic("no lecture yet", ("book/w/z",), "w/01_a"), "in part", 2),
        (topics.Topic("two pages, one there", ("book/w/x", "book/w/z")), "in part", 2),
        (topics.Topic("nothing", ("book/w/z",), "w/02_b"), "planned", 0),
        (topics.Topic("nothing, no lab wanted", ("book/w/z",)), "planned", 0),
    ],
    ids=lambda value: value.name if isinstance(value, topics.Topic) else "",
)
def test_a_topic_is_there_only_with_all_its_pages(topic: topics.Topic, state: str, items: int) -> None:
    assert topic.state({"book/w/x", "book/w/y", "solutions/w/01_a"}) == state
    assert topics.count(topic, BANK) == items


def test_banks_say_what_their_items_are_about(tmp_path: Path) -> None:
    (tmp_path / "w.yml").write_text(
        "sections:\n- lab: w/01_a\n  lecture: book/w/x\n  items:\n  - {id: a, objective: w-1}\n"
        "  - {id: b, lecture: w/y.md#part}\n"
    )
    (tmp_path / "v.yml").write_text("lab: v/01_b\nitems:\n- {id: c}\n")
    assert topics.items(tmp_path) == [
        topics.Item("v/01_b", "", ""),
        topics.Item("w/01_a", "book/w/x", "w-1"),
        topics.Item("w/01_a", "book/w/y", ""),
    ]


@pytest.fixture
def build(tmp_path: Path):
    """Build a book of one lab with a curriculum; returns the process and the page's HTML."""

    def run(curriculum: str) -> tuple[subprocess.CompletedProcess[str], str]:
        (tmp_path / "conf.py").write_text(
            f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\nextensions = ['myst_parser', 'topics']\n"
        )
        for name in ("book/quizzes", "solutions/w"):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / topics.CURRICULUM).write_text(curriculum)
        (tmp_path / "solutions/w/01_a.md").write_text("# Try it\n")
        (tmp_path / "index.md").write_text("# Topics\n\n```{topics}\n```\n\n```{toctree}\nsolutions/w/01_a\n```\n")
        command = [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-n",
            "-W",
            "--keep-going",
            str(tmp_path),
            str(tmp_path / "out"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        page = tmp_path / "out" / "index.html"
        return done, page.read_text() if page.exists() else ""

    return run


def test_what_is_not_in_the_book_is_planned(build) -> None:
    done, page = build(
        "parts:\n- {title: One, topics: [{topic: T, lecture: book/w/x, lab: w/01_a}, {topic: U, lecture: book/w/x}]}\n"
    )
    assert done.returncode == 0, done.stderr
    assert "0 of 2 topics are there</strong>, 1 in part, 1 are planned" in page
    assert 'href="solutions/w/01_a.html"' in page
    assert page.count("x (planned)") == 2


@pytest.mark.parametrize(
    ("curriculum", "said"),
    [
        ("parts:\n- {title: One, topics: [{topic: T}]}\n", "T: needs `topic`, and `lecture` or `lab` or both"),
        ("parts:\n- {title: One, topics: [{lab: w/01_a}]}\n", "needs `topic`"),
        ("parts:\n- {title: One, topics: [{topic: T, lab: w/01_a, done: yes}]}\n", "T: unknown keys done"),
        ("weeks: []\n", "must hold `parts`"),
        ("parts: [\n", "must hold `parts`"),
    ],
)
def test_a_malformed_list_fails_the_build_and_names_file_and_topic(build, curriculum: str, said: str) -> None:
    done, _page = build(curriculum)
    assert done.returncode != 0
    assert "index.md:3" in done.stderr
    assert topics.CURRICULUM in done.stderr
    assert said in done.stderr
