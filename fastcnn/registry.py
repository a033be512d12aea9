"""Operations and their variants: one folder per operation, one file per variant, found by looking into the folder.

A variant is a module that defines one function per *direction* that it computes, each with the parameters of the same function in
the folder's `reference.py`, and, if it cannot do everything, ``refuses(problem) -> str | None`` with the reason; ``ERROR_GROWTH``
where it rounds worse than sums of products in the working precision, ``WARNS = False`` where NumPy never warns in it. That one file
gives it its tests, benchmarks and table rows. Which variant serves a call is `Operation.choose`: of the ordered preference, those that
have the direction, do not refuse and are precise enough (``PRECISION``, "highest" unless a module says "high" or "medium"); of these the
cheapest by ``cost(problem, direction) -> float``, an estimate of the time in vector multiply-adds, or the first where none estimates.

A variant may say how it computes on arrays of known memory: ``plan(problem, direction, channels_last, dtype)`` returns a function that
takes the arguments of the direction behind `problem` as flat C-contiguous arrays. The two images among them (input and output; their
gradients) are NHWC in memory where `channels_last` (a flag each) says so, else NCHW; operations on no images have no flags. It is for the
threads that the caller has now, and must not warn; None where there is none for such memory. Calls that are like earlier ones go straight
to it; see `plans`.

A variant that reorders its weights may take them reordered: ``packing(problem, dtype) -> (key, pack)``, where weights packed under equal
keys are interchangeable, and ``forward_packed``, a `forward` that takes what ``pack(weight)`` returned and then ``relu=0``: 1 raises the
result to 0, 2 limits it to 6 as well. It may take ``residual=None``, which is added before that. Its ``cost`` has a third parameter,
``packed=False``. ``packed_plan(problem, channels_last, dtype, relu, residual)`` is `plan` for packed weights: a function of x, weight, bias
and y, and of the residual if that is true; None where `forward_packed` has to be asked.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from . import options, tuning
from .window import shown

DIRECTIONS = ("forward", "backward_input", "backward_weight")
PRECISIONS = ("highest", "high", "medium")  # torch's names: plain sums; algebra that rounds more; bfloat16 products


_REMEMBERED = 4096  # choices of an operation; making one costs as much as a small kernel


class RegistryError(ImportError):
    """A variant's file does not keep the rules; the message names the file and the mend."""


class Case(NamedTuple):
    """A named problem of an operation, for tests or benchmarks."""

    name: str
    problem: Any


class Variant:
    """One way to compute an operation."""

    def __init__(
        self,
        name: str,
        directions: Mapping[str, Callable[..., None]],
        refuses: Callable[[Any], str | None] | None = None,
        cost: Callable[..., float] | None = None,
        precision: str = "highest",
        packing: Callable[..., Any] | None = None,
        forward_packed: Callable[..., None] | None = None,
        packed_plan: Callable[..., Callable[..., None] | None] | None = None,
    ) -> None:
        self.name = name
        self.directions = dict(directions)
        self.precision = precision
        self.packing, self.forward_packed, self.packed_plan = packing, forward_packed, packed_plan
        self._refuses, self._cost = refuses, cost

    def refuses(self, problem: Any, direction: str) -> str | None:
        """Return why this variant does not compute `direction` of `problem`; None where it does."""
        if direction not in self.directions:
            return f"has no {direction}"
        return self._refuses(problem) if self._refuses else None

    def cost(self, problem: Any, direction: str, packed: bool = False) -> float | None:
        """Return an estimate of the time of `direction` in vector multiply-adds; None where the variant makes none.

        With `packed` without what packing the weight takes, where the variant can be given a packed one.
        """
        if not self._cost:
            return None
        return self._cost(problem, direction, True) if packed and self.packing else self._cost(problem, direction)

    def __repr__(self) -> str:
        return f"<variant {self.name}: {', '.join(self.directions)}>"


class Operation:
    """An operation: its variants, the order in which they are tried, and the cases on which they are tested and timed.

    Parameters
    ----------
    package : str
        The operation's package; its name is the operation's, its modules are the variants (`problem` and names with
        an underscore apart).
    preference : sequence of str
        Variants in the order of automatic choice; ends in "reference". Others are reached by `algorithm=` only.
    problem : module
        Defines ``CASES`` and ``BENCH`` (lists of `Case`), ``arguments(problem, direction, dtype, rng)`` (the inputs of a
        direction), ``outputs(problem, direction, dtype)`` (empty arrays for its results), ``work(problem, direction)`` (FLOPs),
        ``traffic(problem, direction, dtype)`` (bytes read and written at least) and ``reduction(problem, direction)`` (terms per sum).
        With ``from_options(op, ...)``, see `fastcnn.options`, users describe problems of their own.
    """

    def __init__(self, package: str, preference: Sequence[str], problem: ModuleType) -> None:
        self.name = package.rpartition(".")[2]
        self.folder = Path(importlib.import_module(package).__path__[0])
        self.problem = problem
        self.options = options.options_of(problem)
        self.variants = _discover(package)
        self._choices: dict[Any, Callable[..., None]] = {}
        self.preference = tuple(preference)
        if self.preference[-1:] != ("reference",) or not set(self.preference) <= set(self.variants):
            known = sorted(self.variants)
            raise RegistryError(f"{package}: preference must name variants of {known} and end in 'reference'; got {preference}")

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of this operation: those of its reference."""
        return tuple(self.variants["reference"].directions)

    def case(self, given: Mapping[str, Any], name: str | None = None) -> Case:
        """Return the problem that options describe, see `fastcnn.options`; TypeError or ValueError where they describe none."""
        checked = options.check(self.name, self.options, given)
        return Case(name or options.name_of(self.options, checked), self.problem.from_options(self.name, **checked))

    def choose(
        self, problem: Any, direction: str, algorithm: str = "auto", op: str | None = None, precision: str = "high"
    ) -> Callable[..., None]:
        """Return the function that computes `direction` of `problem`; `op` is the public function that errors speak of.

        Raises
        ------
        ValueError
            `algorithm` is unknown, or refuses the problem (the message has its reason).
        """
        if isinstance(algorithm, str) and algorithm == "auto":
            key = problem, direction, precision, tuning.state()
            choice = self._choices.get(key)
            if choice is None:
                choice = self.variants[self.candidates(problem, direction, precision)[0][0]].directions[direction]
                if len(self._choices) >= _REMEMBERED:
                    self._choices.clear()
                self._choices[key] = choice
            return choice
        if not isinstance(algorithm, str) or algorithm not in self.variants:
            raise ValueError(f"{op or self.name}: algorithm must be 'auto' or one of {sorted(self.variants)}; got {shown(algorithm)}")
        variant = self.variants[algorithm]
        reason = variant.refuses(problem, direction)
        if reason is not None:
            raise ValueError(f"{op or self.name}: algorithm {algorithm!r} cannot compute {direction} of this problem: {reason}")
        return variant.directions[direction]

    def candidates(self, problem: Any, direction: str, precision: str = "high", packed: bool = False) -> list[tuple[str, float | None]]:
        """Return (variant, its cost) of the automatic choice, best first: by cost, then those without an estimate by preference.

        Before all comes what was measured to be the fastest, where such results count (see `tuning`) and the weights are not `packed`.
        """
        level = PRECISIONS.index(precision)
        able = [
            (name, self.variants[name].cost(problem, direction, packed))
            for name in self.preference
            if PRECISIONS.index(self.variants[name].precision) <= level and self.variants[name].refuses(problem, direction) is None
        ]
        fastest = None if packed else tuning.choice(self, problem, direction, precision)
        return sorted(able, key=lambda candidate: (candidate[0] != fastest, math.inf if candidate[1] is None else candidate[1]))

    def forget_choices(self) -> None:
        """Choose anew from now on."""
        self._choices.clear()

    def explain(self, problem: Any, direction: str, precision: str = "high") -> Iterator[tuple[str, str]]:
        """Yield (variant, "chosen ..." | "accepts ..." | "refuses: ..."), the preferred ones first."""
        candidates = dict(self.candidates(problem, direction, precision))
        chosen, best = next(iter(candidates.items()))
        for name in sorted(self.variants, key=lambda name: (self.rank(name), name)):
            variant = self.variants[name]
            if reason := variant.refuses(problem, direction):
                yield name, f"refuses: {reason}"
            elif name == chosen:
                yield name, "chosen, as measured" if name == tuning.choice(self, problem, direction, precision) else "chosen"
            elif name not in candidates:
                yield name, "accepts, by name" if name not in self.preference else f"accepts, at precision {variant.precision!r}"
            else:
                cost = candidates[name]
                yield name, f"accepts, {cost / best:.1f} times the cost" if cost and best else "accepts"

    def rank(self, name: str) -> int:
        """Return the place of a variant in the preference; the unlisted come last."""
        return self.preference.index(name) if name in self.preference else len(self.preference)

    def accepted(self, direction: str, cases: Sequence[Case]) -> Iterator[tuple[str, Case]]:
        """Yield every (variant, case) that a variant accepts: the grid of tests, benchmarks and tables."""
        for name, variant in sorted(self.variants.items(), key=lambda item: (self.rank(item[0]), item[0])):
            for case in cases:
                if variant.refuses(case.problem, direction) is None:
                    yield name, case

    def run(self, variant: str, direction: str, problem: Any, arguments: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Compute with one variant into `outputs`, past the boundary checks (tests and benchmarks)."""
        self.variants[variant].directions[direction](problem, *arguments, *outputs)


def operations() -> dict[str, Operation]:
    """Return every operation of `fastcnn.ops` by name."""
    ops = importlib.import_module("fastcnn.ops")
    found = {}
    for module in pkgutil.iter_modules(ops.__path__):
        if module.ispkg:
            found[module.name] = importlib.import_module(f"fastcnn.ops.{module.name}").OPERATION
    return found


def _discover(package: str) -> dict[str, Variant]:
    folder = importlib.import_module(package).__path__
    names = [m.name for m in pkgutil.iter_modules(folder) if m.name != "problem" and not m.name.startswith("_")]
    if "reference" not in names:
        raise RegistryError(f"{package}: has no reference.py")
    reference = importlib.import_module(f"{package}.reference")
    return {name: _variant(importlib.import_module(f"{package}.{name}"), reference) for name in names}


def _variant(module: ModuleType, reference: ModuleType) -> Variant:
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__
    }
    refuses, cost = own.pop("refuses", None), own.pop("cost", None)
    packing, forward_packed = own.pop("packing", None), own.pop("forward_packed", None)
    plan, packed_plan = own.pop("plan", None), own.pop("packed_plan", None)
    precision = getattr(module, "PRECISION", "highest")
    if precision not in PRECISIONS:
        raise RegistryError(f"{module.__file__}: PRECISION must be one of {PRECISIONS}; got {precision!r}")
    for name, function in own.items():
        if name not in DIRECTIONS:
            rule = f"expected one of {DIRECTIONS} (helpers start with an underscore)"
            raise RegistryError(f"{module.__file__}: {name}() is no direction; {rule}")
        model = getattr(reference, name, None)
        if model is None:
            raise RegistryError(f"{module.__file__}: reference.py defines no {name}() to check against")
        expected, got = list(inspect.signature(model).parameters), list(inspect.signature(function).parameters)
        if got != expected:
            raise RegistryError(f"{module.__file__}: {name}() must take ({', '.join(expected)}), as reference.py; got ({', '.join(got)})")
    if not own:
        raise RegistryError(f"{module.__file__}: defines none of {DIRECTIONS}; a helper's file name starts with an underscore")
    growth, wrap = getattr(module, "ERROR_GROWTH", 1.0), getattr(module, "WARNS", True)
    directions = {name: _tagged(_quiet(function) if wrap else function, growth, name, plan) for name, function in own.items()}
    return Variant(module.__name__.rpartition(".")[2], directions, refuses, cost, precision, packing, forward_packed, packed_plan)


def _quiet(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function without NumPy's warnings of infinities and NaN: they are data, and kernels do not warn of them either."""

    @functools.wraps(function)
    def run(*arguments: Any) -> None:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            function(*arguments)

    return run


def _tagged(function: Callable[..., None], error_growth: float, direction: str, plan: Callable[..., Any] | None) -> Any:
    """Return the function with two attributes.

    `error_growth` says by how much its rounding errors may exceed those of plain sums; `plan` is the variant's for this direction.
    """
    run: Any = function
    run.error_growth = error_growth
    run.plan = plan and functools.partial(plan, direction=direction)
    return run
