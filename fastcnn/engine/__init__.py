"""The loops around the register tile that operations share: correlations, their weight gradients, and the copies that these need.

correlate        forward, backward-input and matrix products: tiles of pixels x output channels
weight_gradient  tiles of (kernel column, channel) x output channels, summed over pixels
filters          which taps of a weight a correlation uses, packed in blocks of output channels
packing          padded channels-last rows, and back; transpositions through registers
"""
