"""How long work tells a person where it is, without knowing whether that is a terminal or a log."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the advance of one piece of work. Called from one thread."""

    def begin(self, what: str, *, total: int | None, unit: str) -> None:
        """Starts a bar; `total` is None where nobody knows it."""
        ...

    def advance(self, amount: int = 1, *, volume: int = 0) -> None:
        """Counts what is done; `volume` is the bytes that were moved for it."""
        ...

    def end(self) -> None: ...


class Silent:
    """Progress nobody watches."""

    def begin(self, what: str, *, total: int | None, unit: str) -> None:
        pass

    def advance(self, amount: int = 1, *, volume: int = 0) -> None:
        pass

    def end(self) -> None:
        pass
