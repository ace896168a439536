"""What all checked settings have in common: pydantic models that are frozen, strict, and complain in one sentence."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator, model_validator
from pydantic_core import ErrorDetails


def sentence(error: ValidationError, place: str = "") -> str:
    """The first complaint of a validation as one sentence: value, place, mend.

    Parameters
    ----------
    error : ValidationError
    place : str
        Where the settings stand, such as ``params.yaml: quick.fig3a``; put in front.
    """
    first = error.errors(include_url=False)[0]
    told = _told(first)
    return f"{place}: {told}" if place else told


def _told(first: ErrorDetails) -> str:
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    inner = [str(part) for part in first["loc"] if not (isinstance(part, str) and "[" in part)]
    name = ".".join(inner)
    if kind == "value_error":  # a check of our own: a sentence already
        text = str(context["error"])
        joint = "" if not name else " " if text[0] == "=" else "." if re.match(r"[\w.]+ = ", text) else ": "
        return f"{name}{joint}{text}"
    if kind == "missing":
        return f"`{name}` is missing: say what it is."
    shown = f"{name} = {short(value)}" if name else short(value)
    if kind == "string_pattern_mismatch":
        return f"{shown} is no name: use letters, digits and . _ - only, a letter or digit first."
    told = re.sub(r" or instance of \w+$", "", first["msg"]).replace("Input should be", "must be")
    return f"{shown} {told}." if told.startswith("must") else f"{shown}: {told[0].lower()}{told[1:]}."


def short(value: object, most: int = 80) -> str:
    """A value for a sentence; a long one is cut."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


class Settings(BaseModel):
    """Base of all settings. Whatever is wrong with them is a ``ValueError`` of one sentence, however they are made."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, hide_input_in_errors=True
    )

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ValueError(sentence(error)) from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # settings further in need not pass through it

    @model_validator(mode="before")
    @classmethod
    def _known(cls, settings: Any) -> Any:
        """An unknown name is told together with the known ones."""
        if isinstance(settings, Mapping):
            fields = cls.model_fields
            for name in settings:
                if not isinstance(name, str):
                    mend = "write `name: value` for each, and numbers with a point (0.5), not a comma."
                    raise ValueError(f"= {short(settings)}: {short(name)} is no name of a setting: {mend}")
                if name not in fields:
                    known = f"choose from {', '.join(fields)}" if fields else "there is none"
                    raise ValueError(f"unknown setting {short(name)}: {known}.")
        return settings

    @classmethod
    def of(cls, settings: Any) -> Self:
        """From a mapping, such as a section of ``params.yaml``.

        Raises
        ------
        ValueError
            In one sentence, if it is no mapping or anything in it is unknown or impossible.
        """
        if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
            raise ValueError(f"{short(settings)} must be a mapping of settings: write `name: value` for each.")
        return cls(**settings)

    def but(self, **changes: Any) -> Self:
        """The same settings with some changed, checked again."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)

    def changed(self) -> dict[str, Any]:
        """What differs from the defaults, inner settings likewise."""
        return self.model_dump(exclude_defaults=True)


def _whole(value: Any) -> Any:
    """500.0 and 500 are one number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_given(value: Any, check: Any) -> Any:
    """A float that was written as a whole number stays one: the names of records depend on it."""
    check(value)
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number."""

Real = Annotated[float, WrapValidator(_as_given)]
"""A finite number."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
"""Of a scale or an experiment: part of a path."""

Seed = Annotated[Whole, Field(ge=0, lt=1 << 63)]
