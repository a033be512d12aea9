"""The parts of the report's page, each as HTML; every text that comes from a run is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from . import images
from .charts import number
from .confusion import Mistake, confusion_matrix, probabilities
from .features import FeatureMap

_SHOWN_VALUES = 512  # of a layer without image axes
_COLUMNS = 8
_FULL = 0.98  # the quantile of a layer's values that is drawn with full ink: a single large one would leave the others pale
_GAP = 222  # grey between maps, whose edges are often white


def section(title: str, note: str, body: str) -> str:
    """Return a section of the page; `body` is HTML, the others are text."""
    about = f"<p>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{about}{body}</section>"


def picture(pixels: np.ndarray, about: str) -> str:
    """Return an image of uint8 pixels with a text for those who cannot see it."""
    return f'<img src="{images.data_uri(pixels)}" width="{pixels.shape[1]}" height="{pixels.shape[0]}" alt="{escape(about)}">'


def _figure(pixels: np.ndarray, caption: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{picture(pixels, caption)}</figure>"


# --- Filters and feature maps -------------------------------------------------------------------------------------------


def filters(before: np.ndarray, after: np.ndarray) -> str:
    """Return both states of the first layer's filters (K, C, R, S) side by side, in one scale."""
    most = float(max(np.abs(before).max(), np.abs(after).max()))
    pair = [_figure(_filter_tiles(w, most), when) for w, when in ((before, "before training"), (after, "after training"))]
    return f'<div class="pair">{"".join(pair)}</div>'


def _filter_tiles(weight: np.ndarray, most: float) -> np.ndarray:
    if weight.shape[1] == 3:  # of coloured images
        scaled = np.clip(weight / (2 * most or 1) + 0.5, 0, 1).transpose(0, 2, 3, 1)
        return images.tiles(np.rint(255 * scaled).astype(np.uint8), _COLUMNS)
    return images.tiles(images.diverging(weight[:, 0], most), _COLUMNS)


def feature_maps(image: np.ndarray, maps: Sequence[FeatureMap], names: Sequence[str]) -> str:
    """Return an image (H, W) uint8 and what each layer makes of it; the last one, if it has a value per class, as probabilities."""
    answer, inner = "", list(maps)
    if inner and inner[-1].values.shape == (len(names),):
        answer = _probability_bars(inner.pop().values, names)
    first = f"{_figure(255 - image, 'the image')}{answer}"
    return f'<div class="maps"><div class="answer">{first}</div>{"".join(map(_map_figure, inner))}</div>'


def _map_figure(found: FeatureMap) -> str:
    values = found.values
    if values.ndim == 3:
        shape = f"{len(values)} maps of {values.shape[1]} × {values.shape[2]}"
        planes = values
    else:
        shape = f"{values.size} values" + (f", the first {_SHOWN_VALUES}" if values.size > _SHOWN_VALUES else "")
        flat = values.reshape(-1)[:_SHOWN_VALUES]
        width = min(flat.size, 32)
        padded = np.zeros(-(-flat.size // width) * width)
        padded[: flat.size] = flat
        planes = padded.reshape(1, -1, width)
    sizes = np.abs(values[values != 0])
    most = float(np.quantile(sizes, _FULL)) if sizes.size else 0.0
    coloured = images.diverging(planes, most) if values.min(initial=0.0) < 0 else images.ink(planes, most)
    return _figure(images.tiles(coloured, 8 if len(planes) > 1 else 1, shade=_GAP), f"{found.name}: {shape}")


def _probability_bars(logits: np.ndarray, names: Sequence[str]) -> str:
    shares = probabilities(logits[None])[0]
    rows = "".join(
        f'<span>{escape(name)}</span><span class="bar"><i style="width:{100 * share:.1f}%"></i></span><span>{100 * share:.1f} %</span>'
        for name, share in zip(names, shares, strict=True)
    )
    return f'<figure><figcaption>the answer (softmax)</figcaption><div class="bars">{rows}</div></figure>'


# --- Right and wrong ----------------------------------------------------------------------------------------------------


def matrix(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> str:
    """Return the confusion matrix as a table whose mistakes are tinted by their number."""
    counts = confusion_matrix(labels, predictions, len(names))
    most = int((counts - np.diag(np.diag(counts))).max(initial=0))
    heads = "".join(f'<th scope="col"><div{_tall(names)}>{escape(name)}</div></th>' for name in names)
    rows = []
    for row, name in enumerate(names):
        cells = "".join(_cell(counts[row, column], row == column, most, f"{name} taken for {other}") for column, other in enumerate(names))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    table = f'<table class="matrix"><thead><tr><td></td>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _tall(names: Sequence[str]) -> str:
    return ' class="tall"' if max(map(len, names)) > 2 else ""


def _cell(count: int, right: bool, most: int, about: str) -> str:
    if right:
        return f'<td class="right">{count}</td>'
    if not count:
        return "<td></td>"
    strength = 0.12 + 0.68 * (count / most) ** 0.5  # the eye tells few from none better than many from more
    return f'<td style="background:rgba(var(--wrong),{strength:.2f})" title="{escape(about)}: {count}">{count}</td>'


def classes(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> str:
    """Return a table of each class's images, mistakes and accuracy, with a bar for the share of mistakes."""
    rows, found = [], []
    for label, name in enumerate(names):
        own = labels == label
        total, wrong = int(own.sum()), int((predictions[own] != label).sum())
        found.append((name, total, wrong, wrong / total if total else 0.0))
    worst = max(share for *_, share in found) or 1.0
    for name, total, wrong, share in found:
        accuracy = f"{100 * (1 - share):.2f} %" if total else "-"
        bar = f'<div class="bar bad"><i style="width:{100 * share / worst:.1f}%"></i></div>'
        rows.append(f'<tr><th scope="row">{escape(name)}</th><td>{total:,}</td><td>{wrong:,}</td><td>{accuracy}</td><td>{bar}</td></tr>')
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("class", "images", "wrong", "accuracy", "share of mistakes"))
    return f'<table class="classes"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def mistakes(found: Sequence[Mistake], pictures: Mapping[int, np.ndarray], names: Sequence[str]) -> str:
    """Return a card for every mistake: its picture, label, prediction and confidence."""
    cards = []
    for mistake in found:
        label, prediction = names[mistake.label], names[mistake.prediction]
        image = picture(255 - pictures[mistake.position], f"a {label} taken for a {prediction}")
        words = f"<b>{escape(label)}</b> → <em>{escape(prediction)}</em><br>{_confidence(mistake.confidence)}<br>no. {mistake.position}"
        cards.append(f"<figure>{image}<figcaption>{words}</figcaption></figure>")
    return f'<div class="mistakes">{"".join(cards)}</div>'


def _confidence(share: float) -> str:
    text = f"{100 * share:.1f} %"
    return "> 99.9 %" if text == "100.0 %" else text


# --- Settings -----------------------------------------------------------------------------------------------------------


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return figures with their names, large."""
    return f'<dl class="facts">{"".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs)}</dl>'


def values(table: Mapping[str, Any]) -> str:
    """Return names and values; nested ones as "outer: inner"."""
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in flattened(table))
    return f'<table class="plain"><tbody>{rows}</tbody></table>'


def flattened(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return (name, value as text) of a JSON object, those of inner objects with both names."""
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        name = prefix + str(key).replace("_", " ")
        if isinstance(value, Mapping):
            found += flattened(value, f"{name}: ")
        else:
            found.append((name, _text(value)))
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value)
    return str(value)
