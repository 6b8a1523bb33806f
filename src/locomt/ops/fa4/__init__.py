"""FlashAttention-4's backward behind our forward, where the optional package flash-attn-4 is installed."""
