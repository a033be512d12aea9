"""Legal uses of data sets, their parts, and changes of images."""

from __future__ import annotations

from tests.fuzz.legal import Draw, array, chance, legal, number, one_of, optional


def _images(draw: Draw, dtypes: tuple[str, ...] = ("u1", "f4")) -> str:
    dtype = one_of(draw, *dtypes)
    shape = one_of(draw, (3, 4, 5), (2, 3, 4, 4)) if dtype == "u1" else (3, 2, 4, 4)
    return f"labels({shape}, 200, {dtype!r})"


@legal("data.one_hot")
def _one_hot(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    return f"{name}(", {"labels": "labels((4,), 3)", **optional(draw, classes=lambda: repr(one_of(draw, 3, 5)))}


@legal("data.flatten", "data.normalise", "data.grey")
def _of_images(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    if name == "data.grey":
        return f"{name}(", {"photo": "labels((3, 4, 3), 200, 'u1')"}
    return f"{name}(", {"images": _images(draw, ("u1",) if name == "data.normalise" else ("u1", "f4"))}


@legal("data.moments")
def _moments(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    return f"{name}(", {"images": _images(draw), **optional(draw, per=lambda: repr(one_of(draw, "all", "channel", "pixel")))}


@legal("data.standardise")
def _standardise(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    if chance(draw, 2):
        return f"{name}(", {"images": _images(draw), "mean": number(draw, -1, 9), "deviation": number(draw, 0.5, 9)}
    moments = {"mean": array(draw, "reals", (1, 4, 5), "f8"), "deviation": array(draw, "shares", (1, 1, 5), "f8")}
    return f"{name}(", {"images": "labels((3, 4, 5), 200, 'u1')", **moments}


@legal("data.split")
def _split(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    return f"{name}(", {"labels": "labels((12,), 3)", "share": number(draw, 0.1, 0.9), "seed": repr(one_of(draw, 0, 3))}


@legal("data.class_names")
def _names(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    return f"{name}(", {"dataset": repr(one_of(draw, "mnist", "fashion-mnist")), "classes": repr(one_of(draw, 2, 10))}


@legal("data.Dataset")
def _dataset(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    if chance(draw, 2):
        return f"subset({name}, ", {"classes": repr(one_of(draw, [0], (2, 1), [0, 1, 2]))}
    return f"held_out({name}, ", {"share": number(draw, 0.2, 0.8), "seed": repr(one_of(draw, 0, 3))}


@legal("data.Augment")
def _augment(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = optional(
        draw,
        shift=lambda: number(draw, 0, 3), rotate=lambda: number(draw, 0, 90), scale=lambda: number(draw, 0, 0.9),
        shear=lambda: number(draw, 0, 1), erase=lambda: number(draw, 0, 1), erase_size=lambda: "(0.1, 0.5)",
        fill=lambda: number(draw, -3, 3), elastic=lambda: number(draw, 0, 2), elastic_sigma=lambda: number(draw, 0.5, 4),
    )  # fmt: skip
    return f"augmented({name}, ", {"images": _images(draw), **found}


@legal("data.batches.Batches")
def _batches(draw: Draw, name: str) -> tuple[str, dict[str, str]]:
    found = {"images": "labels((5, 4, 4), 200, 'u1')", "labels": "labels((5,), 3)", "batch_size": repr(one_of(draw, 1, 3, 9)), "seed": "0"}
    more = {"mean": lambda: number(draw, -1, 9), "deviation": lambda: number(draw, 0.5, 9), "augment": lambda: "data.Augment(shift=1.0)"}
    more |= {"sampling": lambda: repr(one_of(draw, "shuffled", "replacement", "ordered"))}
    return "batches(data_batches.Batches, ", found | optional(draw, **more)
