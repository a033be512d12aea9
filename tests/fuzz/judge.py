"""What may come of a call: a result that keeps its promises, or a refusal; everything else is a failure, in words."""

from __future__ import annotations

import copy
import re
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tests.fuzz.vocabulary import vocabulary
from tests.fuzz.words import Box

MEMORY = 2**28  # bytes: what the library is told that the machine has, so that what is larger has to be refused
CAP = 3 * 2**30  # bytes of address space that a call may take beyond what the process had
REFUSAL = 1.0  # seconds of CPU that a refusal may take
NETWORK = 5.0  # and that of a network, whose layers before the one that is refused are made
_SNAPSHOT = 2**22  # elements: larger arrays are views of little memory, whose base is looked at

CHANGES = {  # arguments that a call changes, as documented
    "functional.batch_norm": {"running_mean", "running_var"}, "functional.instance_norm": {"running_mean", "running_var"},
    "optim.clip_grad_norm": {"grads"},
}  # fmt: skip
ALIASES = {  # results that may be the argument itself, or a view of it, as documented
    "functional.dropout", "functional.dropout2d", "functional.dropout_backward", "layers.Identity", "layers.Flatten", "layers.Dropout",
    "layers.Dropout2d", "layers.Sequential", "layers.Residual", "data.flatten",
}  # fmt: skip
OTHER_WORDS = {  # whose errors may begin otherwise than with a name
    "estimator.CNNClassifier": "scikit-learn's own checks speak first",
    "gradients.numerical_gradient": "what the function says that is differentiated",
    "schedules.Warmup": "what the schedule says that is warmed up to",
}  # and of output_shape and flops (`shaped`), which take a tuple that layers pass on
WARNINGS = {  # what the library warns of, as torch does
    "mse_loss": "Using a target size", "l1_loss": "Using a target size", "smooth_l1_loss": "Using a target size",
    "huber_loss": "Using a target size", "MSELoss": "Using a target size", "L1Loss": "Using a target size",
    "SmoothL1Loss": "Using a target size", "HuberLoss": "Using a target size", "softmax": "Implicit dimension choice",
    "softmin": "Implicit dimension choice", "log_softmax": "Implicit dimension choice",
}  # fmt: skip


class Outcome(NamedTuple):
    """What came of a call: "returned", "refused" or "failed"; and what was said or went wrong."""

    kind: str
    detail: str = ""
    result: Any = None


def judge(name: str, opening: str, arguments: dict[str, str]) -> Outcome:
    """Make a call and judge it."""
    names = dict(vocabulary())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy's about what we ask of it to make an odd array
        try:
            given = {key: eval(value, names) for key, value in arguments.items()}
        except (ValueError, TypeError, IndexError, AttributeError, OverflowError, MemoryError, SyntaxError, RuntimeError) as error:
            return Outcome("unmade", f"{type(error).__name__}: {error}")  # no such array: a list of floats that is to be reversed, say
    before = {key: _copied(value) for key, value in given.items() if key not in CHANGES.get(name, ())}
    caught: list[warnings.WarningMessage] = []
    start = time.process_time()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = eval(f"lambda **given: {opening}**given)", names)(**given)
    except (ValueError, TypeError, OverflowError) as error:
        outcome = _refused(name, opening, error, time.process_time() - start)
    except Exception as error:
        if "cannot be read" in str(error) and name in OTHER_WORDS:  # what the caller's object raises goes through scikit-learn
            return Outcome("refused", str(error))
        outcome = Outcome("failed", f"unclean: {type(error).__name__}: {_short(error)}")
    else:
        outcome = _returned(name, opening, result, given)
    if outcome.kind == "failed":
        return outcome
    for warning in caught:
        if not re.search(WARNINGS.get(name.rpartition(".")[2].removesuffix("_backward"), "(?!)"), str(warning.message)):
            return Outcome("failed", f"warned: {warning.category.__name__}: {_short(warning.message)}")
    for key, copied in before.items():
        if not _same(given[key], copied) and not opening.startswith(("descent(", "restored(")):
            return Outcome("failed", f"changed: the caller's {key}")
    return outcome


def _refused(name: str, opening: str, error: Exception, seconds: float) -> Outcome:
    said = _short(error)
    if type(error) not in (ValueError, TypeError, OverflowError, UnicodeEncodeError) and name not in OTHER_WORDS:
        return Outcome("failed", f"unclean: {type(error).__module__}.{type(error).__name__}: {said}")
    if not re.match(r"[\w.]+( conv2d)?: ", str(error)) and name not in OTHER_WORDS and not opening.startswith("shaped("):
        return Outcome("failed", f"nameless: {type(error).__name__}: {said}")
    if len(str(error)) > 600 and name not in OTHER_WORDS:
        return Outcome("failed", f"endless message of {len(str(error))} characters: {said}")
    if seconds > (NETWORK if opening.startswith("network(") else REFUSAL):
        return Outcome("slow", f"a refusal after {seconds:.1f} s of computing: {said}")
    return Outcome("refused", said)


def _returned(name: str, opening: str, result: Any, given: dict[str, Any]) -> Outcome:
    sources = [array for value in given.values() for array in arrays_in(value)]
    for array in arrays_in(result) if name != "layers.Identity" else ():  # which returns whatever it is given
        if name in ALIASES and any(array is source for source in sources):
            continue
        if type(array) is not np.ndarray or not array.dtype.isnative or not array.flags.aligned or array.dtype.hasobject:
            return Outcome("failed", f"odd result: {type(array).__name__} of {array.dtype}")
        if array.nbytes > 2 * MEMORY:
            return Outcome("failed", f"memory: a result of {array.nbytes} bytes")
        if name in ALIASES or opening.startswith("shaped("):
            continue
        if not array.flags.writeable:
            return Outcome("failed", "odd result: read-only")
        dense = array.flags.c_contiguous or (array.ndim == 4 and array.transpose(0, 2, 3, 1).flags.c_contiguous)
        if not dense:
            return Outcome("failed", f"odd result: not contiguous, {array.shape} with strides {array.strides}")
        if any(array.size and np.may_share_memory(array, source) for source in sources):
            return Outcome("failed", "odd result: on the memory of an argument")
    return Outcome("returned", result=result)


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in a result or an argument."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Box):
        yield from arrays_in(value.array)
    elif isinstance(value, dict):
        for item in value.values():
            yield from arrays_in(item)
    elif isinstance(value, (tuple, list)) and len(value) < 100:
        for item in value:
            yield from arrays_in(item)


def _copied(value: Any) -> Any:
    """Return a copy by which a change can be seen; None for what cannot be copied, or is no data."""
    found = [a.copy() if a.size <= _SNAPSHOT else None for a in arrays_in(value)]
    return (found, copy.copy(value) if isinstance(value, (list, dict)) else None)


def _same(value: Any, copied: Any) -> bool:
    found, container = copied
    if container is not None and len(container) != len(value):
        return False
    return all(
        kept is None
        or (now.shape == kept.shape and now.tobytes() == kept.tobytes() if not now.dtype.hasobject else now.shape == kept.shape)
        for now, kept in zip(arrays_in(value), found, strict=True)
    )


def _short(error: Any) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 220 else f"{text[:200]} ..."


def limit() -> None:
    """Tell the library of little memory, and let the process take little more than it has (where that can be limited)."""
    from fastcnn import machine

    machine.memory_bytes = lambda: MEMORY
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm") as pages:
        taken = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + CAP, taken + CAP))
