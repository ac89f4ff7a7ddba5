"""From source to notebooks: the same bytes each time, `--check`, and a learner's work that is never overwritten."""

import json

import pytest

from labs.notebooks import document, generate
from labs.notebooks.command import build_in, new_in


def ran(lab, text="hello\n"):
    """The committed executed notebook with an output in every code cell, as papermill would leave it."""
    notebook = document.read(lab.executed)
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
            cell["execution_count"] = number + 500
    path = lab.root / "ran.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@pytest.fixture
def built(lab):
    assert build_in(lab.root, []) == 0
    return lab


@pytest.fixture
def saved(built):
    generate.save_executed(built, ran(built))
    return built


def edit(path, change):
    notebook = document.read(path)
    change(notebook["cells"])
    document.write(path, document.dumps(notebook))


def test_generation_is_byte_identical(built):
    before = built.learner.read_bytes(), built.executed.read_bytes()
    built.learner.unlink()
    built.executed.unlink()
    build_in(built.root, [])
    assert (built.learner.read_bytes(), built.executed.read_bytes()) == before
    ids = [cell["id"] for cell in document.read(built.learner)["cells"]]
    assert len(ids) == len(set(ids))


def test_repeated_cells_have_different_ids():
    cells = document.make([document.code("1", {}), document.code("1", {})])["cells"]
    assert cells[0]["id"] != cells[1]["id"]


def test_check_is_silent_when_all_is_well(saved, capsys):
    assert build_in(saved.root, [], check=True) == 0
    assert capsys.readouterr().err == ""


def test_check_names_file_and_cell(saved, capsys):
    edit(saved.learner, lambda cells: cells[6].update(source="changed"))
    before = saved.learner.read_bytes()
    assert build_in(saved.root, [], check=True) == 1
    assert "notebooks/start/01_small.ipynb: cell 7: source differ from the source" in capsys.readouterr().err
    assert saved.learner.read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lab: lab.learner.unlink(), "notebooks/start/01_small.ipynb: is missing"),
        (lambda lab: lab.learner.write_text("{"), "cannot be read"),
        (
            lambda lab: edit(lab.executed, lambda cells: cells.pop()),
            "solutions/start/01_small.ipynb: cell 23: is missing",
        ),
        (lambda lab: lab.source.rename(lab.source.with_name("02_other.py")), "01_small.ipynb: its source is gone"),
    ],
)
def test_check_finds_every_difference(saved, capsys, spoil, words):
    spoil(saved)
    assert build_in(saved.root, [], check=True) == 1
    assert words in capsys.readouterr().err


def test_check_finds_stale_outputs(saved, capsys):
    saved.source.write_text(saved.source.read_text().replace("range(600)", "range(700)"))
    build_in(saved.root, [])
    assert build_in(saved.root, [], check=True) == 1
    assert "its outputs come from other code than it holds. Run `lab run" in capsys.readouterr().err


def test_changed_text_keeps_the_outputs(saved):
    saved.source.write_text(saved.source.read_text().replace("Predict first.", "Guess first."))
    build_in(saved.root, [])
    assert document.has_outputs(document.read(saved.executed))
    assert build_in(saved.root, [], check=True) == 0


def test_an_untouched_notebook_follows_its_source(built):
    built.source.write_text(built.source.read_text().replace("Measure a die", "Measure two dice"))
    build_in(built.root, [])
    assert "two dice" in built.learner.read_text()


@pytest.mark.parametrize(
    "work",
    [
        lambda cells: cells[8].update(source="guess = 0.17"),
        lambda cells: cells[3].update(outputs=[{"output_type": "stream", "name": "stdout", "text": ["1"]}]),
        lambda cells: cells.append(document.markdown("my notes", {})),
    ],
)
def test_a_learners_work_is_never_overwritten(built, capsys, work):
    edit(built.learner, work)
    mine = built.learner.read_bytes()
    built.source.write_text(built.source.read_text().replace("Measure a die", "Measure two dice"))
    assert build_in(built.root, []) == 0
    assert built.learner.read_bytes() == mine
    assert "it holds somebody's work" in capsys.readouterr().out


def test_force_moves_the_work_aside_and_never_onto_earlier_work(built, capsys):
    for text in ("first", "second"):
        edit(built.learner, lambda cells, text=text: cells[8].update(source=text))
        build_in(built.root, [], force=True)
    kept = sorted(path.name for path in built.learner.parent.glob("*.mine.ipynb"))
    assert kept == ["01_small.1.mine.ipynb", "01_small.mine.ipynb"]
    assert "first" in (built.learner.parent / "01_small.mine.ipynb").read_text()
    assert "replaced notebooks/start/01_small.ipynb: the work in it is now" in capsys.readouterr().out


def test_a_broken_notebook_is_kept_as_somebodys_work(built):
    built.learner.write_text("half a noteb")
    build_in(built.root, [])
    assert built.learner.read_text() == "half a noteb"


def test_saved_outputs_do_not_name_the_machine(built):
    generate.save_executed(built, ran(built, f"{built.root}/x\n10%\r50%\r100%\ndone\n"))
    text = built.executed.read_text()
    assert str(built.root) not in text
    assert "50%" not in text
    assert "100%" in text
    assert '"execution_count": 1,' in text
    assert '"execution_count": 50' not in text


def test_answers_are_folded_in_the_executed_notebook(built):
    cells = document.read(built.executed)["cells"]
    answer = next(cell for cell in cells if cell["source"].startswith("guess = 1 / 6"))
    assert "hide-cell" in answer["metadata"]["tags"]
    assert any(cell["source"].startswith("<details>") for cell in cells)
    assert "SOLUTION" not in built.executed.read_text()


def test_new_writes_a_lab_that_reads(tmp_path, capsys):
    assert new_in(tmp_path, "week2_azure/01_data_lake", "Find what is slow") == 0
    assert build_in(tmp_path, []) == 0
    assert "# Find what is slow" in (tmp_path / "notebooks/week2_azure/01_data_lake.ipynb").read_text()
    assert new_in(tmp_path, "week2_azure/01_data_lake", "Again") == 1
    assert new_in(tmp_path, "lake", "Again") == 1
    assert "is there already" in capsys.readouterr().err
