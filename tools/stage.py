"""A stage of the pipeline: papermill runs a notebook, and the terminal says how far it is.

``python tools/stage.py notebooks/some.ipynb outputs/quick/notebooks/some.ipynb -y "{scale: quick}"``, as for papermill.
"""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook")
    parser.add_argument("output", help="the executed notebook")
    parser.add_argument("-y", "--parameters", default="{}", help="YAML")
    options = parser.parse_args(arguments)

    import papermill
    import yaml

    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        options.notebook, options.output, yaml.safe_load(options.parameters), progress_bar=False, log_output=False
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
