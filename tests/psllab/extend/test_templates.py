"""``pslcore new``: what it writes works as it is."""

import runpy
import subprocess
import sys

import pytest
import torch

from pslcore import data, models
from pslcore.__main__ import main
from psllab.extend import contract, templates
from psllab.extend.method_file import of_file


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", templates.KINDS)
def test_a_file_to_begin_with_is_short_and_works(kind, here, capsys):
    assert main(["new", kind, "mine.py"]) == 0
    assert "mine.py works as it is" in capsys.readouterr().out
    text = (here / "mine.py").read_text()
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 120
    assert "THIS_FILE" not in text
    assert text.count("# ") + text.count('"""') >= 3
    if kind == "method":
        contract.check(of_file("mine.py")())
        contract.check(of_file("mine.py")(runners_up=99))
    elif kind == "network":
        network = models.build("mine.py:network", 4, 1)
        assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
        assert network.embed(torch.zeros(2, 1, 8, 8)).shape == (2, 64)
    else:
        runpy.run_path("mine.py", run_name="__main__")
        made = data.load("stripes", "data")
        assert (len(made.train), len(made.test), made.classes) == (600, 150, ("across", "down", "checked"))
    assert main(["new", kind, "mine.py"]) == 2
    assert "mine.py is there already and is left alone" in capsys.readouterr().err
    assert main(["new", kind, "mine.txt"]) == 2


def test_it_does_not_wait_for_torch(here):
    code = "import sys; from psllab import cli as __main__; __main__.main(['new', 'method', 'mine.py']); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
