"""VAAL: variational adversarial active learning (Sinha, Ebrahimi & Darrell, ICCV 2019).

A variational autoencoder and a discriminator play for the latent code: the one wants labelled and unlabelled images
to look alike, the other to tell them apart. The images that look least labelled are picked. Both networks live on the
client and train on ``D_L`` and ``D_U``, protected images included; they never meet the task learner.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pslcore.data import Endless, Floats, Indices, Plan
from pslcore.recipe import answer, fresh
from pslcore.settings import Real, Whole
from pslcore.sides import Client
from pslcore.strategies.base import ClientLearner, Query, Setup, Strategy, top
from pslcore.streams import torch_stream


class VAAL(Strategy):
    """Top ``b`` by how little an image looks labelled. Uploads nothing that is unlabelled.

    Attributes
    ----------
    latents, width : int
        Size of the latent code, and channels of the first convolution; each further one doubles them. For vectors see
        ``VectorVAE``.
    beta : float
        Weight of the KL term.
    adversarial : float
        Weight of the adversarial term (``lambda_2``).
    kl_reduction : {"mean", "sum"}
        *Decision*: the mean over images and latents, like the squared error beside it. The authors' code sums over
        the batch, which drowns the squared error and leaves the discriminator at 0.5.
    lr : float
        Of Adam, for both networks.
    vae_steps : int
        Steps of the autoencoder, per step of the discriminator and of the task learner.
    """

    latents: Whole = Field(default=32, ge=1, le=4096)
    width: Whole = Field(default=128, ge=1, le=4096)
    beta: Real = Field(default=1.0, ge=0, le=1e6)
    adversarial: Real = Field(default=1.0, ge=0, le=1e6)
    kl_reduction: Literal["mean", "sum"] = "mean"
    lr: Real = Field(default=5e-4, ge=0, le=1000)
    vae_steps: Whole = Field(default=2, ge=1, le=1000)

    def learner(self, client: Client, setup: Setup) -> "Adversaries":
        return Adversaries(self, client, setup)

    def pick(self, query: Query) -> Indices:
        return top(query, query.scores)


class VAE(nn.Module):
    """Encoder of 4x4 convolutions with stride 2 and batch norm, linear latents, a mirrored decoder.

    For 32x32 colour images four convolutions, 128 to 1,024 channels: 22,835,139 parameters, as in the authors' code.
    A smaller image gets as many as leave it two pixels, but one at least; a larger one four.
    """

    def __init__(self, channels: int, size: tuple[int, ...], width: int = 128, latents: int = 32):
        super().__init__()
        depth = min(4, max(1, int(math.log2(min(size))) - 1))
        widths = [width * 2**k for k in range(depth)]
        self.small = tuple(extent // 2**depth for extent in size)
        self.start = tuple(max(1, extent // 2 ** (depth - 1)) for extent in size)
        if min(self.small) < 1:
            raise ValueError(f"images of {size[0]}x{size[1]} pixels are too small for VAAL: it needs 2x2 at least.")
        self.encoder = nn.Sequential()
        for before, after in zip([channels, *widths], widths, strict=False):
            self.encoder += _normed(nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after))
        flat = widths[-1] * self.small[0] * self.small[1]
        self.mean, self.log_variance = nn.Linear(flat, latents), nn.Linear(flat, latents)
        self.expand = nn.Linear(latents, widths[-1] * self.start[0] * self.start[1])
        self.decoder = nn.Sequential()
        for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.decoder += _normed(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after))
        self.decoder.append(nn.ConvTranspose2d(widths[0], channels, 1))
        _initialise(self)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent code, [N, latents] each."""
        flat = self.encoder(images).flatten(1)
        return self.mean(flat), self.log_variance(flat)

    def decode(self, code: Tensor, size: tuple[int, ...]) -> Tensor:
        """Images [N, C, H, W] from codes; sizes that are no power of two are met by enlarging."""
        images = self.decoder(self.expand(code).view(len(code), -1, *self.start))
        return images if images.shape[-2:] == size else F.interpolate(images, size, mode="bilinear")


class VectorVAE(nn.Module):
    """For vectors, in place of convolutions two linear layers with batch norm, and the same two mirrored.

    *Decision*: the authors have no form for vectors; hidden layers of four and two times ``width`` stand for the
    channels of their convolutions.
    """

    def __init__(self, features: int, width: int = 128, latents: int = 32):
        super().__init__()
        widths = [features, 4 * width, 2 * width]
        self.encoder, self.decoder = nn.Sequential(nn.Flatten()), nn.Sequential()
        for before, after in pairwise(widths):
            self.encoder += _normed(nn.Linear(before, after, bias=False), nn.BatchNorm1d(after))
        for before, after in pairwise([latents, *widths[:0:-1]]):
            self.decoder += _normed(nn.Linear(before, after, bias=False), nn.BatchNorm1d(after))
        self.decoder.append(nn.Linear(widths[1], features))
        self.mean, self.log_variance = nn.Linear(widths[-1], latents), nn.Linear(widths[-1], latents)

    def encode(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent code, [N, latents] each."""
        hidden = self.encoder(vectors)
        return self.mean(hidden), self.log_variance(hidden)

    def decode(self, code: Tensor, size: tuple[int, ...]) -> Tensor:
        """Vectors [N, D, 1, 1] from codes."""
        return self.decoder(code)[..., None, None]


def _normed(layer: nn.Module, norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, norm, nn.ReLU())


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def discriminator(latents: int = 32) -> nn.Sequential:
    """Latents-512-512-1; gives the logit of "labelled". 280,065 parameters."""
    hidden = nn.Linear(latents, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()
    layers = nn.Sequential(*hidden, nn.Linear(512, 1), nn.Flatten(0))
    _initialise(layers)
    return layers


class Adversaries(nn.Module, ClientLearner):
    """The autoencoder and the discriminator on the client."""

    def __init__(self, options: VAAL, client: Client, setup: Setup):
        super().__init__()
        self._options, self._client, self._recipe = options, client, setup.recipe
        size = next(client.store.plain(client.pools.labelled[:1])).shape[-2:]
        seed, cycle = setup.seed, setup.cycle
        vae: Callable[..., VAE | VectorVAE] = VectorVAE if size == (1, 1) else partial(VAE, size=size)
        build = partial(vae, client.channels, width=options.width, latents=options.latents)
        self.vae = fresh(build, seed, "vaal-vae-init", cycle, client.device)
        judge = partial(discriminator, options.latents)
        self.discriminator = fresh(judge, seed, "vaal-discriminator-init", cycle, client.device)
        if setup.weights is not None:
            self.load_state_dict(setup.weights)
        adam = partial(torch.optim.Adam, lr=options.lr, fused=size == (1, 1))
        self._optimisers = {name: adam(network.parameters()) for name, network in self.named_children()}
        self._noise = torch_stream(seed, "vaal-noise", cycle)
        batches = partial(Endless, padding=setup.recipe.padding, flip=setup.recipe.flip, zoom=setup.recipe.zoom)
        self._labelled = batches(client.pools.labelled, generator=torch_stream(seed, "vaal-labelled", cycle))
        self._unlabelled = batches(client.pools.unlabelled, generator=torch_stream(seed, "vaal-unlabelled", cycle))
        self._loss = torch.zeros((), device=client.device)

    def study(self, plan: Plan, teacher_logits: Tensor | None) -> None:
        """Per step of the task learner: ``vae_steps`` of the autoencoder, then one of the discriminator."""
        store = self._client.store
        for step in range(self._options.vae_steps):
            labelled = plan if step == 0 else self._labelled.draw(len(plan))
            unlabelled = self._unlabelled.draw(len(plan))
            if unlabelled is None or labelled is None:
                return
            images = store.batch(labelled), store.batch(unlabelled)
            with self._recipe.autocast(images[0]):
                loss = self._vae_loss(*images)
            self._descend("vae", loss)
        with torch.no_grad(), self._recipe.autocast(images[0]):
            codes = [self.vae.encode(x)[0].float() for x in images]
        guesses = [self.discriminator(code) for code in codes]
        truth = [torch.ones_like(guesses[0]), torch.zeros_like(guesses[1])]
        self._descend("discriminator", _cross_entropies(guesses, truth))

    def _vae_loss(self, labelled: Tensor, unlabelled: Tensor) -> Tensor:
        """Reconstruction and KL of both batches, and the adversarial term: all should look labelled."""
        loss, guesses = labelled.new_zeros(()), []
        for images in (labelled, unlabelled):
            mean, log_variance = (x.float() for x in self.vae.encode(images))
            noise = torch.randn(mean.shape, generator=self._noise).to(mean.device)
            rebuilt = self.vae.decode(mean + noise * (log_variance / 2).exp(), images.shape[-2:]).float()
            kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp())
            kl = kl.mean() if self._options.kl_reduction == "mean" else kl.sum()
            loss = loss + F.mse_loss(rebuilt, images) + self._options.beta * kl
            guesses.append(self.discriminator(mean).float())
        return loss + self._options.adversarial * _cross_entropies(guesses, [torch.ones_like(g) for g in guesses])

    def _descend(self, name: str, loss: Tensor) -> None:
        self._optimisers[name].zero_grad()
        loss.backward()
        self._optimisers[name].step()
        self._loss = self._loss + loss.detach()

    def check(self) -> None:
        if not torch.isfinite(self._loss):
            raise FloatingPointError("the training of VAAL's autoencoder diverged: lower its option `lr`.")

    def score(self, batches: Iterator[Tensor]) -> Floats:
        """Minus the logit of "labelled", [N]: its order is that of the probability, without its rounding to 0 or 1."""
        return answer(self, batches, lambda images: (-self.discriminator(self.vae.encode(images)[0]),))[0].numpy()

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.cpu() for name, tensor in self.state_dict().items()}


def _cross_entropies(guesses: list[Tensor], truth: list[Tensor]) -> Tensor:
    """Of the labelled batch and of the unlabelled one."""
    labelled, unlabelled = map(F.binary_cross_entropy_with_logits, guesses, truth)
    return labelled + unlabelled
