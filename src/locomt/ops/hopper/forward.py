"""The forward kernel for Hopper GPUs, in Gluon: what `fused_kernels.forward_kernel` computes, at widths 64 and 128.

One program per multiprocessor works until no tile is left. A producer warp draws tiles of `GROUPS` times 64 queries
from a counter and streams their queries, keys and values through rings of buffers (TMA), from one tile into the next
without a pause; each of `GROUPS` warpgroups attends for 64 of the queries, all from the same keys and values.

A tile is a row of the work table; `order` lists sample * tiles + tile, longest first, and ends with -1.
What a warpgroup has to know of a tile the producer leaves as a message beside the queries: sample, head, first token,
queries left, tokens left of the modality, met modalities, full blocks of keys, and the keys of each one's remainder.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from locomt.ops.hopper.language import barrier, copy_to_shared

ROWS = gl.constexpr(64)  # queries of a warpgroup: the height of a tensor-core product
BLOCK = gl.constexpr(128)  # keys of a block
HEADER = gl.constexpr(6)  # columns of a table row before the met modalities
FIELDS = gl.constexpr(3)  # columns of a met modality
WORDS = gl.constexpr(32)  # of a message: 7, and one for every met modality
SCORES = gl.constexpr(gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 128, 16]))


@gluon.jit
def _push(desc, ring, count, b, h, row):
    """Copy a block of keys or values, from token `row` on, to its place in the ring."""
    buffers, full, empty = ring
    STAGES: gl.constexpr = buffers.shape[0]
    slot = count % STAGES
    mbarrier.wait(empty.index(slot), ((count // STAGES) & 1) ^ 1)
    mbarrier.expect(full.index(slot), desc.block_type.nbytes)
    copy_to_shared(desc, [b, h, row, 0], full.index(slot), buffers.index(slot))


@gluon.jit
def _put(messages, at, word):
    messages.index(at).store(gl.full([1], word, gl.int32, gl.BlockedLayout([1], [32], [1], [0])))


@gluon.jit
def _get(messages, at):
    """A word of a message, to all threads of a warpgroup."""
    return gl.sum(messages.index(at).load(gl.BlockedLayout([1], [32], [4], [0])), 0)


@gluon.jit
def _produce(source, queries, k_ring, v_ring, MET: gl.constexpr):
    q_desc, k_desc, v_desc, table, width, tiles, order, counter, lengths, per_sample = source
    qs, messages, q_full, q_empty = queries
    AHEAD: gl.constexpr = messages.shape[0] // WORDS
    GROUPS: gl.constexpr = qs.shape[0] // AHEAD
    drawn = 0
    count = 0
    code = gl.load(order + gl.program_id(0))
    while code >= 0:
        b = code // tiles
        row = table + (code % tiles) * width
        code = gl.load(order + gl.num_programs(0) + gl.atomic_add(counter, 1, sem="relaxed"))
        first = gl.load(row + 1)
        start = gl.load(row + 2) + first
        h = gl.load(row + width - 1)
        met = gl.load(row + 5)
        left = gl.load(lengths + b * per_sample + gl.load(row)).to(gl.int32) - first
        met = gl.where(left > 0, met, 0)
        place = drawn % AHEAD
        mbarrier.wait(q_empty.index(place), ((drawn // AHEAD) & 1) ^ 1)
        message = place * WORDS
        blocks = 0
        for s in gl.static_range(MET):
            if s < met:
                n = gl.load(lengths + b * per_sample + gl.load(row + HEADER + FIELDS * s)).to(gl.int32)
                blocks += n // BLOCK
                _put(messages, message + 7 + s, n % BLOCK)
        _put(messages, message, b)
        _put(messages, message + 1, h)
        _put(messages, message + 2, start)
        _put(messages, message + 3, left)
        _put(messages, message + 4, gl.load(row + 3) - first)
        _put(messages, message + 5, met)
        _put(messages, message + 6, blocks)
        barrier()
        mbarrier.expect(q_full.index(place), GROUPS * q_desc.block_type.nbytes)
        for w in gl.static_range(GROUPS):
            buffer = qs.index(place * GROUPS + w)
            copy_to_shared(q_desc, [b, h, start + ROWS * w, 0], q_full.index(place), buffer)
        for whole in gl.static_range(2):  # remainders first, then full blocks
            for s in gl.static_range(MET):
                if s < met:
                    n = gl.load(lengths + b * per_sample + gl.load(row + HEADER + FIELDS * s)).to(gl.int32)
                    low = gl.load(row + HEADER + FIELDS * s + 1)
                    begin = 0 if whole else n // BLOCK * BLOCK
                    end = n // BLOCK * BLOCK if whole else n
                    for c in range(begin, end, BLOCK):
                        _push(k_desc, k_ring, count, b, h, low + c)
                        _push(v_desc, v_ring, count, b, h, low + c)
                        count += 1
        drawn += 1
    place = drawn % AHEAD
    mbarrier.wait(q_empty.index(place), ((drawn // AHEAD) & 1) ^ 1)
    _put(messages, place * WORDS, -1)
    barrier()
    mbarrier.arrive(q_full.index(place), count=1)


@gluon.jit
def _exp2(x):
    return gl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=r,r", [x], dtype=gl.float32, is_pure=True, pack=1)


@gluon.jit
def _products(q, k, KEYS: gl.constexpr, LAYOUT: gl.constexpr):
    """The scores of 64 queries with a block of keys, under way."""
    zeros = gl.zeros([ROWS, KEYS], gl.float32, LAYOUT)
    return warpgroup_mma(q, k.permute((1, 0)), zeros, use_acc=False, is_async=True)


@gluon.jit
def _remainder(q, k_ring, v_ring, count, acc, peak, total, keys, scale, KEYS: gl.constexpr):
    """A block of which the first `keys` of `KEYS` are real into the running softmax."""
    ks, k_full, k_empty = k_ring
    vs, v_full, v_empty = v_ring
    STAGES: gl.constexpr = ks.shape[0]
    D: gl.constexpr = ks.shape[4]
    scores_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, KEYS, 16])
    weights_layout: gl.constexpr = gl.DotOperandLayout(0, acc.type.layout, 2)
    rows_layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    slot = count % STAGES
    phase = (count // STAGES) & 1
    mbarrier.wait(k_full.index(slot), phase)
    s = _products(q, ks.index(slot).reshape([BLOCK, D]).slice(0, KEYS, 0), KEYS, scores_layout)
    # What follows the real values may be NaN, which a weight of 0 would not stop.
    mbarrier.wait(v_full.index(slot), phase)
    buffer = vs.index(slot).reshape([BLOCK, D]).slice(0, KEYS, 0)
    v = buffer.load(rows_layout)
    real = gl.arange(0, KEYS, layout=gl.SliceLayout(1, rows_layout)) < keys
    buffer.store(gl.where(real[:, None], v, gl.zeros_like(v)))
    fence_async_shared()
    s = warpgroup_mma_wait(0, deps=[s])
    mbarrier.arrive(k_empty.index(slot), count=1)
    real = gl.arange(0, KEYS, layout=gl.SliceLayout(0, scores_layout)) < keys
    s = gl.where(real[None, :], s * scale, float("-inf"))
    higher = gl.maximum(peak, gl.convert_layout(gl.max(s, 1), peak.type.layout))
    p = _exp2(s - gl.convert_layout(higher, gl.SliceLayout(1, scores_layout))[:, None])
    shrink = _exp2(peak - higher)
    total = total * shrink + gl.convert_layout(gl.sum(p, 1), total.type.layout)
    acc = acc * gl.convert_layout(shrink, gl.SliceLayout(1, acc.type.layout))[:, None]
    acc = warpgroup_mma(gl.convert_layout(p.to(vs.dtype), weights_layout), buffer, acc, is_async=True)
    acc = warpgroup_mma_wait(0, deps=[acc])
    mbarrier.arrive(v_empty.index(slot), count=1)
    return acc, higher, total


@gluon.jit
def _softmax(s, peak, total, scale):
    """The weights of a full block, by how much to shrink what was summed before it, and the running softmax."""
    higher = gl.maximum(peak, gl.max(s, 1) * scale)
    p = _exp2(s * scale - higher[:, None])
    shrink = _exp2(peak - higher)
    total = total * shrink + gl.sum(p, 1)
    return p, shrink, higher, total


@gluon.jit
def _consume(to, scale, queries, k_ring, v_ring, GROUP: gl.constexpr, MET: gl.constexpr):
    OUT, LSE, H, N, o_b, o_h, o_n = to
    qs, messages, q_full, q_empty = queries
    ks, k_full, k_empty = k_ring
    vs, v_full, v_empty = v_ring
    AHEAD: gl.constexpr = messages.shape[0] // WORDS
    GROUPS: gl.constexpr = qs.shape[0] // AHEAD
    STAGES: gl.constexpr = ks.shape[0]
    D: gl.constexpr = ks.shape[4]
    out_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    weights_layout: gl.constexpr = gl.DotOperandLayout(0, out_layout, 2)
    row_layout: gl.constexpr = gl.SliceLayout(1, SCORES)
    out_row_layout: gl.constexpr = gl.SliceLayout(1, out_layout)
    store_layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    drawn = 0
    count = 0
    b = 0
    while b >= 0:
        place = drawn % AHEAD
        mbarrier.wait(q_full.index(place), (drawn // AHEAD) & 1)
        message = place * WORDS
        b = _get(messages, message)
        if b >= 0:
            start = _get(messages, message + 2) + ROWS * GROUP
            left = _get(messages, message + 3) - ROWS * GROUP
            size = _get(messages, message + 4) - ROWS * GROUP
            blocks = _get(messages, message + 6)
            h = _get(messages, message + 1)
            met = _get(messages, message + 5)
            q = qs.index(place * GROUPS + GROUP).reshape([ROWS, D])
            acc = gl.zeros([ROWS, D], gl.float32, out_layout)
            peak = gl.full([ROWS], -1e38, gl.float32, row_layout)  # finite, so that its difference with itself is 0
            total = gl.zeros([ROWS], gl.float32, row_layout)
            if left > 0:
                for i in gl.static_range(MET):
                    keys = 0
                    if i < met:
                        keys = _get(messages, message + 7 + i)
                    if keys > 0:
                        if keys <= 32:
                            acc, peak, total = _remainder(q, k_ring, v_ring, count, acc, peak, total, keys, scale, 32)
                        elif keys <= 64:
                            acc, peak, total = _remainder(q, k_ring, v_ring, count, acc, peak, total, keys, scale, 64)
                        else:
                            acc, peak, total = _remainder(
                                q, k_ring, v_ring, count, acc, peak, total, keys, scale, BLOCK
                            )
                        count += 1
                if blocks > 0:
                    slot = count % STAGES
                    mbarrier.wait(k_full.index(slot), (count // STAGES) & 1)
                    s = _products(q, ks.index(slot).reshape([BLOCK, D]), BLOCK, SCORES)
                    s = warpgroup_mma_wait(0, deps=[s])
                    mbarrier.arrive(k_empty.index(slot), count=1)
                    p32, shrink, peak, total = _softmax(s, peak, total, scale)
                    acc = acc * gl.convert_layout(shrink, out_row_layout)[:, None]
                    p = gl.convert_layout(p32.to(ks.dtype), weights_layout)
                    for _ in range(1, blocks):  # scores of one block beside the weighted sum of the one before
                        before = count % STAGES
                        before_phase = (count // STAGES) & 1
                        count += 1
                        slot = count % STAGES
                        mbarrier.wait(k_full.index(slot), (count // STAGES) & 1)
                        s = _products(q, ks.index(slot).reshape([BLOCK, D]), BLOCK, SCORES)
                        mbarrier.wait(v_full.index(before), before_phase)
                        acc = warpgroup_mma(p, vs.index(before).reshape([BLOCK, D]), acc, is_async=True)
                        s = warpgroup_mma_wait(1, deps=[s])
                        mbarrier.arrive(k_empty.index(slot), count=1)
                        p32, shrink, peak, total = _softmax(s, peak, total, scale)
                        acc, p = warpgroup_mma_wait(0, deps=[acc, p])
                        mbarrier.arrive(v_empty.index(before), count=1)
                        acc = acc * gl.convert_layout(shrink, out_row_layout)[:, None]
                        p = gl.convert_layout(p32.to(ks.dtype), weights_layout)
                    slot = count % STAGES
                    mbarrier.wait(v_full.index(slot), (count // STAGES) & 1)
                    acc = warpgroup_mma(p, vs.index(slot).reshape([BLOCK, D]), acc, is_async=True)
                    count += 1
                    acc = warpgroup_mma_wait(0, deps=[acc])
                    mbarrier.arrive(v_empty.index(slot), count=1)
            else:  # no queries for this warpgroup: let the blocks pass
                for i in range(met):
                    blocks += gl.where(_get(messages, message + 7 + i) > 0, 1, 0)
                for _ in range(blocks):
                    slot = count % STAGES
                    phase = (count // STAGES) & 1
                    mbarrier.wait(k_full.index(slot), phase)
                    mbarrier.arrive(k_empty.index(slot), count=1)
                    mbarrier.wait(v_full.index(slot), phase)
                    mbarrier.arrive(v_empty.index(slot), count=1)
                    count += 1
            mbarrier.arrive(q_empty.index(place), count=1)
            if size > 0:
                rows = gl.arange(0, ROWS, layout=row_layout)
                sees = (total > 0) & (rows < left)
                divisor = gl.where(total > 0, total, 1.0)
                lse = gl.where(sees, peak + gl.log2(divisor), float("inf"))
                gl.store(LSE + (b.to(gl.int64) * H + h) * N + start + rows, lse, mask=rows < size)
                weight = gl.convert_layout(gl.where(sees, 1.0 / divisor, 0.0), out_row_layout)
                out = gl.where(gl.convert_layout(sees, out_row_layout)[:, None], acc * weight[:, None], 0.0)
                out = gl.convert_layout(out.to(ks.dtype), store_layout)
                rows = gl.arange(0, ROWS, layout=gl.SliceLayout(1, store_layout))
                d = gl.arange(0, D, layout=gl.SliceLayout(0, store_layout))
                base = OUT + b.to(gl.int64) * o_b + h * o_h + start.to(gl.int64) * o_n
                gl.store(base + rows[:, None] * o_n + d[None, :], out, mask=(rows < size)[:, None])
        drawn += 1


@gluon.jit(do_not_specialize=["width", "tiles", "per_sample", "H", "N"])
def forward_kernel(
    OUT, LSE, q_desc, k_desc, v_desc, table, width, tiles, order, counter, lengths, per_sample, H, N, o_b, o_h, o_n,
    scale,
    D: gl.constexpr, MET: gl.constexpr, GROUPS: gl.constexpr, STAGES: gl.constexpr, AHEAD: gl.constexpr,
    REGISTERS: gl.constexpr, PRODUCER_REGISTERS: gl.constexpr,
):  # fmt: skip
    """The output and the log-sum-exp (base 2, +inf for rows that see nothing) of all tiles that it draws.

    `lengths` holds `per_sample` integers a sample, or one row for all samples where that is 0; no tile meets
    more than `MET` modalities.
    """
    dtype: gl.constexpr = OUT.dtype.element_ty
    bar: gl.constexpr = mbarrier.MBarrierLayout()
    qs = gl.allocate_shared_memory(dtype, [AHEAD * GROUPS, 1, 1, ROWS, D], q_desc.layout)
    ks = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BLOCK, D], k_desc.layout)
    vs = gl.allocate_shared_memory(dtype, [STAGES, 1, 1, BLOCK, D], v_desc.layout)
    messages = gl.allocate_shared_memory(gl.int32, [AHEAD * WORDS, 1], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    q_full = gl.allocate_shared_memory(gl.int64, [AHEAD, 1], bar)
    q_empty = gl.allocate_shared_memory(gl.int64, [AHEAD, 1], bar)
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    v_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    v_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], bar)
    for i in gl.static_range(AHEAD):
        mbarrier.init(q_full.index(i), count=1)
        mbarrier.init(q_empty.index(i), count=GROUPS)
    for i in gl.static_range(STAGES):
        mbarrier.init(k_full.index(i), count=1)
        mbarrier.init(k_empty.index(i), count=GROUPS)
        mbarrier.init(v_full.index(i), count=1)
        mbarrier.init(v_empty.index(i), count=GROUPS)
    fence_async_shared()
    queries = (qs, messages, q_full, q_empty)
    k_ring = (ks, k_full, k_empty)
    v_ring = (vs, v_full, v_empty)
    to = (OUT, LSE, H, N, o_b, o_h, o_n)
    source = (q_desc, k_desc, v_desc, table, width, tiles, order, counter, lengths, per_sample)
    # What is known at compile time stays so only where it is written out.
    if GROUPS == 2:
        gl.warp_specialize(
            [
                (_consume, (to, scale, queries, k_ring, v_ring, 0, MET)),
                (_consume, (to, scale, queries, k_ring, v_ring, 1, MET)),
                (_produce, (source, queries, k_ring, v_ring, MET)),
            ],
            [4, 1],
            [REGISTERS, PRODUCER_REGISTERS],
        )
    else:
        gl.warp_specialize(
            [
                (_consume, (to, scale, queries, k_ring, v_ring, 0, MET)),
                (_consume, (to, scale, queries, k_ring, v_ring, 1, MET)),
                (_consume, (to, scale, queries, k_ring, v_ring, 2, MET)),
                (_produce, (source, queries, k_ring, v_ring, MET)),
            ],
            [4, 4, 1],
            [REGISTERS, REGISTERS, PRODUCER_REGISTERS],
        )
