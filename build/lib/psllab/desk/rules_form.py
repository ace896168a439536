"""The rules that protect pictures as a form: text to rules, and back."""

import re
from typing import Any

import ipywidgets as w

from psllab.album import Protect

_WORDY: Any = {"description_width": "62px"}


class RulesForm:
    """Fields for all rules but those by hand; several entries of a field are parted by semicolons."""

    def __init__(self) -> None:
        said = {
            "dates": "2024-07-01 to 2024-07-14; 2024-12-24",
            "places": "52.52, 13.40, 5 km (latitude, longitude, radius)",
            "folders": "private; 2023/birthday",
            "patterns": "*party*; scan-*.png",
        }
        fields = {
            name: w.Text(
                description=name, placeholder=example, continuous_update=False, style=_WORDY,
                layout=w.Layout(flex="1 1 340px", width="auto", min_width="280px"),
            )
            for name, example in said.items()
        }  # fmt: skip
        self.dates, self.places = fields["dates"], fields["places"]
        self.folders, self.patterns = fields["folders"], fields["patterns"]
        self.view = w.Box(list(fields.values()), layout=w.Layout(flex_flow="row wrap", width="100%"))
        for name, field in fields.items():
            field.add_class(f"psl-rule-{name}")

    def rules(self, by_hand: tuple[str, ...] = ()) -> Protect:
        """What the fields say; ``ValueError`` in one sentence if one of them makes no sense."""
        return Protect.of(
            {
                "dates": [_span(part) for part in _parts(self.dates.value)],
                "places": [_circle(part) for part in _parts(self.places.value)],
                "folders": _parts(self.folders.value),
                "patterns": _parts(self.patterns.value),
                "by_hand": list(by_hand),
            }
        )

    def fill(self, rules: Protect) -> None:
        """Show these rules."""
        days = [str(s.first) if s.first == s.last else f"{s.first} to {s.last}" for s in rules.dates]
        self.dates.value = "; ".join(days)
        self.places.value = "; ".join(f"{p.lat:g}, {p.lon:g}, {p.km:g} km" for p in rules.places)
        self.folders.value, self.patterns.value = "; ".join(rules.folders), "; ".join(rules.patterns)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _span(text: str) -> dict[str, str]:
    first, _, last = text.partition(" to ")
    return {"first": first.strip(), "last": last.strip() or first.strip()}


def _circle(text: str) -> dict[str, float]:
    numbers = re.fullmatch(r"(\S+?)\s*[, ]\s*(\S+?)\s*[, ]\s*(\S+?)\s*(?:km)?", text)
    try:
        lat, lon, km = map(float, numbers.groups() if numbers else ())
    except ValueError:
        raise ValueError(
            f"{text!r} is no place: write latitude, longitude and radius, as in 52.52, 13.40, 5 km."
        ) from None
    return {"lat": lat, "lon": lon, "km": km}
