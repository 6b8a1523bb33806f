"""Kernels for Hopper GPUs, which the backend `triton` hands over to where they are faster."""
