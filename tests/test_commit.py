"""Which commit this code is: asked of git, recorded in a build, unknown, and never a stranger's."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dmftnet import commit as module
from dmftnet.commit import RECORD, source_commit

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def git(tmp_path):
    """Runs git in a repository of its own."""

    def git(*arguments):
        own = ["-c", "user.name=a", "-c", "user.email=b@c", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *own, *arguments]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    git("init", "-q")
    return git


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder ``src`` that holds the code in question."""
    file = tmp_path / "src" / "commit.py"
    file.parent.mkdir()
    shutil.copyfile(ROOT / "src" / "commit.py", file)
    monkeypatch.setattr(module, "__file__", str(file))
    return file


def test_a_clone_names_its_commit_and_what_differs_from_it(source, git):
    git("add", ".")
    git("commit", "-q", "-m", "ours")
    head = git("rev-parse", "HEAD")
    assert source_commit() == source_commit(building=True) == head and len(head) == 40
    source.with_name("new.py").write_text("")  # which a wheel would hold
    assert source_commit() == head and source_commit(building=True) == f"{head}+dirty"
    source.write_text("changed")
    assert source_commit() == f"{head}+dirty"


def test_a_file_that_no_wheel_holds_leaves_a_build_clean(source, git, tmp_path):
    git("add", ".")
    git("commit", "-q", "-m", "ours")
    (tmp_path / "notes.txt").write_text("")
    assert source_commit(building=True) == git("rev-parse", "HEAD")


@pytest.mark.parametrize("record", [None, "abc123+dirty"])
def test_a_strangers_repository_is_not_named(source, git, record):
    """A virtual environment, or an unpacked sdist, inside somebody's repository."""
    git("commit", "-q", "--allow-empty", "-m", "theirs")
    if record:
        source.with_name(RECORD).write_text(f"{record}\n")
    assert source_commit() == source_commit(building=True) == (record or "unknown")


@pytest.mark.parametrize("record", [None, "abc123"])
def test_without_git_the_record_counts(source, monkeypatch, record):
    def no_git(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    if record:
        source.with_name(RECORD).write_text(f"{record}\n")
    assert source_commit() == (record or "unknown")


def test_a_repository_without_a_commit_names_none(source, git):
    git("add", ".")
    assert source_commit() == "unknown"
