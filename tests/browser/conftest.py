"""A real JupyterLab and a headless Chromium. Without a Chromium these tests are left out, and one line says so.

``PSL_BROWSER=required`` makes that a failure. ``PSL_PICTURES=<folder>`` has pictures taken at two widths, on a
light and a dark page.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import ports
import pytest

TOP = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def missing(what):
    sentence = f"the browser tests are left out: {what}."
    if os.environ.get("PSL_BROWSER") == "required":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium: the system's or, where there is none, the one that playwright has fetched."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed (pip install playwright)")
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        own = playwright.chromium.executable_path
        if not found and not Path(own).exists():
            missing("there is no Chromium (apt-get install chromium, or playwright install chromium)")
        running = playwright.chromium.launch(executable_path=found or own, args=FLAGS)
        yield running
        running.close()


class Lab:
    """JupyterLab on a folder of its own: the notebooks, ``params.yaml``, and nobody's settings."""

    def __init__(self, folder):
        self.folder, (self.port,) = folder, ports.free(1)
        (folder / "notebooks").mkdir(parents=True)
        shutil.copy(TOP / "params.yaml", folder)
        for notebook in (TOP / "notebooks").glob("*.ipynb"):
            shutil.copy(notebook, folder / "notebooks")
        (folder / "docs").mkdir()
        for picture in (TOP / "docs").glob("*.png"):
            shutil.copy(picture, folder / "docs")
        home = folder / "home"
        home.mkdir()
        settings = home / "config/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        environment = os.environ | {
            "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "IPYTHONDIR": str(home / "ipython"),
            "XDG_DATA_HOME": str(home / "share"),
            "PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        for name in ("JUPYTER_PATH", "JPY_PARENT_PID"):
            environment.pop(name, None)
        self.log = (folder / "lab.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
             f"--port={self.port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
             "--LabApp.expose_app_in_browser=True", "--LabApp.news_url="],
            cwd=folder, env=environment, stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}"
        self._await()

    def _await(self):
        end = time.time() + 300  # on a busy machine
        while time.time() < end and self.process.poll() is None:
            try:
                return urllib.request.urlopen(f"{self.url}/api", timeout=5).read()
            except OSError:
                time.sleep(0.3)
        self.close()
        pytest.fail(f"JupyterLab did not start:\n{(self.folder / 'lab.log').read_text()[-2000:]}")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def open(self, browser, notebook, width=1280, height=1000):
        """A page with the notebook, its kernel idle, and all its cells run."""
        page = browser.new_page(viewport={"width": width, "height": height})
        page.add_init_script(PATIENT)
        page.set_default_timeout(600_000)  # busy cores are slow; nothing here is timed
        page.goto(f"{self.url}/lab/workspaces/auto-{width}-{os.getpid()}/tree/notebooks/{notebook}?reset")
        page.wait_for_function(READY)
        page.evaluate("() => { window.jupyterapp.shell.collapseLeft(); window.jupyterapp.shell.collapseRight(); }")
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        return page


# anywidget gives a widget two seconds to load, and drops what is sent to it for good when they have passed. Plotly's
# script has 5 MB, and there are three plots: on busy cores that is not enough.
PATIENT = "const limit = AbortSignal.timeout; AbortSignal.timeout = ms => limit.call(AbortSignal, 100 * ms);"

READY = """() => {
  const panel = window.jupyterapp?.shell?.currentWidget, kernel = panel?.sessionContext?.session?.kernel;
  return panel?.sessionContext?.isReady && kernel?.connectionStatus === "connected" && kernel?.status === "idle";
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    running = Lab(tmp_path_factory.mktemp("lab"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def picture():
    """``picture(page, name)``: with ``PSL_PICTURES`` set, pictures of the page at two widths, light and dark."""
    folder = os.environ.get("PSL_PICTURES")

    def take(page, name, selector):
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        for theme in ("Light", "Dark"):
            page.evaluate(
                f"() => window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})"
            )
            for width in (1280, 900):
                page.set_viewport_size({"width": width, "height": 2000})
                page.wait_for_timeout(2500)
                page.locator(selector).first.scroll_into_view_if_needed()
                page.wait_for_timeout(700)
                page.locator(selector).first.screenshot(path=f"{folder}/{name}-{theme.lower()}-{width}.png")
        page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
        page.set_viewport_size({"width": 1280, "height": 1000})
        page.wait_for_timeout(1500)

    return take
