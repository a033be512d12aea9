"""What a gradient check found, array by array, and its table."""

from __future__ import annotations

from typing import NamedTuple


class Checked(NamedTuple):
    """The check of one array: a row of the report.

    Attributes
    ----------
    name : str
        ``input``, or the parameter's name.
    shape : tuple of int
    checked : int
        Elements looked at, without those at kinks.
    kinks : int
        Elements at which the function has a corner or a jump, and the gradient computed is between the slopes on both sides: not judged.
    error : float
        Largest relative error |a - b| / max(1e-8, |a| + |b|) of the elements checked; 0 if there are none.
    where : tuple of int
        The element that has it.
    computed, numerical : float
        Its two gradients.
    verdict : str
        "ok"; "wrong"; "kinks only" where nothing could be judged; "frozen"; "empty".
    """

    name: str
    shape: tuple[int, ...]
    checked: int = 0
    kinks: int = 0
    error: float = 0.0
    where: tuple[int, ...] = ()
    computed: float = 0.0
    numerical: float = 0.0
    verdict: str = "ok"


class GradientCheck(NamedTuple):
    """What `gradient_check` found; printed, it is a table.

    Attributes
    ----------
    rows : tuple of Checked
        The input's, if it was asked for, and one for each parameter.
    eps, tolerance : float
        As given.
    """

    rows: tuple[Checked, ...]
    eps: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether no gradient is wrong, and every array had elements that could be judged (or is frozen or empty)."""
        return all(row.verdict in ("ok", "frozen", "empty") for row in self.rows)

    @property
    def error(self) -> float:
        """Largest relative error of all arrays."""
        return max((row.error for row in self.rows), default=0.0)

    def report(self) -> str:
        """Return a table with a row for each array, and the verdict on all of them."""
        head = ("name", "shape", "checked", "kinks", "worst error", "at", "computed", "numerical", "verdict")
        table = [head]
        for row in self.rows:
            found = (f"{row.error:.1e}", str(row.where), f"{row.computed:.6g}", f"{row.numerical:.6g}") if row.checked else ("",) * 4
            table.append((row.name, str(row.shape), str(row.checked), str(row.kinks), *found, row.verdict))
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        text = [left + right for left, right in ((f"{line[0]:<{widths[0]}}", _columns(line[1:], widths[1:])) for line in table)]
        rule = "-" * max(map(len, text))
        verdict = "passed" if self.passed else "FAILED"
        last = f"gradient check {verdict}: central differences at {self.eps:g}, relative error up to {self.tolerance:g} allowed"
        return "\n".join([text[0], rule, *text[1:], rule, last])

    def __str__(self) -> str:
        return self.report()


def _columns(cells: tuple[str, ...], widths: list[int]) -> str:
    return "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
