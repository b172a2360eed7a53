"""The digest of the user's files changes with what his model is made from,
and with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from augmint.studies.foreign import digest_of, source_files

FILES = {
    "net.py": "import torch\nfrom blocks import unit\nimport parts.deep as deep\n",
    "blocks.py": "def unit():\n    from lazy import late\n    return late\n",
    "lazy.py": "late = 1\nimport blocks\n",
    "parts/__init__.py": "",
    "parts/deep.py": "from . import wide\nfrom .narrow import x\n",
    "parts/wide.py": "",
    "parts/narrow.py": "x = 1\n",
    "other.py": "import net\n",
    "torch_notes.txt": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(folder: Path) -> str:
    return digest_of(source_files(folder / "net.py"), folder)


def test_what_is_imported_counts_and_nothing_else(folder: Path) -> None:
    found = {p.relative_to(folder).as_posix() for p in source_files(folder / "net.py")}
    assert found == {n for n in FILES if n.endswith(".py")} - {"other.py"}


@pytest.mark.parametrize("name", [n for n in FILES if n not in ("other.py", "torch_notes.txt")])
def test_an_edit_anywhere_is_another_network(folder: Path, name: str) -> None:
    before = digest(folder)
    (folder / "other.py").write_text("changed = 1\n")
    assert digest(folder) == before
    (folder / name).write_text((folder / name).read_text() + "# edited\n")
    assert digest(folder) != before


def test_a_file_that_does_not_parse_still_counts(folder: Path) -> None:
    (folder / "net.py").write_text("import blocks\ndef broken(:\n")
    assert source_files(folder / "net.py") == [folder / "net.py"]


def test_the_place_of_the_folder_does_not_matter(folder: Path, tmp_path: Path) -> None:
    before = digest(folder)
    moved = folder.rename(folder.parent / f"{folder.name}-moved")
    assert digest(moved) == before
