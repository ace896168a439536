"""Over TLS, by the commands of the page: what a client among strangers does costs the others nothing."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import ports
import pytest
import torch
from PIL import Image

from pslcore import federated
from pslcore.data import load
from pslcore.runs import records, unpacked

pytest.importorskip("flwr", reason="flwr is not installed: pip install '.[federated]'")

from psllab import flower
from psllab.flower import apart

sys.path.insert(0, str(Path(__file__).parent))
from machines import BIN, environment, machines, processes, until

PAGE = Path(__file__).parents[3] / "docs" / "federated.md"
CPU = torch.device("cpu")
CLIENTS, LATE = 4, 90  # the last of them misbehaves
SETTINGS = {
    "dataset": "ours", "method": "psl", "setting": "standard", "initial": 40, "budget": 20, "final": 60,
    "clients": CLIENTS, "rounds": 5,
    "recipe": {"epochs": 1, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False},
}  # fmt: skip
MISDEEDS = """
import os, signal, time
from psllab.flower import apps

honest = apps._step

def step(message, *rest):
    reply, number = honest(message, *rest), message.content.config_records["step"]["number"]
    if reply.weights is None:
        return reply  # a selection, between the third round and the fourth
    name = next(iter(reply.weights))
    tensor = reply.weights[name]
    if number == 0:
        reply.weights[name] = tensor[:-1]
    elif number == 1:
        reply.weights[name] = tensor * float("nan")
    elif number == 2:
        reply.weights[name] = tensor + 1e30
    elif number == 4:
        time.sleep(LATE + 5)
    else:
        os.kill(os.getpid(), signal.SIGKILL)
    return reply

apps._step = step
"""


def commands(word):
    """Of the page's section on TLS, those that begin with a word."""
    section = PAGE.read_text().split("## TLS")[1].split("\n## ")[0].replace("\\\n", " ")
    return [line for line in section.splitlines() if line.startswith(word)]


def pictures(folder, rng, size):
    for split, many in (("train", size), ("test", 10)):
        for name in "ab":
            (folder / split / name).mkdir(parents=True)
        for number in range(many):
            pixels = rng.integers(0, 128, (8, 8, 3), dtype=np.uint8) + np.uint8(100 * (number % 2))
            Image.fromarray(pixels).save(folder / split / "ab"[number % 2] / f"{number}.png")


@pytest.fixture
def homes(tmp_path):
    rng = np.random.default_rng(0)
    pictures(tmp_path / "data" / "ours", rng, 10)
    for number, size in enumerate((60, 80, 70, 60)):
        home = tmp_path / f"home{number}"
        pictures(home / "data" / "mine", rng, size)
        kept = [f"train/{'ab'[row % 2]}/{row}.png" for row in rng.permutation(size)[: size // 2].tolist()]
        (home / "protected.txt").write_text("\n".join(kept))
    return tmp_path


class Without(federated.Local):
    """The honest clients in this process."""

    def __init__(self, config, homes):
        self.sites = []
        for number in range(CLIENTS - 1):
            home = homes / f"home{number}"
            dataset, places = apart.own("mine", home / "data", [3, 8, 8])
            protocol = apart.member(config, number, dataset, home / "protected.txt", places=places)
            self.sites.append(federated.Site(protocol, number, CPU))

    def ask(self, step, weights):
        error = "" if step.kind == "pick" else "gone"
        return [*super().ask(step, weights), federated.Reply(CLIENTS - 1, error=error)]

    def summary(self):
        return []


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("ssh-keygen")), reason="needs openssl and ssh-keygen")
def test_five_misdeeds_and_a_node_without_a_key_change_no_bit(homes):
    config = federated.FederatedConfig.of(SETTINGS)
    protocol = apart.between(config, load("ours", homes / "data"))
    _, expected = federated.serve(protocol, CPU, federated.new_shelf(None, protocol), Without(config, homes))
    bad, (link, *listen) = homes / "bad", ports.free(CLIENTS + 2)
    bad.mkdir()
    (bad / "sitecustomize.py").write_text(MISDEEDS.replace("LATE", str(LATE)))
    final = homes / "results" / f"{config.key}.weights.pt"
    with machines(CLIENTS + 1) as (server, at):
        env = environment(homes, f'address = "{server}:{link}"\nroot-certificates = "{homes}/ca.pem"')

        def run(*words, on=at[0]):
            return subprocess.run([*on, *words], env=env, cwd=homes, capture_output=True, text=True, timeout=100)

        def words(command, number=0):
            command = command.replace("SERVER", server).replace("8000", str(link))
            return command.replace("client0", f"client{number}").replace("partition-id=0", f"partition-id={number}")

        for command in [*commands("openssl")[:2], *commands("echo"), *commands("openssl")[2:]]:
            assert run("sh", "-c", words(command.replace("DNS:", "IP:"))).returncode == 0
        for number in range(CLIENTS + 1):
            assert run(*shlex.split(words(commands("ssh-keygen")[0], number))).returncode == 0
        with processes(homes, env) as start:
            start("superlink", *at[0], *shlex.split(words(commands("flower-superlink")[0])))
            nodes = []

            def registered():
                (command,) = commands("flwr supernode register")
                command = words(command, len(nodes)).replace("CONNECTION", "here --format json")
                told = run(*shlex.split(command))
                if "node-id" in told.stdout:
                    nodes.append(int(json.loads(told.stdout)["node-id"]))
                return len(nodes) == CLIENTS

            until(registered, "the start of the superlink", 120)
            for number in range(CLIENTS + 1):  # the last of them was not registered
                home = homes / f"home{number % CLIENTS}"
                command = words(commands("flower-supernode")[0], number % CLIENTS).replace(
                    f"-key client{number % CLIENTS}", f"-key client{number}"
                )
                command = command.replace('"state" root="data"', f'"{homes}/state{number}" root="{home}/data"')
                command = command.replace('"protected.txt"', f'"{home}/protected.txt"')
                more = {"PYTHONPATH": f"{bad}:{env['PYTHONPATH']}"} if number == CLIENTS - 1 else {}
                start(f"node{number}", *at[number + 1], *shlex.split(command), "--port", str(listen[number]), **more)
            app = flower.bundle(
                homes / "app", config, homes / "results", homes / "data", "cpu", 120, LATE, apart=True, nodes=nodes
            )
            begun = run(BIN / "flwr", "run", app, "here")
            assert begun.returncode == 0, begun.stdout + begun.stderr
            until(final.exists, "the end of the run", 500)
    failed = records.read(final.with_name(f"{config.key}.json"))["failed"]
    assert [(entry["round"], entry["client"]) for entry in failed] == [(round_, CLIENTS - 1) for round_ in range(5)]
    for entry, told in zip(failed, ("shape", "no number", "times as far", "did not answer", ""), strict=True):
        assert told in entry["error"]
    given = unpacked(final)
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], expected[name]) for name in expected)
    assert not (homes / f"state{CLIENTS}").exists()
