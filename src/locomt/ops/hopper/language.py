"""What releases of Gluon name differently: the old names are of Triton 3.6."""

from __future__ import annotations

from triton.experimental.gluon import language
from triton.experimental.gluon.language.nvidia.hopper import tma

barrier = getattr(language, "barrier", None) or language.thread_barrier
copy_to_shared = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared
