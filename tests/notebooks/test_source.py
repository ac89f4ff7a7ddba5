"""Reading py:percent sources: cells with their lines, and errors that say where."""

from pathlib import Path

import pytest

from labs.notebooks import source
from labs.notebooks.tree import LabNotFoundError, all_labs, find_labs

PATH = Path("solutions/x.py")


def test_cells_carry_kind_tags_metadata_and_line(sample_text):
    cells = source.parse(sample_text, PATH).cells
    parameters = next(cell for cell in cells if "parameters" in cell.tags)
    assert parameters.text == 'target = "local"'
    assert sample_text.splitlines()[parameters.line - 1] == '# %% tags=["parameters"]'
    assert [cell.number for cell in cells] == list(range(1, len(cells) + 1))


def test_a_marker_in_a_string_is_text():
    cells = source.parse('# %%\nx = """\n# %% no cell\n"""\n# %%\ny = 1\n', PATH).cells
    assert [cell.line for cell in cells] == [1, 5]


def test_a_written_file_and_a_magic_are_no_python():
    cells = source.parse("# %%\n# %%writefile a.py\n# import nothing\n# %%\n# %matplotlib inline\nx = 1\n", PATH).cells
    assert cells[0].tree() is None
    assert cells[1].tree() is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n\n# %%\ny = 2\n", "Begin every cell"),
        ("# %%\nx = (1\n", "not valid Python"),
    ],
)
def test_a_bad_source_is_refused_with_the_remedy(text, words):
    with pytest.raises(source.SourceError, match=words):
        source.parse(text, PATH)


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(source.SourceError, match=r"nowhere\.py: cannot be read"):
        source.read(tmp_path / "nowhere.py")


def test_any_cell_makes_a_lab_exclusive(tiny):
    assert source.parse(tiny("1", tags='["parameters", "exclusive"]'), PATH).exclusive
    assert not source.parse(tiny("1"), PATH).exclusive


def test_labs_come_in_reading_order_and_are_found_by_week_name_or_path(write_lab, tmp_path, tiny):
    for name in ("week2_azure/01_lake", "week1_aws/02_train", "start/00_tour", "capstone/01_all", "week1_aws/03_serve"):
        write_lab(name, tiny("1"))
    names = [lab.name for lab in all_labs(tmp_path)]
    assert names == [
        "start/00_tour",
        "week1_aws/02_train",
        "week1_aws/03_serve",
        "week2_azure/01_lake",
        "capstone/01_all",
    ]

    def found(*words):
        return [lab.name for lab in find_labs(words, tmp_path)]

    assert found("week1_aws") == ["week1_aws/02_train", "week1_aws/03_serve"]
    assert found("02_train") == found("week1_aws/02_train") == found("notebooks/week1_aws/02_train.ipynb")
    assert found("03_serve", "start") == ["start/00_tour", "week1_aws/03_serve"]
    with pytest.raises(LabNotFoundError, match=r"No lab is called 'week9'\. Labs: start/00_tour"):
        found("week9")
