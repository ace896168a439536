"""Files named by their path."""

import sys

import pytest

from psllab import userfile


@pytest.fixture
def file(tmp_path):
    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_file_is_loaded_once_as_long_as_it_is_the_same(file):
    path = file("x = []\nclass A:\n    pass\n")
    module = userfile.load(path)
    assert userfile.load(str(path)) is module
    assert sys.modules[module.A.__module__] is module
    assert userfile.attribute(f"{path}:A") is module.A
    assert userfile.load(file("x = []\nclass A:\n    pass\n", "other.py")) is module  # the bytes are its name
    changed = userfile.load(file("x = 1\n"))
    assert changed is not module
    assert changed.x == 1
    assert [each.name for each in path.parent.iterdir() if each.is_dir()] == []  # no bytecode


def test_split():
    assert [str(part) for part in userfile.split("a/b.py:C")] == ["a/b.py", "C"]
    assert [str(part) for part in userfile.split("a/b.py")] == ["a/b.py", ""]
    assert [str(part) for part in userfile.split("odd:dir/b.py:C")] == ["odd:dir/b.py", "C"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import bananas\n", "line 1: ModuleNotFoundError: No module named 'bananas'"),
        ("x = 1\n\ny = 1 / 0\n", "line 3: ZeroDivisionError: division by zero"),
        ("def f(:\n", "line 1: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        (b"x = '\xff'\n", ".*SyntaxError: .*utf-8"),
        (b"x = 1\0\n", ".*SyntaxError: source code .*null bytes"),
        ("raise Exception('a' * 999)\n", r"line 1: Exception: a{197}\.\.\."),
        ("def f(): f()\nf()", "line 1: RecursionError: maximum recursion depth"),
    ],
)
def test_a_file_that_fails_is_refused_in_a_sentence(file, text, said):
    path = file(text)
    before = set(sys.modules)
    with pytest.raises(ValueError, match=rf"mine\.py cannot be loaded \({said}.*\): mend the file\.$") as caught:
        userfile.load(path)
    assert "\n" not in str(caught.value)
    assert not {name for name in set(sys.modules) - before if name.startswith("pslcore_file")}


def test_what_is_no_file(file, tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*none\.py: give the path"):
        userfile.load(tmp_path / "none.py")
    with pytest.raises(ValueError, match="there is no file"):
        userfile.digest(tmp_path)
    with pytest.raises(ValueError, match=r"mine\.txt is no Python file"):
        userfile.load(file("x = 1", "mine.txt"))
    path = file("def g(): pass\n")
    with pytest.raises(ValueError, match=r"has no 'bananas': choose from g\."):
        userfile.attribute(f"{path}:bananas")
    with pytest.raises(ValueError, match=r"has no 'name after a colon'"):
        userfile.attribute(str(path))
