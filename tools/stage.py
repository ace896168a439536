"""A stage of the pipeline: papermill runs a notebook, and the terminal says how far it is.

``python tools/stage.py notebooks/some.ipynb outputs/quick/notebooks/some.ipynb -y "{scale: quick}"``, as for papermill;
``python tools/stage.py runs quick`` makes all runs of a scale; ``lacking quick`` says what keeps it from the pipeline.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, redirect_stderr
from pathlib import Path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", help="or `runs`, `lacking`")
    parser.add_argument("output", help="the executed notebook; of `runs` and `lacking` the scale")
    parser.add_argument("-y", "--parameters", default="{}", help="YAML")
    options = parser.parse_args(arguments)
    if lacks := lacking(options.output) if options.notebook in ("runs", "lacking") else "":
        print(lacks, file=sys.stderr)
    if lacks or options.notebook == "lacking":
        return bool(lacks)
    with tempfile.TemporaryDirectory(prefix="psl-") as private:
        os.environ["PSL_PROGRESS"] = f"{private}/progress"
        os.environ["JUPYTER_RUNTIME_DIR"] = private  # sockets' paths must be short, and nobody else may look into it
        with told(Path(private) / "progress"):
            if options.notebook == "runs":
                return run_all(options.output)
            execute(options.notebook, options.output, options.parameters)
    page = Path(options.output).parents[1] / "report.html"
    if Path(options.notebook).stem == "report" and sys.stderr.isatty() and "PSL_LAST" not in os.environ:
        print(f"The page: {page}", file=sys.stderr)
    return 0


def lacking(scale: str) -> str:
    """A sentence, if the pipeline has stages of experiments that the scale does not have, or nobody knows the scale."""
    from psllab.report import page

    try:
        lacks = page.lacking(scale)
    except ValueError as error:
        return str(error)
    some = ", ".join([*lacks[:4], *["…"] * (len(lacks) > 4)])
    return f"Scale {scale} has no {some}: `make repro` makes its runs and its page without dvc." if lacks else ""


def run_all(scale: str) -> int:
    """Every run of the scale, and a list of their keys; whether a sentence says why that could not be."""
    from pslcore.runs import records
    from psllab import grid

    try:
        with open(os.devnull, "w") as bar, redirect_stderr(bar):  # the one line on the terminal says it
            found = grid.run(grid.ALL, scale)
        keys = sorted(cell.config.key for cell, _ in found.runs)
        records.write_bytes(Path("outputs", scale, "runs.json"), json.dumps(keys, indent=0).encode())
    except (ValueError, OSError, grid.GridError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def execute(notebook: str, output: str, parameters: str) -> None:
    """Papermill, with a kernel that is talked to over sockets of this machine alone."""
    import papermill
    import yaml
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import Unicode

    class Kernel(AsyncKernelManager):
        transport = Unicode("ipc")

    Path(output).parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        notebook, output, yaml.safe_load(parameters), progress_bar=False, kernel_manager_class=Kernel,
        # It is interrupted before it is shut down, and would say so; what a cell raises papermill says.
        extra_arguments=["--IPKernelApp.log_level=50"],
    )  # fmt: skip
    up = os.path.relpath(Path(notebook).parents[1], Path(output).parent)  # its pictures are seen from elsewhere now
    Path(output).write_text(Path(output).read_text().replace("](../", f"]({up}/"))


@contextmanager
def told(file: Path, terminal=sys.stderr):
    """Says on the terminal, in one line, what the file of ``progress.tell`` holds; quiet where there is none."""
    end, begun = threading.Event(), time.monotonic()

    def watch() -> None:
        while not end.wait(0.5):
            terminal.write(f"\r\x1b[K{line(file, time.monotonic() - begun)}")
            terminal.flush()

    if not terminal.isatty():
        yield
        return
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        terminal.write("\r\x1b[K")
        terminal.flush()


def line(file: Path, seconds: float) -> str:
    """What stands on the terminal."""
    stage = os.environ.get("DVC_STAGE", "stage").split(":")[-1]
    clock = f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
    if not file.exists():
        return f"{stage}: {clock}"
    now = json.loads(file.read_text())
    left = f", about {max(1, round(now['left'] / 60))} min to go" if now["left"] and now["done"] < now["of"] else ""
    whose = "" if stage == "runs" else f" of {now['experiment']}"
    return f"{stage}: {now['done']} of {now['of']} runs{whose}{left}, {clock}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
