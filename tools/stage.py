"""A stage of the pipeline: papermill runs a notebook, and the terminal says how far it is.

``python tools/stage.py notebooks/some.ipynb outputs/quick/notebooks/some.ipynb -y "{scale: quick}"``, as for papermill.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from pslcore import warm

IMPORTS = [
    "papermill",
    "ipykernel.kernelapp",
    "matplotlib_inline",
    "pslcore.vision",
    "pslcore.evidence",
    "sklearn.datasets",
]
"""What some process of a stage would import."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook")
    parser.add_argument("output", help="the executed notebook")
    parser.add_argument("-y", "--parameters", default="{}", help="YAML")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="psl-") as private:
        os.environ["PSL_PROGRESS"] = f"{private}/progress"
        os.environ["JUPYTER_RUNTIME_DIR"] = private  # sockets' paths must be short, and nobody else may look into it
        with told(Path(private) / "progress"):
            execute(options.notebook, options.output, options.parameters)
    page = Path(options.output).parents[1] / "report.html"
    if Path(options.notebook).stem == "report" and sys.stderr.isatty() and "PSL_LAST" not in os.environ:
        print(f"The page: {page}", file=sys.stderr)
    return 0


def execute(notebook: str, output: str, parameters: str) -> None:
    """Papermill, with a kernel that is talked to over sockets of this machine alone."""
    import papermill
    import yaml
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class Kernel(AsyncKernelManager):
        @default("transport")
        def _sockets(self):
            return "ipc"

        @property
        def kernel_spec(self):
            spec = super().kernel_spec
            # It is interrupted before it is shut down, and would say so; what a cell raises papermill says.
            quiet = "--IPKernelApp.log_level=50"
            if warm.there():
                command = [sys.executable, "-m", "pslcore.warm", "ipykernel.kernelapp:launch_new_instance"]
                spec.argv = [*command, "-f", "{connection_file}", "--IPKernelApp.parent_handle=1", quiet]
            elif quiet not in spec.argv:
                spec.argv = [*spec.argv, quiet]
            return spec

    Path(output).parent.mkdir(parents=True, exist_ok=True)
    given = yaml.safe_load(parameters)
    papermill.execute_notebook(notebook, output, given, progress_bar=False, kernel_manager_class=Kernel)


class told:
    """Says on the terminal, in one line, what the file of ``campaign.progress`` holds; quiet where there is none."""

    def __init__(self, file: Path, terminal=sys.stderr):
        self.file, self.terminal, self.end = file, terminal, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> None:
        if self.terminal.isatty():
            self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.end.set()
        if self.thread.is_alive():
            self.thread.join()
            self.terminal.write("\r\x1b[K")
            self.terminal.flush()

    def watch(self) -> None:
        begun = time.monotonic()
        while not self.end.wait(0.5):
            self.terminal.write(f"\r\x1b[K{line(self.file, time.monotonic() - begun)}")
            self.terminal.flush()


def line(file: Path, seconds: float) -> str:
    """What stands on the terminal."""
    stage = os.environ.get("DVC_STAGE", "stage").split(":")[-1]
    clock = f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
    if not file.exists():
        return f"{stage}: {clock}"
    now = json.loads(file.read_text())
    left = f", about {max(1, round(now['left'] / 60))} min to go" if now["left"] and now["done"] < now["of"] else ""
    return f"{stage}: {now['done']} of {now['of']} runs of {now['experiment']}{left}, {clock}"


if __name__ == "__main__":
    if warm.there() and os.environ.get("PSL_FORKED"):
        sys.exit(main(sys.argv[1:]))
    with warm.serving(IMPORTS):
        os.environ["PSL_FORKED"] = "1"
        sys.exit(warm.call(__file__, *sys.argv[1:]) if warm.there() else main(sys.argv[1:]))
