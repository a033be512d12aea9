"""Many ranks on paper, from measurements here: ``python -m bench.distributed.scale --out scale.md``.

Measured: steps by batch size, of ranks that train apart on all cores, as they share caches, memory and clock also where they train
together; sums over two ranks by size; and, to check the model, both on two and on four ranks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastcnn import files, info, machine
from fastcnn.train.recipes import RECIPES, build

from .layouts import NoMpi, layout
from .model import Link, Work, fit_link, fit_work, images_for_share

SHARE = 0.2
RANKS = tuple(2**k for k in range(1, 11))
# Latencies are assumptions, of TCP on Ethernet at 1 and 10, and of RDMA at 100 Gbit/s.
NETWORKS = {"1 Gbit/s": Link(50e-6, 0.125e9), "10 Gbit/s": Link(20e-6, 1.25e9), "100 Gbit/s": Link(3e-6, 12.5e9)}
_SIZES = (64, 1024, 16384, 65536, 215_258, 1_000_000)  # float32 values


def message_sizes() -> list[float]:
    """Return the bytes of the sums of one step of the recipe `fast`: all gradients, and two of its batch normalisation."""
    model = build(RECIPES["mnist"]["fast"], 28, 60_000, seed=0).model
    channels = model.buffers["6.running_mean"].size
    return [4.0 * model.parameter_count, *[8.0 * (2 * channels + 1)] * 2]


def network_table(work: Work, sizes: Sequence[float], links: dict[str, Link] = NETWORKS) -> str:
    """Return the table of all networks and numbers of ranks."""
    head = (
        "| network | ranks | sums of a step: ring | tree | quicker for each sum | images per rank for 20 % | global batch | images/s |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    lines = [head]
    for name, link in links.items():
        for ranks in RANKS:
            ring, tree = (sum(way(ranks, size) for size in sizes) for way in (link.ring, link.tree))
            sums = link.sums(ranks, sizes)
            images = images_for_share(work, sums, SHARE)
            rate = ranks * images / (work.seconds(images) + sums)
            lines.append(
                f"| {name} | {ranks} | {1e3 * ring:.2f} ms | {1e3 * tree:.2f} ms | {1e3 * sums:.2f} ms | {images:,.0f} | "
                f"{ranks * images:,.0f} | {rate:,.0f} |"
            )
    return "\n".join(lines)


def check_table(work: Work, link: Link, sizes: Sequence[float], cores: int, measured: Sequence[dict[str, Any]]) -> str:
    """Return measured and predicted seconds on ranks of this machine, which share its cores."""
    lines = [
        "| ranks | what | measured | model | model / measured |",
        "|---:|---|---:|---:|---:|",
    ]

    def add(ranks: int, what: str, measured: float, expected: float) -> None:
        lines.append(f"| {ranks} | {what} | {1e3 * measured:.2f} ms | {1e3 * expected:.2f} ms | {expected / measured:.2f} |")

    for found in measured:
        ranks, slower = found["ranks"], max(1.0, found["ranks"] / cores)
        for size, seconds in found["sums"]:
            if 4 * size >= sizes[0]:
                add(ranks, f"sum of {4 * size / 1e6:.2f} MB", seconds, link.sums(ranks, [4 * size]) * slower)
        for row in found["rows"]:
            expected = (work.seconds(row["batch"] / ranks) + link.sums(ranks, sizes)) * slower
            add(ranks, f"step of a global batch of {row['batch']}", row["seconds"], expected)
    return "\n".join(lines)


def page(apart: dict[str, Any], ranks: Sequence[dict[str, Any]], cores: int) -> str:
    """Return the page, from what `bench.distributed.worker` measured on ranks of one thread: apart, and together on two and four."""
    sizes = message_sizes()
    work = fit_work([row["batch"] for row in apart["rows"]], [row["seconds"] for row in apart["rows"]])
    link = fit_link([4 * size for size, _ in ranks[0]["sums"]], [seconds for _, seconds in ranks[0]["sums"]])
    steps = ", ".join(f"{row['batch']}: {1e3 * row['seconds']:.2f} ms" for row in apart["rows"])
    sums = ", ".join(f"{4 * size / 1e3:,.1f} kB: {1e6 * seconds:.0f} us" for size, seconds in ranks[0]["sums"])
    latencies = ", ".join(f"{name} {1e6 * network.latency:g} us" for name, network in NETWORKS.items())
    return f"""# Many ranks, from measurements on one machine

{info.headline()}; recipe `fast`, one thread a rank; `python -m bench.distributed.scale`.

- A step of a rank by images, the other cores as busy: {steps}. In short: {1e3 * work.step:.3f} ms + {1e6 * work.image:.2f} us an image.
- Sums of a step: {sizes[0] / 1e6:.2f} MB of gradients, and twice {sizes[1]:.0f} bytes for the batch normalisation.
- Sums over two ranks of this machine by size: {sums}. As a link: {1e6 * link.latency:.1f} us and {link.bandwidth / 1e9:.2f} GB/s.

## The model beside two and four ranks here, on {cores} core(s)

{check_table(work, link, sizes, cores, ranks)}

Ranks that share a core take turns: what the model says is multiplied by ranks / cores. It leaves out that ranks differ from step to step
and wait for the slowest, and that those of MPICH wait by asking again and again, on a core that another rank may need.

## On networks

Every sum in a ring takes 2 (p - 1) (L + m / (p B)), in a tree 2 ceil(log2 p) (L + m / B). The latencies L are assumptions:
{latencies}. No sum overlaps with the backward pass. "images per rank" are how many it takes for the sums to be
{100 * SHARE:.0f} % of a step; more images make them less.

{network_table(work, sizes)}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the page; 2 where MPI is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.distributed.scale", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each batch size (default: 1)")
    parser.add_argument("--batches", default="16,32,64,128,256,512,1024", help="of one rank (default: 16 to 1024)")
    parser.add_argument("--out", type=Path, help="default: standard output")
    options = parser.parse_args(arguments)
    sizes = ",".join(map(str, _SIZES))
    try:
        cores = machine.usable_cores()
        apart = layout(cores, "--apart", "--threads", 1, "--batches", options.batches, "--seconds", options.seconds)
        ranks = [layout(p, "--threads", 1, "--batches", "256,1024", "--seconds", options.seconds, "--sizes", sizes) for p in (2, 4)]
    except NoMpi as error:
        print(f"bench.distributed.scale: {error}", file=sys.stderr)
        return 2
    text = page(apart, ranks, cores)
    if options.out:
        with files.replacing(options.out) as file:
            file.write(text.encode())
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
