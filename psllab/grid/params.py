"""``params.yaml``: every experiment at every scale. Its form, what an experiment amounts to, and its JSON schema."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from pslcore import federated, runs
from pslcore.federated import FederatedConfig
from pslcore.runs import CloudOf, Config, Record
from pslcore.settings import Name, Settings, Whole, sentence
from psllab.userfile import Once

BASE = "base"
"""The section of a scale that all of its experiments start from."""

LOOKS = "looks"
"""The key of a scale that says after how many paired seeds its verdicts are passed."""

ALL = "all"
"""Named in place of an experiment: every one of the scale, but Table 2, which is timed and keeps no records."""

CEILING = "all safe images labelled"
"""The curve of ``ceiling: true``: what the whole pool is worth, of which any choice is a part."""


def _without(*names: str) -> AfterValidator:
    def check(settings: dict[str, Any]) -> dict[str, Any]:
        for name in names:
            if name in settings:
                said = f"{name} = {settings[name]!r}"
                raise ValueError(f"{said} does not belong here: it follows from `{name}s`; leave it out.")
        return settings

    return AfterValidator(check)


Shared = Annotated[dict[str, Any], _without("seed", "method")]
_SHARED: TypeAdapter[dict[str, Any]] = TypeAdapter(Shared, config={"strict": True})
Label = Annotated[str, Field(min_length=1, max_length=100)]


def _rising(interim: list[int]) -> list[int]:
    if interim != sorted(set(interim)):
        raise ValueError(f"= {interim} must rise: each interim analysis has more seeds than the one before.")
    return interim


Looks = Annotated[list[Annotated[Whole, Field(ge=2, le=1_000_000)]], Field(min_length=1), AfterValidator(_rising)]
"""Numbers of paired seeds, fixed before the first run."""


class Plan(Settings):
    """Of a scale: what is no experiment.

    Attributes
    ----------
    base : dict
        What all experiments of the scale start from.
    looks : list of int
        Paired seeds at which verdicts are passed, and at no other number; without it at all seeds.
    """

    base: Shared = Field(default_factory=dict)
    looks: Looks | None = None


class Experiment(Settings):
    """An experiment at a scale.

    Attributes
    ----------
    config : dict
        Laid over the scale's ``base``: settings of ``Config``, or of ``FederatedConfig`` where there are ``clients``.
    methods : dict
        The label of each curve, and what is its own: ``method`` and ``options`` at least.
    seeds : int
        Runs of each method, with the seeds from 0; fewer if the ``seeds`` at the top of the file are.
    ceiling : bool
        One more run a seed, ``all safe images labelled``: the task learner on all that may leave the client.
    """

    config: Shared = Field(default_factory=dict)
    methods: dict[Label, Annotated[dict[str, Any], _without("seed")]] = Field(min_length=1)
    seeds: Whole = Field(ge=1, le=1_000_000)
    ceiling: bool = False


@dataclass(frozen=True)
class Cell:
    """One run of an experiment: the label of its curve and its config."""

    label: str
    config: Config


def top() -> Path:
    """The top of the repository: the nearest folder with a ``params.yaml``, from the current one upwards.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").exists():
            return folder
    raise FileNotFoundError(f"there is no params.yaml in {here} or above: start inside the repository.")


class Scales(Settings):
    """The file: the ``scale`` in use, and of each scale its ``base`` and its experiments.

    ``seeds`` cuts every experiment to its first ones, so that a scale can be stopped at an interim analysis.
    """

    scale: Name = "quick"
    seeds: Whole | None = Field(default=None, ge=1)
    scales: dict[Name, dict[Name, Any]] = Field(min_length=1)


def scales(params: str | Path = "params.yaml") -> dict[str, dict[str, Any]]:
    """All scales of the parameter file, their sections still as they are written.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or not what it should be.
    """
    return _content(params).scales


def _content(params: str | Path) -> Scales:
    try:
        content = deepcopy(_parsed(Path(params).read_text("utf-8")))  # whoever has it may change it
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{params} is missing: run from the top of the repository, or name one.") from error
    except OSError as error:
        raise OSError(f"{params} cannot be read ({error.strerror}): name a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{params} cannot be read ({' '.join(str(error).split())}): mend that line.") from error
    try:
        return Scales.of(content)
    except ValueError as error:
        raise ValueError(f"{params}: {error}") from None


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """The same text is parsed once: it takes a third of a second, and every claim asks for it."""
    return yaml.load(text, Once)


def experiments(scale: str, params: str | Path = "params.yaml") -> list[str]:
    """The names of all experiments of a scale; ``ValueError`` if it is unknown."""
    return [name for name in _scale(scale, params) if name not in Plan.model_fields]


def interim(scale: str, params: str | Path = "params.yaml") -> tuple[int, ...]:
    """The paired seeds at which a scale is judged; none where it is judged by all that there are.

    Raises
    ------
    ValueError
        If the scale is unknown, or they are not what they should be.
    """
    try:
        return tuple(Plan(looks=_scale(scale, params).get(LOOKS)).looks or ())
    except ValueError as error:
        raise ValueError(f"{params}: {scale}: {error}") from None


def _scale(scale: str, params: str | Path) -> dict[str, Any]:
    known = scales(params)
    if scale not in known:
        raise ValueError(f"unknown scale {scale!r}: choose one of {', '.join(known)}.")
    return known[scale]


def section(experiment: str, scale: str, params: str | Path = "params.yaml") -> tuple[dict[str, Any], Experiment]:
    """The scale's ``base`` and one of its experiments.

    Raises
    ------
    ValueError
        If the scale or the experiment is unknown, or a section is not what it should be.
    """
    known = experiments(scale, params)
    if experiment not in known:
        raise ValueError(f"unknown experiment {experiment!r} at scale {scale!r}: choose one of {', '.join(known)}.")
    try:
        base = _SHARED.validate_python(_scale(scale, params).get(BASE, {}))
    except ValidationError as error:
        raise ValueError(sentence(error, f"{params}: {scale}.{BASE}")) from None
    try:
        return base, Experiment.of(_scale(scale, params)[experiment])
    except ValueError as error:
        raise ValueError(f"{params}: {scale}.{experiment}: {error}") from None


def cells(experiment: str, scale: str, params: str | Path = "params.yaml") -> list[Cell]:
    """The runs of an experiment at a scale, seed by seed, so that what an interrupted grid has is paired.

    Of ``ALL`` those of every experiment, each labelled by the first that has it.

    Raises
    ------
    ValueError
        As ``section``; or if a setting is unknown or impossible.
    """
    if experiment == ALL:
        once: dict[str, Cell] = {}
        for name in experiments(scale, params):
            for cell in cells(name, scale, params) if name != "table2" else ():
                once.setdefault(cell.config.key, Cell(f"{name}: {cell.label}", cell.config))
        return sorted(once.values(), key=lambda cell: cell.config.seed)
    base, said = section(experiment, scale, params)
    shared = merge(base, said.config)
    curves: list[tuple[str, Config]] = []
    try:
        for label, own in said.methods.items():
            curves.append((label, config_of(merge(shared, own, {"seed": 0}))))
        label = CEILING
        if said.ceiling:
            curves.append((label, _ceiling(shared)))
    except ValueError as error:
        raise ValueError(f"{params}: {scale}.{experiment}: {label}: {error}") from None
    # A curve is checked once: nothing but the seed is another in its other runs.
    seeds = range(said.seeds)[: _content(params).seeds]
    return [Cell(label, config.model_copy(update={"seed": seed})) for seed in seeds for label, config in curves]


def _ceiling(shared: Mapping[str, Any]) -> Config:
    """One cycle on all safe images, with nothing to pick any more."""
    config = config_of(merge(shared, {"method": "random", "seed": 0}))
    if not config.fraction:
        raise ValueError("it needs the protected setting, elsewhere it would be the whole training set: leave it out.")
    safe = round(1 - config.fraction, 12)
    return config.but(initial=safe, final=safe)


def config_of(settings: Mapping[str, Any]) -> Config:
    """A config of one cloud or, where ``clients`` are named, of a federation."""
    federation = isinstance(settings, Mapping) and "clients" in settings
    return (FederatedConfig if federation else Config).of(settings)


def run_one(
    config: Config, root: str | Path, folder: Path | None = None, device: str = "auto", deadline: float | None = None,
    cloud: CloudOf | None = None,
) -> Record:  # fmt: skip
    """Run what ``config_of`` made; with the task learner elsewhere, if ``cloud`` makes one."""
    if not isinstance(config, FederatedConfig):
        return runs.run(config, root, folder, device, deadline, cloud)
    if cloud is not None:
        raise ValueError("a federation has a server of its own, see docs/federated.md: leave `cloud` away.")
    return federated.run(config, root, folder, device, deadline)


def check(runs_of: Iterable[Cell], root: str | Path, where: str) -> None:
    """Raise ``ValueError`` or ``OSError`` if one of the runs cannot be made on its data set."""
    for cell in runs_of:
        try:
            _ = (federated if isinstance(cell.config, FederatedConfig) else runs).resolve(cell.config, root)
        except ValueError as error:
            raise ValueError(f"{where}: {cell.label}: {error}") from None


def source(config: Config) -> str:
    """Fingerprint of the code that would run it today."""
    return federated.fingerprint(config) if isinstance(config, FederatedConfig) else runs.fingerprint(config)


def merge(*settings: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings laid over each other, inner ones too; the last one wins."""
    merged: dict[str, Any] = {}
    for setting in settings:
        for name, value in setting.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = merge(merged[name], value) if both else value
    return merged
