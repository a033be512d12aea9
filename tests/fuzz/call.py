"""A call as text, and how it is written down."""

from __future__ import annotations

from typing import NamedTuple


class Call(NamedTuple):
    """A call: ``opening`` and the arguments by name; ``legal`` are those that were right before they were spoilt."""

    name: str  # of what is called: "functional.conv2d"
    opening: str  # "F.conv2d(", or "layer(layers.Conv2d, ": what the arguments are appended to
    arguments: dict[str, str]
    legal: dict[str, str] = {}  # noqa: RUF012  (never changed)

    @property
    def text(self) -> str:
        """The call as a line of Python, over the `vocabulary`."""
        return f"{self.opening}{', '.join(f'{name}={value}' for name, value in self.arguments.items())})"

    def spoilt(self) -> list[str]:
        """Return the names of the arguments that differ from the legal ones."""
        return [name for name, value in self.arguments.items() if self.legal.get(name) != value]

    def simpler(self) -> list[Call]:
        """Return the same call with one change less: an argument that is legal again, or that is left out."""
        found = []
        for name in self.spoilt():
            back = {key: value for key, value in self.arguments.items() if key != name}
            found.append(self._replace(arguments={**self.arguments, name: self.legal[name]} if name in self.legal else back))
        for name in self.arguments:
            if name not in self.spoilt():
                found.append(self._replace(arguments={key: value for key, value in self.arguments.items() if key != name}))
        return found
