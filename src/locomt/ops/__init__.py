"""View attention: one public op, one file per backend. Needs torch alone."""

from locomt.ops.api import backends, choose_backend, lengths_of, serving, view_attention

__all__ = ["backends", "choose_backend", "lengths_of", "serving", "view_attention"]
