"""The backward kernels for Hopper GPUs, in Gluon, at width 64: all three gradients from one pass over the scores.

`backward_kernel` runs once per multiprocessor, and each program takes every so-and-so-many-th tile of 128 keys: a warp
streams them and the queries that see them through rings of buffers (TMA), two warpgroups of 64 keys each compute scores
and the gradients of keys and values, and a third warpgroup adds what they give for the queries to float32 sums, by
atomics. Whoever needs bit for bit the same gradients of queries every time takes `fused_kernels` instead.

`prepare_kernel` comes before it and `finish_kernel` behind, for some samples at a time, from `first_sample` on, so that
statistics and sums stay small and in the chip's cache. They see queries in blocks of 64 that end with their
modality; per block the statistics hold 64 log-sum-exps (base 2) and 64 deltas, and the sums 64 * 64 numbers in the
order in which the threads that add them hold them, so that neighbouring threads write to neighbouring places.

A row of the plan, one for each tile of keys and sample, longest first:

    sample, head, first token, keys left of the modality, real keys left, blocks of queries, met, 0,
    then per met modality: real queries, first token, first block of the statistics and sums, 0
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from locomt.ops.hopper.language import barrier, copy_to_shared

BLOCK = gl.constexpr(64)  # queries of a block, and keys of a warpgroup
D = gl.constexpr(64)
HEADER = gl.constexpr(8)  # columns of a plan row before the met modalities
FIELDS = gl.constexpr(4)  # columns of a met modality
PRODUCT = gl.constexpr(gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16]))
LEFT = gl.constexpr(gl.DotOperandLayout(0, PRODUCT, 2))
ROWS = gl.constexpr(gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0]))
STAGES = gl.constexpr(4)


@triton.jit(do_not_specialize=["width", "tiles", "plan_width", "per_sample", "rows", "first_sample", "H", "N", "count"])
def prepare_kernel(
    OUT, GRAD, LSE, statistics, sums, table, width, tiles, order, blocks, first_blocks, plan, plan_width, lengths,
    per_sample, rows, first_sample, H, N, count, o_b, o_h, o_n, g_b, g_h, g_n,
):  # fmt: skip
    """The statistics of a block of queries, its sums set to 0, and a row of the plan."""
    pid = tl.program_id(0)
    if pid < rows:
        code = tl.load(order + pid)
        local = code // tiles
        b = first_sample + local
        row = table + (code % tiles) * width  # as `fused_kernels` has them, and the head
        to = plan + pid * plan_width
        first = tl.load(row + 1)
        h = tl.load(row + width - 1)
        real = tl.load(lengths + b * per_sample + tl.load(row)).to(tl.int32) - first
        met = tl.load(row + 5)
        total = 0
        for s in range(met):
            other = tl.load(row + 6 + 3 * s)
            n = tl.load(lengths + b * per_sample + other).to(tl.int32)
            n = tl.where(real > 0, n, 0)
            total += (n + 63) // 64
            tl.store(to + 8 + 4 * s, n)
            tl.store(to + 9 + 4 * s, tl.load(row + 7 + 3 * s))
            tl.store(to + 10 + 4 * s, (local * H + h) * count + tl.load(first_blocks + other))
        tl.store(to, b)
        tl.store(to + 1, h)
        tl.store(to + 2, tl.load(row + 2) + first)
        tl.store(to + 3, tl.load(row + 3) - first)
        tl.store(to + 4, real)
        tl.store(to + 5, total)
        tl.store(to + 6, met)
    block = blocks + 4 * (pid % count)
    bh = first_sample * H + (pid // count).to(tl.int64)
    b = bh // H
    h = bh % H
    modality = tl.load(block)
    start = tl.load(block + 1)
    first = tl.load(block + 2)
    inner = first + tl.arange(0, 64)
    at = start + inner
    d = tl.arange(0, 64)
    real = inner < tl.load(lengths + b * per_sample + modality).to(tl.int32)
    out = tl.load(OUT + b * o_b + h * o_h + at[:, None] * o_n + d[None, :], mask=real[:, None], other=0.0)
    grad = tl.load(GRAD + b * g_b + h * g_h + at[:, None] * g_n + d[None, :], mask=real[:, None], other=0.0)
    to = statistics + pid.to(tl.int64) * 128 + tl.arange(0, 64)
    tl.store(to, tl.load(LSE + bh * N + at, mask=real, other=float("inf")))
    tl.store(to + 64, tl.sum(out.to(tl.float32) * grad.to(tl.float32), 1))
    tl.store(sums + pid.to(tl.int64) * 4096 + tl.arange(0, 4096), tl.zeros([4096], tl.float32))


@triton.jit(do_not_specialize=["count", "first_sample", "H"])
def finish_kernel(sums, DQ, blocks, count, first_sample, H, dq_b, dq_h, dq_n, scale):
    """The gradient of a block of queries from its sums."""
    pid = tl.program_id(0)
    block = blocks + 4 * (pid % count)
    bh = first_sample * H + (pid // count).to(tl.int64)
    start = tl.load(block + 1)
    inner = tl.load(block + 2) + tl.arange(0, 64)
    x = tl.load(sums + pid.to(tl.int64) * 4096 + tl.arange(0, 4096))
    x = (x * scale).to(DQ.dtype.element_ty).reshape(8, 4, 8, 4, 2, 2)  # as `_add` leaves them
    x = x.permute(0, 3, 5, 1, 4, 2).reshape(64, 64)
    to = DQ + (bh // H) * dq_b + (bh % H) * dq_h + (start + inner)[:, None] * dq_n + tl.arange(0, 64)[None, :]
    tl.store(to, x, mask=(inner < tl.load(block + 3))[:, None])


@gluon.jit
def _clear(buffer, real):
    """Zero the rows from `real` on; what lies there may be NaN, which a weight of 0 would not stop."""
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [1, 1], [1, 0])
    for c in gl.static_range(4):
        if real < 16 * (c + 1):
            part = buffer.slice(16 * c, 16, 0)
            x = part.load(layout)
            inside = 16 * c + gl.arange(0, 16, gl.SliceLayout(1, layout)) < real
            part.store(gl.where(inside[:, None], x, gl.zeros_like(x)))


@gluon.jit
def _produce(q_desc, k_desc, v_desc, g_desc, s_desc, plan, width, rows, queries, keys, partial):
    qs, gs, statistics, full, empty = queries
    ks, vs, k_full, k_empty = keys
    tile_bytes: gl.constexpr = q_desc.block_type.nbytes
    block_bytes: gl.constexpr = 2 * q_desc.block_type.nbytes + s_desc.block_type.nbytes
    count = 0
    turn = 0
    phase = 0
    for w in range(gl.program_id(0), rows, gl.num_programs(0)):
        row = plan + w * width
        b = gl.load(row)
        h = gl.load(row + 1)
        start = gl.load(row + 2)
        real = gl.load(row + 4)
        met = gl.load(row + 6)
        u = turn % 2
        mbarrier.wait(k_empty.index(u), ((turn // 2) & 1) ^ 1)
        whole = real >= 2 * BLOCK
        if whole:
            mbarrier.expect(k_full.index(u), 4 * tile_bytes)
            for x in gl.static_range(2):
                copy_to_shared(k_desc, [b, h, start + BLOCK * x, 0], k_full.index(u), ks.index(2 * u + x))
                copy_to_shared(v_desc, [b, h, start + BLOCK * x, 0], k_full.index(u), vs.index(2 * u + x))
        else:
            mbarrier.expect(partial, 4 * tile_bytes)
            for x in gl.static_range(2):
                copy_to_shared(k_desc, [b, h, start + BLOCK * x, 0], partial, ks.index(2 * u + x))
                copy_to_shared(v_desc, [b, h, start + BLOCK * x, 0], partial, vs.index(2 * u + x))
            mbarrier.wait(partial, phase)
            phase ^= 1
            for x in gl.static_range(2):
                _clear(ks.index(2 * u + x).reshape([BLOCK, D]), real - BLOCK * x)
                _clear(vs.index(2 * u + x).reshape([BLOCK, D]), real - BLOCK * x)
            fence_async_shared()
            barrier()
            mbarrier.arrive(k_full.index(u), count=1)
        for s in range(met):
            n = gl.load(row + HEADER + FIELDS * s)
            low = gl.load(row + HEADER + FIELDS * s + 1)
            block = gl.load(row + HEADER + FIELDS * s + 2)
            for r in range(0, n, BLOCK):
                x = count % STAGES
                mbarrier.wait(empty.index(x), ((count // STAGES) & 1) ^ 1)
                if n - r >= BLOCK:
                    mbarrier.expect(full.index(x), block_bytes)
                    copy_to_shared(q_desc, [b, h, low + r, 0], full.index(x), qs.index(x))
                    copy_to_shared(s_desc, [(block + r // BLOCK) * 128], full.index(x), statistics.index(x))
                    copy_to_shared(g_desc, [b, h, low + r, 0], full.index(x), gs.index(x))
                else:
                    mbarrier.expect(partial, block_bytes)
                    copy_to_shared(q_desc, [b, h, low + r, 0], partial, qs.index(x))
                    copy_to_shared(s_desc, [(block + r // BLOCK) * 128], partial, statistics.index(x))
                    copy_to_shared(g_desc, [b, h, low + r, 0], partial, gs.index(x))
                    mbarrier.wait(partial, phase)
                    phase ^= 1
                    _clear(qs.index(x).reshape([BLOCK, D]), n - r)
                    _clear(gs.index(x).reshape([BLOCK, D]), n - r)
                    fence_async_shared()
                    barrier()
                    mbarrier.arrive(full.index(x), count=1)
                count += 1
        turn += 1


@gluon.jit
def _begin(k, v, queries, count):
    """The scores of the keys with a block of queries and the products of values and gradients, both under way."""
    qs, gs, _statistics, full, _empty = queries
    x = count % STAGES
    mbarrier.wait(full.index(x), (count // STAGES) & 1)
    zeros = gl.zeros([BLOCK, BLOCK], gl.float32, PRODUCT)
    s = warpgroup_mma(k, qs.index(x).reshape([BLOCK, D]).permute((1, 0)), zeros, use_acc=False, is_async=True)
    dp = warpgroup_mma(v, gs.index(x).reshape([BLOCK, D]).permute((1, 0)), zeros, use_acc=False, is_async=True)
    return s, dp


@gluon.jit
def _block(s, dp, dk, dv, real, queries, products, count, scale, GROUP: gl.constexpr):
    """A block of queries into the gradients of 64 keys and values, the last product being under way."""
    qs, gs, statistics, _full, _empty = queries
    dss, ds_full, ds_empty = products
    column: gl.constexpr = gl.SliceLayout(0, PRODUCT)
    x = count % STAGES
    lse = statistics.index(x).slice(0, BLOCK, 0).load(column)
    p = gl.exp2(s * scale - lse[None, :])
    p = gl.where(real[:, None], p, 0.0)
    p16 = gl.convert_layout(p.to(qs.dtype), LEFT)
    delta = statistics.index(x).slice(BLOCK, BLOCK, 0).load(column)
    dp = warpgroup_mma_wait(0, deps=(dp,))
    dv = warpgroup_mma(p16, gs.index(x).reshape([BLOCK, D]), dv, is_async=True)
    ds = (p * (dp - delta[None, :])).to(qs.dtype)
    y = count % 2
    mbarrier.wait(ds_empty.index(y), ((count // 2) & 1) ^ 1)
    dss.index(2 * y + GROUP).store(ds)
    fence_async_shared()
    mbarrier.arrive(ds_full.index(2 * y + GROUP), count=1)
    dv = warpgroup_mma_wait(0, deps=(dv,))
    dk = warpgroup_mma(gl.convert_layout(ds, LEFT), qs.index(x).reshape([BLOCK, D]), dk, is_async=True)
    return dk, dv


@gluon.jit
def _tile(plan, width, w, rows):
    row = plan + gl.minimum(w, rows - 1) * width
    return gl.load(row), gl.load(row + 1), gl.load(row + 2), gl.load(row + 3), gl.load(row + 4), gl.load(row + 5)


@gluon.jit
def _consume(to, scale, true_scale, plan, width, rows, queries, keys, products, GROUP: gl.constexpr):
    DK, DV, dk_b, dk_h, dk_n, dv_b, dv_h, dv_n = to
    qs, _gs, _statistics, full, empty = queries
    ks, vs, k_full, k_empty = keys
    _dss, ds_full, ds_empty = products
    count = 0
    turn = 0
    b, h, start, left, real, blocks = _tile(plan, width, gl.program_id(0), rows)
    for w in range(gl.program_id(0), rows, gl.num_programs(0)):
        after = _tile(plan, width, w + gl.num_programs(0), rows)  # its loads run while this tile is computed
        u = turn % 2
        mbarrier.wait(k_full.index(u), (turn // 2) & 1)
        k = ks.index(2 * u + GROUP).reshape([BLOCK, D]).load(LEFT)
        v = vs.index(2 * u + GROUP).reshape([BLOCK, D])
        dk = gl.zeros([BLOCK, D], gl.float32, PRODUCT)
        dv = gl.zeros([BLOCK, D], gl.float32, PRODUCT)
        seen = gl.arange(0, BLOCK, gl.SliceLayout(1, PRODUCT)) + BLOCK * GROUP < real
        if (blocks > 0) & (real > BLOCK * GROUP):
            dk, dv = warpgroup_mma_wait(0, deps=(dk, dv))
            s, dp = _begin(k, v, queries, count)
            s = warpgroup_mma_wait(1, deps=(s,))
            for _ in range(blocks - 1):
                dk, dv = _block(s, dp, dk, dv, seen, queries, products, count, scale, GROUP)
                s, dp = _begin(k, v, queries, count + 1)
                s, dk = warpgroup_mma_wait(1, deps=(s, dk))
                mbarrier.arrive(empty.index(count % STAGES), count=1)
                count += 1
            dk, dv = _block(s, dp, dk, dv, seen, queries, products, count, scale, GROUP)
            dk = warpgroup_mma_wait(0, deps=(dk,))
            mbarrier.arrive(empty.index(count % STAGES), count=1)
            count += 1
        else:  # no keys for this warpgroup: let the blocks pass
            for _ in range(blocks):
                mbarrier.wait(full.index(count % STAGES), (count // STAGES) & 1)
                mbarrier.arrive(empty.index(count % STAGES), count=1)
                mbarrier.wait(ds_empty.index(count % 2), ((count // 2) & 1) ^ 1)
                mbarrier.arrive(ds_full.index(2 * (count % 2) + GROUP), count=1)
                count += 1
        mbarrier.arrive(k_empty.index(u), count=1)
        r = gl.arange(0, BLOCK, gl.SliceLayout(1, ROWS)) + BLOCK * GROUP
        d = gl.arange(0, D, gl.SliceLayout(0, ROWS))
        token = (start + r)[:, None]
        inside = (r < left)[:, None]
        dk = gl.convert_layout((dk * true_scale).to(qs.dtype), ROWS)
        dv = gl.convert_layout(dv.to(qs.dtype), ROWS)
        gl.store(DK + b.to(gl.int64) * dk_b + h * dk_h + token * dk_n + d[None, :], dk, mask=inside)
        gl.store(DV + b.to(gl.int64) * dv_b + h * dv_h + token * dv_n + d[None, :], dv, mask=inside)
        b, h, start, left, real, blocks = after
        turn += 1


@gluon.jit
def _add(sums, block, n, k0, k1, products, count, BOTH: gl.constexpr):
    """What 64 or 128 keys give for the queries of one modality, block by block."""
    dss, ds_full, ds_empty = products
    for r in range(0, n, BLOCK):
        y = count % 2
        phase = (count // 2) & 1
        zeros = gl.zeros([D, BLOCK], gl.float32, PRODUCT)
        mbarrier.wait(ds_full.index(2 * y), phase)
        dq = warpgroup_mma(k0, dss.index(2 * y), zeros, use_acc=False, is_async=True)
        mbarrier.wait(ds_full.index(2 * y + 1), phase)
        if BOTH:
            dq = warpgroup_mma(k1, dss.index(2 * y + 1), dq, is_async=True)
        dq = warpgroup_mma_wait(0, deps=(dq,))
        mbarrier.arrive(ds_empty.index(y), count=1)
        dq = dq.reshape([4, 2, 8, 8, 4, 2]).permute((3, 0, 2, 4, 1, 5)).reshape([BLOCK * D])
        to = sums + (block + r // BLOCK).to(gl.int64) * (BLOCK * D) + gl.arange(0, BLOCK * D, dq.type.layout)
        gl.atomic_add(to, dq, sem="relaxed")
        count += 1
    return count


@gluon.jit
def _sum(sums, plan, width, rows, keys, products):
    ks, _vs, k_full, k_empty = keys
    count = 0
    turn = 0
    for w in range(gl.program_id(0), rows, gl.num_programs(0)):
        row = plan + w * width
        real = gl.load(row + 4)
        met = gl.load(row + 6)
        u = turn % 2
        mbarrier.wait(k_full.index(u), (turn // 2) & 1)
        k0 = ks.index(2 * u).reshape([BLOCK, D]).permute((1, 0)).load(LEFT)
        k1 = ks.index(2 * u + 1).reshape([BLOCK, D]).permute((1, 0)).load(LEFT)
        mbarrier.arrive(k_empty.index(u), count=1)
        for s in range(met):
            n = gl.load(row + HEADER + FIELDS * s)
            block = gl.load(row + HEADER + FIELDS * s + 2)
            if real > BLOCK:
                count = _add(sums, block, n, k0, k1, products, count, True)
            else:
                count = _add(sums, block, n, k0, k1, products, count, False)
        turn += 1


@gluon.jit(do_not_specialize=["width", "rows"])
def backward_kernel(
    q_desc, k_desc, v_desc, g_desc, s_desc, sums, DK, DV, plan, width, rows, dk_b, dk_h, dk_n, dv_b, dv_h,
    dv_n, scale, true_scale,
):  # fmt: skip
    """The gradients of keys and values, and the sums from which `finish_kernel` makes that of queries."""
    dtype: gl.constexpr = q_desc.dtype
    bar: gl.constexpr = mbarrier.MBarrierLayout()
    qs = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BLOCK, D], q_desc.layout)
    gs = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BLOCK, D], g_desc.layout)
    ks = gl.allocate_shared_memory(dtype, [4, 1, 1, BLOCK, D], k_desc.layout)
    vs = gl.allocate_shared_memory(dtype, [4, 1, 1, BLOCK, D], v_desc.layout)
    statistics = gl.allocate_shared_memory(gl.float32, [STAGES, 2 * BLOCK], s_desc.layout)
    dss = gl.allocate_shared_memory(dtype, [4, BLOCK, BLOCK], gl.NVMMASharedLayout(128, 16, 2))
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    ds_full = gl.allocate_shared_memory(gl.int64, [4, 1], bar)
    ds_empty = gl.allocate_shared_memory(gl.int64, [2, 1], bar)
    k_full = gl.allocate_shared_memory(gl.int64, [2, 1], bar)
    k_empty = gl.allocate_shared_memory(gl.int64, [2, 1], bar)
    partial = gl.allocate_shared_memory(gl.int64, [1], bar)
    for x in gl.static_range(STAGES):
        mbarrier.init(full.index(x), count=1)
        mbarrier.init(empty.index(x), count=2)
    for x in gl.static_range(4):
        mbarrier.init(ds_full.index(x), count=1)
    for x in gl.static_range(2):
        mbarrier.init(ds_empty.index(x), count=1)
        mbarrier.init(k_full.index(x), count=1)
        mbarrier.init(k_empty.index(x), count=3)
    mbarrier.init(partial, count=1)
    fence_async_shared()
    barrier()
    queries = (qs, gs, statistics, full, empty)
    keys = (ks, vs, k_full, k_empty)
    products = (dss, ds_full, ds_empty)
    to = (DK, DV, dk_b, dk_h, dk_n, dv_b, dv_h, dv_n)
    # What is known at compile time stays so only where it is written out.
    gl.warp_specialize(
        [
            (_consume, (to, scale, true_scale, plan, width, rows, queries, keys, products, 0)),
            (_consume, (to, scale, true_scale, plan, width, rows, queries, keys, products, 1)),
            (_sum, (sums, plan, width, rows, keys, products)),
            (_produce, (q_desc, k_desc, v_desc, g_desc, s_desc, plan, width, rows, queries, keys, partial)),
        ],
        [4, 4, 1],
        [192, 96, 32],
    )
