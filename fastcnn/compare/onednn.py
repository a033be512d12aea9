"""Problems in the syntax of oneDNN's benchmark, benchdnn: ``mb128_ic64oc512_ih56oh56kh3ph1``, for convolutions, poolings and dense layers.

``g`` groups, ``mb`` images (2 if not given), ``ic`` and ``oc`` channels in and out, ``ih iw`` the image, ``kh kw`` the kernel, ``sh sw``
the stride, ``ph pw`` the padding before, ``dh dw`` the dilation *counted from 0*, ``n"name"`` a name at the end; underscores mean nothing.
A missing width is the height's. ``oh ow`` are the output: where the padding is not given they tell it, where it is they tell the padding
behind, and they must be possible.

References
----------
oneDNN, tests/benchdnn/doc/driver_conv.md and knobs_desc.md.
"""

from __future__ import annotations

import re
from typing import Any

from ..registry import Case, Operation

_FIELD = re.compile(r'(mb|g|[io]c|[iokspd][hw])(\d+)|n(?:"([^"]*)"|(\S+))')
_DEPTH = re.compile(r"(?:[iokspd]d)\d+")
_WORDS = {"i": "input", "k": "kernel"}


def is_convolution(op: Operation) -> bool:
    """Whether an operation has a kernel of K filters, as its options say."""
    return "shape" in op.options and "kernel" in op.options and op.options["kernel"].axes == ("K", "R", "S")


def case(op: Operation, text: str) -> Case:
    """Return the problem of a descriptor.

    Raises
    ------
    ValueError
        The descriptor cannot be read, contradicts itself, or describes no problem of this operation.
    """
    fields, name = _fields(text)
    if "out_features" in op.options:
        shape = fields.get("mb", 2), _need(text, fields, "ic") * fields.get("ih", 1) * fields.get("iw", fields.get("ih", 1))
        return op.case({"shape": shape, "out_features": _need(text, fields, "oc")}, name or text)
    kernel = op.options["kernel"].axes if "kernel" in op.options else ()
    if kernel not in (("K", "R", "S"), ("R", "S")):
        raise ValueError(f"--problem describes convolutions, poolings and dense layers; {op.name} is none")
    h, w = _axis(text, fields, "h"), _axis(text, fields, "w")
    C = _need(text, fields, "ic")
    given: dict[str, Any] = {"shape": (fields.get("mb", 2), C, h["i"], w["i"]), "stride": (h["s"], w["s"])}
    given["kernel"] = (h["k"], w["k"])
    if kernel[0] == "K":
        given["kernel"] = (_need(text, fields, "oc"), *given["kernel"])
    elif "oc" in fields and fields["oc"] != C:
        raise ValueError(f"--problem {text}: {op.name} has as many channels out as in; got ic{C} and oc{fields['oc']}")
    given["padding"] = _padding(op, text, h, w)
    if (h["d"], w["d"]) != (0, 0):
        given["dilation"] = h["d"] + 1, w["d"] + 1
    if fields.get("g", 1) != 1:
        given["groups"] = fields["g"]
    return op.case(given, name or text)


def _fields(text: str) -> tuple[dict[str, int], str | None]:
    found: dict[str, int] = {}
    place, name = 0, None
    while place < len(text):
        match = _FIELD.match(text, place)
        if _DEPTH.match(text, place):
            raise ValueError(f"--problem {text}: only images of height and width are known here; got {text[place:]!r}")
        if match is None and text[place] != "_":
            raise ValueError(
                f"--problem {text}: expected g, mb, ic, oc, or one of i o k s p d with h or w, and a number; got {text[place:]!r}"
            )
        if match is None:
            place += 1
            continue
        if match[1]:
            if match[1] in found:
                raise ValueError(f"--problem {text}: {match[1]} is given twice")
            found[match[1]] = int(match[2])
        else:
            name = match[3] if match[3] is not None else match[4]
        place = match.end()
    return found, name


def _need(text: str, fields: dict[str, int], name: str) -> int:
    if name not in fields:
        raise ValueError(f"--problem {text}: {name} is missing")
    return fields[name]


def _axis(text: str, fields: dict[str, int], letter: str) -> dict[str, int]:
    """Return what is known of one axis, by its first letter: a width that is not given at all is as the height."""
    found = {}
    for kind, default in (("i", None), ("k", None), ("s", 1), ("d", 0), ("p", None), ("o", None)):
        value = fields.get(f"{kind}{letter}", fields.get(f"{kind}h") if letter == "w" else None)
        if value is None:
            value = default
        if value is None and kind in _WORDS:
            raise ValueError(f"--problem {text}: {kind}{letter}, the size of the {_WORDS[kind]}, is missing")
        if value is not None:
            found[kind] = value
    return found


def _padding(op: Operation, text: str, h: dict[str, int], w: dict[str, int]) -> tuple[int, ...]:
    (top, bottom), (left, right) = _sides(text, h), _sides(text, w)
    if (top, left) == (bottom, right):
        return top, left
    if op.options["padding"].metavar.count(",") == 1:
        raise ValueError(f"--problem {text}: {op.name} pads both sides alike; this needs {top},{bottom},{left},{right}")
    return top, bottom, left, right


def _sides(text: str, axis: dict[str, int]) -> tuple[int, int]:
    """Return the padding before and after: alike where that gives the stated output, or none is stated."""
    reach = axis["i"] - (axis["k"] - 1) * (axis["d"] + 1) - 1  # of the window's start, without padding
    if "o" not in axis:
        return (axis.get("p", 0),) * 2
    total = (axis["o"] - 1) * axis["s"] - reach
    before = axis.get("p", max(total, 0) // 2)
    after = before if (reach + 2 * before) // axis["s"] + 1 == axis["o"] else total - before
    if after < 0 or before < 0 or axis["o"] < 1:
        raise ValueError(
            f"--problem {text}: an output of {axis['o']} is impossible with an input of {axis['i']}, a kernel of {axis['k']}, "
            f"stride {axis['s']}, dilation {axis['d']} and {before} of padding before"
        )
    return before, after
