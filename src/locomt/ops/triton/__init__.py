"""The backend `triton`: kernels that skip what no head sees, one launch for all heads."""
