"""The loops around the register tile that operations share: correlations, their gradients, and the copies that these need.

correlate        forward, backward-input and matrix products: tiles of pixels x output channels
planar           the same of images in planes (NCHW): tiles of output channels x pixels of a row
phases           backward-input with a stride: a correlation for each pixel of the stride
scatter          backward-input of a few channels: a product with all taps, added into the image
weight_gradient  tiles of (kernel column, channel) x output channels, summed over pixels
planar_gradient  the same of planes with a few channels: vectors run along lines of pixels
column_gradient  the same of few pixels: a product with columns, written where it belongs
fused_pool       convolution, ReLU and max-pooling while the rows are in the cache; fused_unpool: backward; pooling: alone
windows          pooling: maxima and averages over tables of windows, and back; window_simd: its loops over taps
filters          which taps of a weight a correlation uses, packed in blocks of output channels
packing          padded channels-last rows, and back; transpositions through registers
"""
