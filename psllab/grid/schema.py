"""What may stand in ``params.yaml``, for editors (``params.schema.json``) and for people (``docs/settings.md``).

Both are written from the very classes that check the settings: ``python -m psllab.grid.schema``.
"""

import inspect
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pslcore import strategies
from pslcore.federated import FederatedConfig
from pslcore.recipe import Recipe
from pslcore.runs import Config, records
from pslcore.settings import Settings
from psllab.grid.params import BASE, LOOKS, Experiment, Plan

_ELSEWHERE = ("seed", "method")  # an experiment says them by `seeds` and `methods`


def json_schema() -> dict[str, Any]:
    """JSON schema of ``params.yaml``. Settings are laid over each other, so that none is required in any one place."""
    settings = FederatedConfig.model_json_schema()
    shared = {name: form for name, form in settings["properties"].items() if name not in _ELSEWHERE}
    experiment, interim = Experiment.model_json_schema(), Plan.model_json_schema()["properties"][LOOKS]
    own = {"method": settings["properties"]["method"], **shared}
    options = [
        {"if": {"properties": {"method": {"const": name}}, "required": ["method"]},
         "then": {"properties": {"options": strategies.kind(name).model_json_schema()}}}
        for name in strategies.names()
    ]  # fmt: skip
    experiment["properties"]["config"] = {"$ref": "#/$defs/Shared"}
    experiment["properties"]["methods"] = {
        "type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/Own"},
    }  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "params.yaml",
        "type": "object",
        "additionalProperties": False,
        "required": ["scales"],
        "properties": {
            "scale": {"type": "string", "description": "The scale that `dvc repro` works at."},
            "seeds": {"type": "integer", "minimum": 1, "description": "The most seeds that an experiment runs."},
            "scales": {"type": "object", "additionalProperties": {
                "type": "object", "properties": {BASE: {"$ref": "#/$defs/Shared"}, LOOKS: interim},
                "additionalProperties": {"$ref": "#/$defs/Experiment"},
            }},
        },
        "$defs": settings["$defs"] | {
            "Shared": {"type": "object", "additionalProperties": False, "properties": shared},
            "Own": {"type": "object", "additionalProperties": False, "properties": own, "allOf": options},
            "Experiment": experiment,
        },
    }  # fmt: skip


def reference() -> str:
    """All settings as Markdown: name, what it takes, default, meaning."""
    parts = [
        "# The settings\n\nWritten by `make schema` from the classes that check them. An experiment of `params.yaml`\n"
        "lays its `config` over the scale's `base`, and each method's own settings over both.\n",
        _section("A scale, beside its experiments", Plan),
        _section("An experiment", Experiment),
        _section("A config", Config),
        _section("A federated config has these too", FederatedConfig, set(Config.model_fields) - {"teacher"}),
        _section("The recipe", Recipe),
        "## The options of each method\n",
    ]
    for name in strategies.names():
        kind = strategies.kind(name)
        parts.append(_section(f"`{name}`", kind, level=3) if kind.model_fields else f"### `{name}`\n\nNone.\n")
    return "\n".join(parts)


def _section(title: str, settings: type[Settings], leave_out: Collection[str] = (), level: int = 2) -> str:
    schema, meanings = settings.model_json_schema(), _meanings(settings)
    rows = [
        f"| `{name}` | {_takes(form)} | {_default(name, form, schema)} | {meanings.get(name, '')} |"
        for name, form in schema["properties"].items() if name not in leave_out
    ]  # fmt: skip
    return "\n".join(
        [f"{'#' * level} {title}\n", "| setting | takes | default | meaning |", "|---|---|---|---|", *rows, ""]
    )


def _takes(form: dict[str, Any]) -> str:
    if (named := [one for one in form.get("anyOf", ()) if "enum" in one]) and len(form["anyOf"]) > len(named):
        return f"{_takes(named[0])}, or [one of your own](your_network.md)"
    if "enum" in form:
        return " or ".join(f"`{value}`" for value in form["enum"])
    words = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text",
             "array": "list"}  # fmt: skip
    kinds = {one["type"] for one in form.get("anyOf", [form]) if "type" in one} - {"null"}
    text = words.get("".join(kinds), "mapping")
    bounds = [("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below")]
    return text + "".join(f" {word} {form[bound]:,}" for bound, word in bounds if bound in form)


def _default(name: str, form: dict[str, Any], schema: dict[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "–"
    return f"`{json.dumps(form['default'])}`" if "default" in form else "none of its own"


def _meanings(settings: type[Settings]) -> dict[str, str]:
    """From the section ``Attributes`` of the docstring, that of a parent class included."""
    found: dict[str, str] = {}
    for cls in reversed(settings.__mro__):
        _, _, attributes = inspect.cleandoc(cls.__doc__ or "").partition("Attributes\n----------\n")
        names: list[str] = []
        for line in attributes.splitlines():
            if re.match(r"[\w, ]+ : ", line):
                names = line.partition(" : ")[0].split(", ")
                found |= dict.fromkeys(names, "")
            elif line.startswith("    "):
                found |= {name: f"{found[name]} {line.strip()}".strip().replace("``", "`") for name in names}
            elif line:
                break
    return found


def write(top: str | Path = ".") -> list[Path]:
    """Write both below the top of the repository; their paths."""
    texts = {"params.schema.json": json.dumps(json_schema(), indent=1) + "\n", "docs/settings.md": reference()}
    for name, text in texts.items():
        records.write_bytes(Path(top) / name, text.encode())
    return [Path(top) / name for name in texts]


if __name__ == "__main__":
    print("written:", *write())
