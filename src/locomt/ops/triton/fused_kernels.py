"""The Triton kernels of the backend `triton`: what a program reads from its row of the work table, and the loops.

A program owns one tile of tokens of one head and one sample: a tile of queries (forward, gradient of q) or of keys
(gradients of k and v). Its row of the table, made by `worktable.work_rows`, names the tile and the segments to meet:

    segment, first token in it, its start, its size, mask, count, then per met segment: index, start, size

so that every loop runs over tokens that the view allows and over nothing else. Behind the `count` segments there
follow, where they are not among them, the `OWN` of the tile's modality, for samples that have none of the keys. Of a
met segment, full blocks come unmasked and the remainder in smaller masked blocks. With `FULL`, sizes are lengths and
no length is read.

Scores are kept in base 2: exp2 with log2(e) folded into the scale is what the hardware has.
"""

from __future__ import annotations

import triton
import triton.language as tl

HEADER = tl.constexpr(6)  # columns of a table row before the met segments
FIELDS = tl.constexpr(3)  # columns of a met segment


@triton.jit
def _program(table, lengths, T, H, WIDTH: tl.constexpr, M: tl.constexpr, FULL: tl.constexpr):
    """This program's sample, head and table row; its tile; and how many segments it meets."""
    pid = tl.program_id(0)
    bh = pid // T
    h = bh % H
    b = (bh // H).to(tl.int64)
    row = table + (h * T + pid % T) * WIDTH
    first = tl.load(row + 1)
    start = tl.load(row + 2)
    size = tl.load(row + 3)
    count = tl.load(row + 5)
    real = size
    if not FULL:
        real = tl.load(lengths + b * M + tl.load(row)).to(tl.int32)
        if real <= first:
            count = 0  # a tile of padding
    return b, h, bh.to(tl.int64), row, first, start, size, real, count


@triton.jit
def _alone(row, lengths, b, M: tl.constexpr):
    """1 where the sample lacks all keys of the tile's segment, so that its modality sees itself instead; else 0."""
    mask = tl.load(row + 4)
    seen = 0
    for j in tl.static_range(M):
        seen += tl.where((mask >> j) & 1 == 1, tl.load(lengths + b * M + j).to(tl.int32), 0)
    return tl.where((mask != 0) & (seen == 0), 1, 0)


@triton.jit
def _met(row, s, lengths, b, M: tl.constexpr, FULL: tl.constexpr):
    """Start and length of the s-th met segment; past those that are always met, of the tile's own modality."""
    at = row + HEADER + FIELDS * s
    n = tl.load(at + 2)
    if not FULL:
        n = tl.load(lengths + b * M + tl.load(at)).to(tl.int32)
    return tl.load(at + 1), n


@triton.jit
def _rows(base, at, stride, real, D: tl.constexpr, BD: tl.constexpr, MASKED: tl.constexpr):
    """Token rows `[len(at), BD]`; zeros where `real` is false and beyond width D."""
    d = tl.arange(0, BD)
    where = base + at[:, None] * stride + d[None, :]
    if MASKED:
        return tl.load(where, mask=real[:, None] & (d < D)[None, :], other=0.0)
    if BD == D:
        return tl.load(where)
    return tl.load(where, mask=(d < D)[None, :], other=0.0)


@triton.jit
def _put(base, at, stride, inside, value, D: tl.constexpr, BD: tl.constexpr):
    d = tl.arange(0, BD)
    where = base + at[:, None] * stride + d[None, :]
    tl.store(where, value.to(base.dtype.element_ty), mask=inside[:, None] & (d < D)[None, :])


@triton.jit
def _attend(acc, peak, total, q, k, v, real, scale, MASKED: tl.constexpr):
    """One block of keys into the running softmax of every row (online softmax, Milakov and Gimelshein, 2018)."""
    scores = tl.dot(q, tl.trans(k))
    if MASKED:  # after scaling: a scale of 0 would make NaN of what is masked
        scores = tl.where(real[None, :], scores * scale, float("-inf"))
        higher = tl.maximum(peak, tl.max(scores, 1))
        p = tl.exp2(scores - higher[:, None])
    else:
        higher = tl.maximum(peak, tl.max(scores, 1) * scale)
        p = tl.exp2(scores * scale - higher[:, None])
    shrink = tl.exp2(peak - higher)
    total = total * shrink + tl.sum(p, 1)
    acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None])
    return acc, higher, total


@triton.jit(do_not_specialize=["T", "H", "N"])
def forward_kernel(
    Q, K, V, OUT, LSE, table, lengths, T, H, N,
    q_b, q_h, q_n, k_b, k_h, k_n, v_b, v_h, v_n, o_b, o_h, o_n,
    scale,
    M: tl.constexpr, WIDTH: tl.constexpr, D: tl.constexpr, BD: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, TAIL: tl.constexpr,
    FULL: tl.constexpr, OWN: tl.constexpr,
):  # fmt: skip
    """The output and the log-sum-exp (base 2, +inf for rows that see nothing) of one tile of queries."""
    b, h, bh, row, first, start, size, length, count = _program(table, lengths, T, H, WIDTH, M, FULL)
    inner = first + tl.arange(0, ROWS)
    at = start + inner
    k_base = K + b * k_b + h * k_h
    v_base = V + b * v_b + h * v_h
    q = _rows(Q + b * q_b + h * q_h, at, q_n, inner < length, D, BD, True)
    acc = tl.zeros([ROWS, BD], tl.float32)
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    meets = count
    if OWN and length > first:
        meets += OWN * _alone(row, lengths, b, M)
    for s in range(meets):
        lo, n = _met(row, s, lengths, b, M, FULL)
        whole = n // BLOCK * BLOCK
        for c in range(0, whole, BLOCK):
            cols = lo + c + tl.arange(0, BLOCK)
            k = _rows(k_base, cols, k_n, cols >= 0, D, BD, False)
            v = _rows(v_base, cols, v_n, cols >= 0, D, BD, False)
            acc, peak, total = _attend(acc, peak, total, q, k, v, cols >= 0, scale, False)
        for c in tl.range(whole, n, TAIL, num_stages=1):
            cols = c + tl.arange(0, TAIL)
            k = _rows(k_base, lo + cols, k_n, cols < n, D, BD, True)
            v = _rows(v_base, lo + cols, v_n, cols < n, D, BD, True)
            acc, peak, total = _attend(acc, peak, total, q, k, v, cols < n, scale, True)
    sees = (total > 0) & (inner < length)
    divisor = tl.where(sees, total, 1.0)
    out = tl.where(sees[:, None], acc / divisor[:, None], 0.0)
    _put(OUT + b * o_b + h * o_h, at, o_n, inner < size, out, D, BD)
    tl.store(LSE + bh * N + at, tl.where(sees, peak + tl.log2(divisor), float("inf")), mask=inner < size)


@triton.jit
def _score_gradient(q, g, k, v, lse, delta, real, scale, MASKED: tl.constexpr):
    """Gradient of the scores of a block, queries down and keys across: P * (dP - delta)."""
    p = tl.exp2(tl.dot(q, tl.trans(k)) * scale - lse[:, None])
    if MASKED:
        p = tl.where(real[None, :], p, 0.0)
    return (p * (tl.dot(g, tl.trans(v)) - delta[:, None])).to(k.dtype)


@triton.jit(do_not_specialize=["T", "H", "N"])
def query_gradient_kernel(
    Q, K, V, OUT, GRAD, LSE, DELTA, DQ, table, lengths, T, H, N,
    q_b, q_h, q_n, k_b, k_h, k_n, v_b, v_h, v_n, o_b, o_h, o_n, g_b, g_h, g_n, dq_b, dq_h, dq_n,
    scale, true_scale,
    M: tl.constexpr, WIDTH: tl.constexpr, D: tl.constexpr, BD: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, TAIL: tl.constexpr,
    FULL: tl.constexpr, OWN: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries, and delta, the sum of output times its gradient, for the keys' kernel."""
    b, h, bh, row, first, start, size, length, count = _program(table, lengths, T, H, WIDTH, M, FULL)
    inner = first + tl.arange(0, ROWS)
    at = start + inner
    real = inner < length
    k_base = K + b * k_b + h * k_h
    v_base = V + b * v_b + h * v_h
    q = _rows(Q + b * q_b + h * q_h, at, q_n, real, D, BD, True)
    g = _rows(GRAD + b * g_b + h * g_h, at, g_n, real, D, BD, True)
    out = _rows(OUT + b * o_b + h * o_h, at, o_n, real, D, BD, True)
    lse = tl.load(LSE + bh * N + at, mask=real, other=float("inf"))
    delta = tl.sum(out.to(tl.float32) * g.to(tl.float32), 1)
    tl.store(DELTA + bh * N + at, delta, mask=inner < size)
    dq = tl.zeros([ROWS, BD], tl.float32)
    meets = count
    if OWN and length > first:
        meets += OWN * _alone(row, lengths, b, M)
    for s in range(meets):
        lo, n = _met(row, s, lengths, b, M, FULL)
        whole = n // BLOCK * BLOCK
        for c in range(0, whole, BLOCK):
            cols = lo + c + tl.arange(0, BLOCK)
            k = _rows(k_base, cols, k_n, cols >= 0, D, BD, False)
            v = _rows(v_base, cols, v_n, cols >= 0, D, BD, False)
            dq = tl.dot(_score_gradient(q, g, k, v, lse, delta, cols >= 0, scale, False), k, dq)
        for c in tl.range(whole, n, TAIL, num_stages=1):
            cols = c + tl.arange(0, TAIL)
            k = _rows(k_base, lo + cols, k_n, cols < n, D, BD, True)
            v = _rows(v_base, lo + cols, v_n, cols < n, D, BD, True)
            dq = tl.dot(_score_gradient(q, g, k, v, lse, delta, cols < n, scale, True), k, dq)
    _put(DQ + b * dq_b + h * dq_h, at, dq_n, inner < size, dq * true_scale, D, BD)


@triton.jit
def _key_gradients(dk, dv, k, v, q, g, lse, delta, scale):
    """One block of queries into the gradients of a tile of keys; keys down and queries across."""
    p = tl.exp2(tl.dot(k, tl.trans(q)) * scale - lse[None, :])
    dv = tl.dot(p.to(g.dtype), g, dv)
    ds = p * (tl.dot(v, tl.trans(g)) - delta[None, :])
    dk = tl.dot(ds.to(q.dtype), q, dk)
    return dk, dv


@triton.jit(do_not_specialize=["T", "H", "N"])
def key_gradients_kernel(
    Q, K, V, GRAD, LSE, DELTA, DK, DV, table, lengths, T, H, N,
    q_b, q_h, q_n, k_b, k_h, k_n, v_b, v_h, v_n, g_b, g_h, g_n, dk_b, dk_h, dk_n, dv_b, dv_h, dv_n,
    scale, true_scale,
    M: tl.constexpr, WIDTH: tl.constexpr, D: tl.constexpr, BD: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, TAIL: tl.constexpr,
    FULL: tl.constexpr, OWN: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys and values, over all queries that see them.

    Padding keys need no mask: what they hold stays in their own rows, which are cleared when stored.
    """
    b, h, bh, row, first, start, size, length, count = _program(table, lengths, T, H, WIDTH, M, FULL)
    inner = first + tl.arange(0, ROWS)
    at = start + inner
    real = inner < length
    q_base = Q + b * q_b + h * q_h
    g_base = GRAD + b * g_b + h * g_h
    k = _rows(K + b * k_b + h * k_h, at, k_n, real, D, BD, True)
    v = _rows(V + b * v_b + h * v_h, at, v_n, real, D, BD, True)
    dk = tl.zeros([ROWS, BD], tl.float32)
    dv = tl.zeros([ROWS, BD], tl.float32)
    meets = count
    if OWN and length > first:
        meets += OWN * _alone(row, lengths, b, M)
    for s in range(meets):
        lo, n = _met(row, s, lengths, b, M, FULL)
        whole = n // BLOCK * BLOCK
        for r in range(0, whole, BLOCK):
            rows = lo + r + tl.arange(0, BLOCK)
            q = _rows(q_base, rows, q_n, rows >= 0, D, BD, False)
            g = _rows(g_base, rows, g_n, rows >= 0, D, BD, False)
            dk, dv = _key_gradients(
                dk, dv, k, v, q, g, tl.load(LSE + bh * N + rows), tl.load(DELTA + bh * N + rows), scale
            )
        for r in tl.range(whole, n, TAIL, num_stages=1):
            rows = r + tl.arange(0, TAIL)
            q = _rows(q_base, lo + rows, q_n, rows < n, D, BD, True)
            g = _rows(g_base, lo + rows, g_n, rows < n, D, BD, True)
            lse = tl.load(LSE + bh * N + lo + rows, mask=rows < n, other=float("inf"))
            delta = tl.load(DELTA + bh * N + lo + rows, mask=rows < n, other=0.0)
            dk, dv = _key_gradients(dk, dv, k, v, q, g, lse, delta, scale)
    dk = tl.where(real[:, None], dk * true_scale, 0.0)
    dv = tl.where(real[:, None], dv, 0.0)
    _put(DK + b * dk_b + h * dk_h, at, dk_n, inner < size, dk, D, BD)
    _put(DV + b * dv_b + h * dv_h, at, dv_n, inner < size, dv, D, BD)
