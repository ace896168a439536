"""Whatever is asked of a network is answered from one pass, with the bits of a pass for each question."""

import pytest
import torch

from pslcore import models, strategies
from pslcore.losses import entropy
from pslcore.sides.cloud import ask
from pslcore.strategies import LL4AL

KINDS = {
    "resnet8": (3, 9, 7), "fast_cnn": (3, 16, 16), "linear": (20, 1, 1), "mlp16": (20, 1, 1),
    "drn_d_22": (1, 16, 24), "lraspp_mobilenet_v3_small": (1, 16, 24),
}  # fmt: skip
METHODS = [strategies.kind(name) for name in strategies.names()]
ASKED = {method.requires for method in METHODS} | {method.requires_labelled for method in METHODS}
ASKED = sorted({*ASKED, ("logits", "features", "entropy", "auxiliary"), ("auxiliary", "entropy")} - {()})


@pytest.fixture(scope="module", params=KINDS)
def made(request):
    """A network, its auxiliary module, three batches of images, and what a pass for each question answers."""
    torch.manual_seed(0)
    network = models.build(request.param, 4, KINDS[request.param][0])
    auxiliary = LL4AL().auxiliary(network)
    batches = [torch.randn(n, *KINDS[request.param]) for n in (3, 3, 2)]
    network.eval()
    questions = {
        "logits": network, "features": network.embed, "entropy": lambda x: entropy(network(x)),
        "auxiliary": lambda x: auxiliary(network.stage_maps(x)),
    }  # fmt: skip
    with torch.no_grad():
        apart = {name: torch.cat([question(batch) for batch in batches]) for name, question in questions.items()}
    return network, auxiliary, batches, apart


@pytest.mark.parametrize("what", ASKED, ids=" ".join)
def test_one_pass_has_the_bits_of_several(made, what, monkeypatch):
    network, auxiliary, batches, apart = made
    passes, maps = [], network.stage_maps
    monkeypatch.setattr(network, "stage_maps", lambda x: passes.append(len(x)) or maps(x))
    answers = ask(network, what, iter(batches), auxiliary)
    assert passes == [len(batch) for batch in batches]
    assert list(answers) == list(what)
    for name, answer in answers.items():
        assert torch.equal(torch.from_numpy(answer), apart[name]), name


@pytest.mark.parametrize("what", [("features",), ("auxiliary",)], ids=" ".join)
def test_logits_that_nobody_asks_for_are_not_made(made, what, monkeypatch):
    """Enlarged to the size of the image they are no trifle."""
    network, auxiliary, batches, _ = made
    monkeypatch.setattr(network, "from_maps", None)
    assert list(ask(network, what, iter(batches), auxiliary)) == list(what)
