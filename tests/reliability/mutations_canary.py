"""Bounds of tiles and what Numba is told: each taken out, and the test that finds it (most by guard pages, see tests/canaries)."""

from __future__ import annotations

from .mutation import Mutation


def _behind(what: str) -> str:
    """Return the node that runs an operation, or a variant of conv2d, on arrays that end at a page's border."""
    return f"tests/canaries/test_canaries.py::test_nothing_behind_an_array_is_touched[{what}]"


_OUT = "out-of-bounds"

MUTATIONS: list[Mutation] = [
    Mutation(
        _OUT, "the sum of a tile ends after K steps", "fastcnn/simd.py",
        'b.cbranch(b.icmp_signed("<", k_next, K), inner, next_r)', 'b.cbranch(b.icmp_signed("<=", k_next, K), inner, next_r)',
        _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "tiles write y itself only where it has whole blocks of channels", "fastcnn/engine/correlate.py",
        "direct_out = g.y_c == 1 and g.K % shape.block == 0", "direct_out = g.y_c == 1", _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "tiles read x itself only where all windows lie in it", "fastcnn/engine/correlate.py",
        "columns - g.left <= g.W", "columns - g.left <= g.W + 1", _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "a bias is filled up to whole blocks", "fastcnn/engine/correlate.py",
        "elif padded_K != g.K:", "elif False:", _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "the last tile of a line of planes ends with it", "fastcnn/engine/planar.py",
        "q = min(b * block, width - block)", "q = b * block", _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "the last block of columns ends with them", "fastcnn/engine/column_gradient.py",
        "j = min(b * block, size - block)", "j = b * block", _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "lines of pixels are summed in whole vectors, and their rest apart", "fastcnn/engine/planar_gradient.py",
        "steps = rows * g.Q // lanes", "steps = -(-rows * g.Q // lanes)", _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "the last block of a transposition ends with its rows", "fastcnn/engine/packing.py",
        "i = min(i0, rows - size)", "i = i0", _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "every second pixel is read up to the last one picked", "fastcnn/shuffles.py",
        "lanes - 1))), align=dtype.itemsize)", "lanes))), align=dtype.itemsize)", _behind("conv2d-direct"),
    ),
    Mutation(
        _OUT, "the last vector of channels of a run ends with them", "fastcnn/ops/conv2d/_depthwise_loops.py",
        "at = min(c, g.C - lanes)\n                    if g.ahead and next_row < last:",
        "at = c\n                    if g.ahead and next_row < last:", _behind("conv2d-depthwise"),
    ),
    Mutation(
        _OUT, "planes are written up to the end of a row", "fastcnn/ops/conv2d/_depthwise_loops.py",
        "p * g.y_h + q, g.y_h, 0, 0, min(span, g.Q - q),", "p * g.y_h + q, g.y_h, 0, 0, span,", _behind("conv2d-depthwise"),
    ),
    Mutation(
        _OUT, "the mask of a vector ends with the row", "fastcnn/ops/conv2d/_depthwise_emitter.py",
        'icmp_unsigned("<", self.b.add(self.broadcast(first', 'icmp_unsigned("<=", self.b.add(self.broadcast(first',
        _behind("conv2d-depthwise"),
    ),
    Mutation(
        _OUT, "a bias is filled up to whole blocks for Winograd's algorithm", "fastcnn/ops/conv2d/_winograd.py",
        "elif padded_K != g.K:", "elif False:", _behind("conv2d-winograd"),
    ),
    Mutation(
        _OUT, "bfloat16 tiles write y itself only where it has whole blocks", "fastcnn/ops/conv2d/_bfloat16_correlate.py",
        "if g.direct_out:\n            target", "if g.y_c == 1:\n            target", _behind("conv2d-bfloat16"),
    ),
    Mutation(
        _OUT, "the last strip of channels of a maximum ends with them", "fastcnn/engine/windows.py",
        "k = min(c, C - one)\n                        narrow(x, first + k, height, row,",
        "k = c\n                        narrow(x, first + k, height, row,",
        _behind("max_pool2d"),
    ),
    Mutation(
        _OUT, "the last strip of channels of fused pooling ends with them", "fastcnn/engine/pooling.py",
        "k = min(offset, valid - strip)", "k = offset", _behind("conv2d_relu_max_pool2d"),
    ),
    Mutation(
        _OUT, "what is gathered for sparse gradients is followed by a line of zeros", "fastcnn/engine/sparse_gradient.py",
        "image = np.empty(g.images * size + g.pitch, x.dtype)", "image = np.empty(g.images * size, x.dtype)",
        _behind("conv2d_relu_max_pool2d"),
    ),
    Mutation(
        _OUT, "the last vector of a scalar product ends with its row", "fastcnn/engine/dot_simd.py",
        "b.mul(singles, width)), b.sub(rest, width))", "b.mul(singles, width)), ir.Constant(e.i64, 0))", _behind("linear"),
    ),
    Mutation(
        _OUT, "the last vector of a sum of rows ends with them", "fastcnn/ops/linear/dot.py",
        "at = min(i, I - lanes)", "at = i", _behind("linear"),
    ),
    Mutation(
        _OUT, "an index of a plain loop", "fastcnn/engine/filters.py",
        "count = min(CHUNK, f.inputs - c)", "count = CHUNK", "tests/test_jit.py::test_plain_loops_stay_inside_their_arrays[conv2d]",
    ),
    Mutation(
        "agreement", "sums begin with zeros, not with what memory held", "fastcnn/engine/weight_gradient.py",
        "zeros = np.zeros(block, x.dtype)", "zeros = np.empty(block, x.dtype)", _behind("conv2d-direct"),
    ),
    Mutation(
        "inputs-changed", "tiles write y", "fastcnn/engine/correlate.py",
        "target, y_row, y_pixel = y, g.y_h, g.y_w", "target, y_row, y_pixel = x, g.y_h, g.y_w", _behind("conv2d-direct"),
    ),
    Mutation(
        "numba-exceptions", "divisions by zero raise nothing", "fastcnn/jit.py",
        '"error_model": "numpy"', '"error_model": "python"',
        "tests/test_kernels.py::test_a_division_by_zero_is_infinite_or_nan_and_no_exception[float32-parallel]",
    ),
    Mutation(
        "numba-exceptions", "kernels do not raise", "fastcnn/ops/relu/direct.py",
        "    source, target = x[first:last], y[first:last]\n",
        "    source, target = x[first:last], y[first:last]\n    assert target.size\n",
        "tests/test_kernels.py::test_no_kernel_raises_asserts_or_catches",
    ),
    Mutation(
        "numba-exceptions", "what fails in a parallel launch is an exception of the caller", "fastcnn/jit.py",
        "        if not done:\n            raise", "        if not done and jobs < 0:\n            raise",
        "tests/test_jit.py::test_an_index_beyond_an_array_is_found_when_they_are_checked",
    ),
    Mutation(
        "numba-fastmath", "no fast arithmetic", "fastcnn/jit.py",
        '{"nogil": True, ', '{"nogil": True, "fastmath": True, ',
        "tests/test_kernels.py::test_kernels_tell_nan_and_infinity_from_numbers[float32-serial]",
    ),
    Mutation(
        "numba-fastmath", "no sums in another order", "fastcnn/jit.py",
        '{"nogil": True, ', '{"nogil": True, "fastmath": {"reassoc", "nsz"}, ',
        "tests/test_kernels.py::test_sums_keep_the_order_in_which_they_are_written[serial]",
    ),
]  # fmt: skip
