"""`make` where people put it: odd paths, no .git, a worktree, root. With stand-ins for what takes long."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PYTHON = """#!/bin/sh
# Stands in for an interpreter: notes its arguments, makes what `-m venv` makes.
echo python "$@" >> "$NOTES"
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$NOTED" "$3/bin/dvc"; fi
"""
NOTED = '#!/bin/sh\necho "${0##*/}" "$@" >> "$NOTES"\n'


class Place:
    """A copy of what `make` reads, in a folder of that name, and the commands that it called there."""

    def __init__(self, folder, name):
        self.top, self.stubs, self.notes = folder / name, folder / "stubs", folder / "notes"
        for made in (self.top / ".dvc", self.stubs):
            made.mkdir(parents=True)
        for file in ("Makefile", "pyproject.toml", "requirements.lock", "params.yaml"):
            shutil.copy(TOP / file, self.top / file)
        self.stub("python-there", PYTHON)
        for name in ("jupyter", "noted"):
            self.stub(name, NOTED)

    def stub(self, name, text):
        (self.stubs / name).write_text(text)
        (self.stubs / name).chmod(0o755)

    def make(self, *given):
        """The commands that were called, one a line."""
        environment = {
            "PATH": f"{self.stubs}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "NOTES": str(self.notes),
            "NOTED": str(self.stubs / "noted"),
        }
        self.notes.write_text("")
        command = ["make", f"PYTHON={self.stubs / 'python-there'}", *given]
        done = subprocess.run(command, cwd=self.top, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.notes.read_text().splitlines()


@pytest.fixture
def place(tmp_path):
    return lambda name="plain": Place(tmp_path, name)


@pytest.mark.parametrize("name", ["plain", "Übung mit Leerzeichen", "it's (1) & more", "a;b"])
def test_any_path_will_do(place, name):
    there = place(name)
    (there.top / ".git").mkdir()
    called = there.make("env")
    assert called[1:] == [
        "python -m venv .venv",
        "python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .[dev]",
    ]
    assert (there.top / ".venv/ready").exists()
    assert there.make("env") == []


def test_an_environment_elsewhere(place, tmp_path):
    there = place()
    assert f"python -m venv {tmp_path / 'far'}" in there.make("env", f"VENV={tmp_path / 'far'}")
    assert (tmp_path / "far/ready").exists()


def test_another_installer(place):
    there = place()
    there.stub("quick", NOTED)
    assert "quick install --constraint requirements.lock --editable .[dev]" in there.make(
        "env", "INSTALL=quick install"
    )


def test_without_git_dvc_is_told_so(place):
    there = place()
    told = "dvc config --quiet --local core.no_scm true"
    assert there.make("env")[-1] == told  # a ZIP
    assert there.make("env") == [told]
    (there.top / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert there.make("env") == []
    (there.top / ".dvc/config.local").unlink()
    (there.top / ".git").write_text("gitdir: elsewhere\n")  # a worktree
    assert there.make("env") == []


@pytest.mark.parametrize(("user", "option"), [(0, " --allow-root"), (1000, "")])
def test_root_may_open_the_lab(place, user, option):
    there = place()
    there.stub("id", f"#!/bin/sh\necho {user}\n")
    where = "--LabApp.default_url=/lab/tree/notebooks"  # from the top, or pictures of docs/ are out of its reach
    assert there.make("-o", "env", "lab") == [f"jupyter lab{option} {where}"]
    assert there.make("-o", "env", "lab", "LAB=--ip=0.0.0.0") == [f"jupyter lab{option} {where} --ip=0.0.0.0"]


@pytest.mark.slow
def test_the_pipeline_is_read_without_git(tmp_path):
    """What `make env` says to dvc is enough, and needed."""
    for name in (".dvc/config", ".dvcignore", "dvc.yaml", "dvc.lock", "params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(TOP / name, tmp_path / name)

    def dvc(*given):
        environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
        command = [Path(sys.executable).parent / "dvc", *given]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    assert "is not a git repository" in dvc("stage", "list")[1]
    assert dvc("config", "--quiet", "--local", "core.no_scm", "true") == (0, "")
    status, told = dvc("stage", "list", "--name-only")
    assert status == 0, told
    assert "report" in told.split()
