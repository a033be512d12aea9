"""Sums over rows of a fixed width, the step that statistics and gradients share.

Accumulators as wide as a row stay in the first cache; four rows are added to them at a time, as every visit costs two stores. Rows are
whole groups of pixels for channels-last images and pieces of a plane for NCHW ones. Whatever is left at the end is a shorter row.

All take `repeats` pieces of `length` elements, `stride` apart, from element `first` of the images on.
"""

from __future__ import annotations

from ...jit import kernel


@kernel
def add_moments(x, first, length, stride, repeats, pivot, total, square):
    """Add the rows of x - pivot to `total`, and their squares to `square`; a row is as wide as these three."""
    width = total.size
    for repeat in range(repeats):
        begin = first + repeat * stride
        source = x[begin : begin + length]
        quads = length // (4 * width)
        for quad in range(quads):
            at = 4 * quad * width
            x0, x1 = source[at : at + width], source[at + width : at + 2 * width]
            x2, x3 = source[at + 2 * width : at + 3 * width], source[at + 3 * width : at + 4 * width]
            for i in range(width):
                d0, d1, d2, d3 = x0[i] - pivot[i], x1[i] - pivot[i], x2[i] - pivot[i], x3[i] - pivot[i]
                total[i] += (d0 + d1) + (d2 + d3)
                square[i] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        for at in range(4 * quads * width, length, width):
            row = source[at : min(at + width, length)]
            for i in range(row.size):
                d = row[i] - pivot[i]
                total[i] += d
                square[i] += d * d


@kernel
def add_products(dy, x, first, length, stride, repeats, centre, total, product):
    """Add the rows of dy to `total`, and those of dy * (x - centre) to `product`."""
    width = total.size
    for repeat in range(repeats):
        begin = first + repeat * stride
        errors, source = dy[begin : begin + length], x[begin : begin + length]
        quads = length // (4 * width)
        for quad in range(quads):
            at = 4 * quad * width
            x0, x1 = source[at : at + width], source[at + width : at + 2 * width]
            x2, x3 = source[at + 2 * width : at + 3 * width], source[at + 3 * width : at + 4 * width]
            e0, e1 = errors[at : at + width], errors[at + width : at + 2 * width]
            e2, e3 = errors[at + 2 * width : at + 3 * width], errors[at + 3 * width : at + 4 * width]
            for i in range(width):
                m = centre[i]
                total[i] += (e0[i] + e1[i]) + (e2[i] + e3[i])
                product[i] += ((x0[i] - m) * e0[i] + (x1[i] - m) * e1[i]) + ((x2[i] - m) * e2[i] + (x3[i] - m) * e3[i])
        for at in range(4 * quads * width, length, width):
            row, error = source[at : min(at + width, length)], errors[at : min(at + width, length)]
            for i in range(row.size):
                total[i] += error[i]
                product[i] += (row[i] - centre[i]) * error[i]


@kernel
def add_products_where_positive(dy, x, first, length, stride, repeats, centre, scale, shift, total, product):
    """As `add_products`, with 0 for dy where (x - centre) * scale + shift, the forward's very sum, is not positive (NaN passes)."""
    zero = x.dtype.type(0)
    width = total.size
    for repeat in range(repeats):
        begin = first + repeat * stride
        errors, source = dy[begin : begin + length], x[begin : begin + length]
        pairs = length // (2 * width)
        for pair in range(pairs):
            at = 2 * pair * width
            x0, x1 = source[at : at + width], source[at + width : at + 2 * width]
            e0, e1 = errors[at : at + width], errors[at + width : at + 2 * width]
            for i in range(width):
                d0, d1 = x0[i] - centre[i], x1[i] - centre[i]
                g0 = zero if d0 * scale[i] + shift[i] <= zero else e0[i]
                g1 = zero if d1 * scale[i] + shift[i] <= zero else e1[i]
                total[i] += g0 + g1
                product[i] += d0 * g0 + d1 * g1
        for at in range(2 * pairs * width, length, width):
            row, error = source[at : min(at + width, length)], errors[at : min(at + width, length)]
            for i in range(row.size):
                d = row[i] - centre[i]
                g = zero if d * scale[i] + shift[i] <= zero else error[i]
                total[i] += g
                product[i] += d * g


@kernel(inline=True)
def fold(sums, group):
    """Add up repetitions of the channels, of which `sums` holds `group`, while their number is even; return how many are left in front."""
    size = sums.size
    while group % 2 == 0:
        size //= 2
        low, high = sums[:size], sums[size : 2 * size]
        for i in range(size):
            low[i] += high[i]
        group //= 2
    return group
