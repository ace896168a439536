"""A round trip through a real Label Studio: what `ask --label-studio` writes, and all that comes back.

    python -m venv /tmp/studio && /tmp/studio/bin/pip install label-studio     # 1.23.2; some minutes
    nice python bench/label_studio.py /tmp/studio/bin/label-studio [--exports tests/psllab/album/studio]

An album of twelve pictures, two of them private. Two people label: one skips and then answers, annotates twice,
corrects herself, is of another mind than the other, leaves a draft, chooses nothing. It is checked that the storage
serves what was asked about and nothing else, that *Sync* makes tasks of nothing else, and that each export is taken in.
``--exports`` keeps the exports, which tests read.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib import error, parse, request

import numpy as np
from PIL import Image

from psllab.album import Album, import_labels, studio_tasks

PORT, TOKEN = 8237, "0123456789" * 4
HERE = f"http://localhost:{PORT}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="label-studio, installed by pip in an environment of its own")
    parser.add_argument("--exports", type=Path, help="keep the exports in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        for number in range(12):
            path = top / "photos" / ("private" if number < 2 else "shared") / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        with Album(top / "photos", ["red", "blue"], {"folders": ["private"]}, top / "out") as album:
            pictures = album.next(8)
            root = studio_tasks(album, pictures)
        with server(options.program, root, top / "base"):
            exports = label(root)
        for name, export in exports.items():
            (top / name).write_bytes(export)
            home = shutil.copytree(top / "out", top / f"out-{name}")
            with Album(top / "photos", out=home) as album:
                print(f"{name}: {import_labels(album, top / name)}")
                print(f"  {album.labels()}\n  of two minds: {album.report().disagreements}")
            if options.exports:
                options.exports.mkdir(parents=True, exist_ok=True)
                (options.exports / name).write_bytes(export)


@contextmanager
def server(program: Path, root: Path, base: Path):
    """Label Studio with an empty base, until it is left."""
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": base, "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": root, "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "",
    }  # fmt: skip
    base.mkdir()
    command = [program, "start", "--no-browser", "--port", str(PORT), "--username", "ada@example.org"]
    command += ["--password", "secret-12", "--user-token", TOKEN]
    with open(base / "log", "wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | {name: str(value) for name, value in settings.items()}, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            for _ in range(150):
                try:
                    request.urlopen(f"{HERE}/health", timeout=5)
                    break
                except (OSError, http.client.HTTPException):
                    time.sleep(2)
            yield
        finally:
            process.terminate()
            process.wait()


class Person:
    """Somebody who is logged in."""

    def __init__(self, email: str):
        jar = CookieJar()
        self._opener = request.build_opener(request.HTTPCookieProcessor(jar))
        page = self._opener.open(f"{HERE}/user/signup/").read().decode()
        form = {"csrfmiddlewaretoken": re.search('csrfmiddlewaretoken" value="([^"]+)"', page)[1], "email": email,
                "password": "secret-12", "allow_newsletters": "false"}  # fmt: skip
        self._opener.open(
            request.Request(f"{HERE}/user/signup/", parse.urlencode(form).encode(), {"Referer": f"{HERE}/user/signup/"})
        )
        self._headers = {"X-CSRFToken": next(cookie.value for cookie in jar if cookie.name == "csrftoken")}

    def __call__(self, path: str, data=None, method: str | None = None):
        headers = self._headers | {"Content-Type": "application/json", "Referer": HERE}
        payload = None if data is None else json.dumps(data).encode()
        answer = self._opener.open(request.Request(HERE + path, payload, headers, method=method)).read()
        return json.loads(answer) if answer[:1] in (b"{", b"[") else answer


class Owner(Person):
    """Who started the server."""

    def __init__(self):
        self._opener = request.build_opener()
        self._headers = {"Authorization": f"Token {TOKEN}"}


def status(person: Person, path: str) -> int:
    try:
        person(path)
    except error.HTTPError as told:
        return told.code
    return 200


def label(root: Path) -> dict[str, bytes]:
    """What both of them do, and the exports."""
    ada = Owner()
    config = (root / "interface.xml").read_text().replace('name="label"', 'name="colour"')  # a name of their own
    project = ada("/api/projects", {"title": "an album", "label_config": config})["id"]
    tasks = json.loads((root / "tasks.json").read_text())
    (root / "beside.jpg").write_bytes(next((root / "pictures").iterdir()).read_bytes())
    storage = ada("/api/storages/localfiles", {
        "project": project, "path": str(root / "pictures"), "use_blob_urls": True, "regex_filter": ".*",
    })["id"]  # fmt: skip
    served = [status(ada, task["data"]["image"]) for task in tasks]
    assert set(served) == {200}, served
    assert status(ada, "/data/local-files/?d=beside.jpg") == 404
    ada(f"/api/projects/{project}/import", tasks[:6])
    ada(f"/api/storages/localfiles/{storage}/sync", {})
    ids = {task["id"]: task["data"] for task in ada(f"/api/tasks?project={project}&page_size=100")["tasks"]}
    synced = [data["image"] for data in ids.values() if "file" not in data]
    assert sorted(synced) == sorted(task["data"]["image"] for task in tasks), synced
    print(f"{len(tasks)} pictures are served, Sync made tasks of these {len(synced)} alone")
    first, later = list(ids)[:6], [number for number, data in ids.items() if "file" not in data]
    bob = Person("bob@example.org")

    def say(person, task: int, *words: str, **more):
        result = [{"from_name": "colour", "to_name": "image", "type": "choices", "value": {"choices": list(words)}}]
        return person(f"/api/tasks/{task}/annotations/", {"result": result if words else [], **more})["id"]

    say(ada, first[0], "red")
    say(bob, first[0], "blue")  # of another mind
    say(ada, first[1], was_cancelled=True)
    say(ada, first[1], "blue")  # skipped, then answered
    say(ada, first[2], was_cancelled=True)
    corrected = say(ada, first[3], "blue")
    say(ada, first[3], "blue")
    chosen = {"from_name": "colour", "to_name": "image", "type": "choices", "value": {"choices": ["red"]}}
    ada(f"/api/annotations/{corrected}/", {"result": [chosen]}, "PATCH")  # twice, the first one corrected later
    ada(f"/api/tasks/{first[4]}/drafts", {"result": [chosen], "lead_time": 1})
    say(ada, first[5])  # submitted without a choice
    names = [ids[task]["image"] for task in first]
    other = [task for task in later if ids[task]["image"] not in names]
    say(bob, other[0], "red")  # tasks that Sync made
    ada("/api/predictions/", {"task": other[1], "result": [chosen], "model_version": "a guess"})
    kinds = {"JSON": "json", "JSON_MIN": "min.json", "CSV": "csv"}
    address = f"/api/projects/{project}/export?download_all_tasks=true&exportType="
    return {f"export.{end}": _raw(ada, address + kind) for kind, end in kinds.items()}


def _raw(person: Person, path: str) -> bytes:
    return person._opener.open(request.Request(HERE + path, headers=person._headers)).read()


if __name__ == "__main__":
    main()
