"""Warp-specialised Gluon forward kernel (Hopper) for view attention.

One persistent CTA per SM: one producer warp walks a tile list and streams Q, K and V by TMA through rings of buffers
across tile boundaries; C consumer warpgroups each own 64 query rows and share the K/V stream.
"""
import heapq
import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (tma, mbarrier, fence_async_shared, warpgroup_mma,
                                                              warpgroup_mma_wait)

MSG = gl.constexpr(16)  # int32 words of one tile's message: b, h, row of the sequence, rows left, size left, full blocks, -, -, tails


@gluon.jit
def _push(desc, buf, full, empty, cnt, b, h, row, ST: gl.constexpr, R: gl.constexpr, D: gl.constexpr):
    slot = cnt % ST
    mbarrier.wait(empty.index(slot), ((cnt // ST) & 1) ^ 1)
    bar = full.index(slot)
    mbarrier.expect(bar, R * D * 2)
    tma.async_copy_global_to_shared(desc, [b, h, row, 0], bar, buf.index(slot)._reinterpret(buf.dtype, [1, 1, R, D], desc.layout))


@gluon.jit
def producer(dq, dk, dv, dk1, dv1, dk2, dv2, tiles, order, work, lens, slen, T, per, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve,
             M: gl.constexpr, D: gl.constexpr, BN: gl.constexpr, T1: gl.constexpr, T2: gl.constexpr, C: gl.constexpr,
             ST: gl.constexpr, QB: gl.constexpr, DYN: gl.constexpr):
    W: gl.constexpr = 8 + 2 * M
    L1: gl.constexpr = gl.BlockedLayout([1], [32], [1], [0])
    ix = gl.arange(0, 16, layout=L1)
    it = 0
    cnt = 0
    if DYN:  # order: all tiles, longest first; work: a counter that the last program sets back to 0
        mine = order
        code = gl.load(order + gl.program_id(0))
    else:
        mine = order + gl.program_id(0) * per
        code = gl.load(mine)
    while code >= 0:
        b = code // T
        row_ = tiles + (code % T) * W
        if DYN:
            nxt = gl.load(order + gl.minimum(gl.num_programs(0) + gl.atomic_add(work, 1, sem="relaxed"), per))
        else:
            nxt = gl.load(mine + it + 1)
        h = gl.load(row_)
        i = gl.load(row_ + 1)
        row0 = gl.load(row_ + 2)
        qstart = gl.load(row_ + 3)
        qsize = gl.load(row_ + 4)
        nseg = gl.load(row_ + 5)
        left = gl.load(lens + b * slen + i) - row0
        x = gl.where(ix == 0, b, 0) + gl.where(ix == 1, h, 0) + gl.where(ix == 2, qstart + row0, 0)
        x += gl.where(ix == 3, left, 0) + gl.where(ix == 4, qsize - row0, 0)
        blocks = 0
        for s in gl.static_range(M):
            n = 0
            if (s < nseg) & (left > 0):
                n = gl.load(lens + b * slen + gl.load(row_ + 8 + 2 * s))
            blocks += n // BN
            x += gl.where(ix == 8 + s, n % BN, 0)
        x += gl.where(ix == 5, blocks, 0)
        qb = it % QB
        mbarrier.wait(qe.index(qb), ((it // QB) & 1) ^ 1)
        msg.index(qb).store(x)
        gl.thread_barrier()
        bar = qf.index(qb)
        mbarrier.expect(bar, C * 64 * D * 2)
        for w in gl.static_range(C):
            tma.async_copy_global_to_shared(dq, [b, h, qstart + row0 + 64 * w, 0], bar,
                                            qs.index(qb * C + w)._reinterpret(qs.dtype, [1, 1, 64, D], dq.layout))
        for s in gl.static_range(M):
            if (s < nseg) & (left > 0):
                j = gl.load(row_ + 8 + 2 * s)
                lo = gl.load(row_ + 9 + 2 * s)
                n = gl.load(lens + b * slen + j)
                r = n % BN
                lo += n - r
                if r > 0:
                    if r <= T1:
                        _push(dk1, ks, kf, ke, cnt, b, h, lo, ST, T1, D)
                        _push(dv1, vs, vf, ve, cnt, b, h, lo, ST, T1, D)
                    elif r <= T2:
                        _push(dk2, ks, kf, ke, cnt, b, h, lo, ST, T2, D)
                        _push(dv2, vs, vf, ve, cnt, b, h, lo, ST, T2, D)
                    else:
                        _push(dk, ks, kf, ke, cnt, b, h, lo, ST, BN, D)
                        _push(dv, vs, vf, ve, cnt, b, h, lo, ST, BN, D)
                    cnt += 1
        for s in gl.static_range(M):
            if (s < nseg) & (left > 0):
                j = gl.load(row_ + 8 + 2 * s)
                lo = gl.load(row_ + 9 + 2 * s)
                n = gl.load(lens + b * slen + j)
                for c in range(0, n // BN):
                    _push(dk, ks, kf, ke, cnt, b, h, lo + c * BN, ST, BN, D)
                    _push(dv, vs, vf, ve, cnt, b, h, lo + c * BN, ST, BN, D)
                    cnt += 1
        it += 1
        code = nxt
    qb = it % QB
    mbarrier.wait(qe.index(qb), ((it // QB) & 1) ^ 1)
    msg.index(qb).store(gl.where(ix == 0, -1, 0))
    gl.thread_barrier()
    mbarrier.arrive(qf.index(qb), count=1)
    if DYN:
        if gl.atomic_add(work + 1, 1) == gl.num_programs(0) - 1:
            gl.store(work, 0)
            gl.store(work + 1, 0)


@gluon.jit
def _exp2(x):
    return gl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=r,r", [x], dtype=gl.float32, is_pure=True, pack=1)


@gluon.jit
def _turn(w: gl.constexpr, C: gl.constexpr, PP: gl.constexpr):
    # wait for this warpgroup's turn to issue its products
    if PP and C > 1:
        t = gl.arange(0, 128, layout=gl.BlockedLayout([1], [32], [4], [0]))
        if w == 0: gl.inline_asm_elementwise("bar.sync 8, 256; mov.b32 $0, $1;", "=r,r", [t], dtype=gl.int32, is_pure=False, pack=1)
        elif w == 1: gl.inline_asm_elementwise("bar.sync 9, 256; mov.b32 $0, $1;", "=r,r", [t], dtype=gl.int32, is_pure=False, pack=1)
        else: gl.inline_asm_elementwise("bar.sync 10, 256; mov.b32 $0, $1;", "=r,r", [t], dtype=gl.int32, is_pure=False, pack=1)


@gluon.jit
def _next(w: gl.constexpr, C: gl.constexpr, PP: gl.constexpr):
    # hand the turn to the next warpgroup
    if PP and C > 1:
        t = gl.arange(0, 128, layout=gl.BlockedLayout([1], [32], [4], [0]))
        if (w + 1) % C == 0: gl.inline_asm_elementwise("bar.arrive 8, 256; mov.b32 $0, $1;", "=r,r", [t], dtype=gl.int32, is_pure=False, pack=1)
        elif (w + 1) % C == 1: gl.inline_asm_elementwise("bar.arrive 9, 256; mov.b32 $0, $1;", "=r,r", [t], dtype=gl.int32, is_pure=False, pack=1)
        else: gl.inline_asm_elementwise("bar.arrive 10, 256; mov.b32 $0, $1;", "=r,r", [t], dtype=gl.int32, is_pure=False, pack=1)


@gluon.jit
def _clk(dbg, it, w: gl.constexpr, k: gl.constexpr, PROF: gl.constexpr):
    if PROF:
        t = gl.arange(0, 128, layout=gl.BlockedLayout([1], [32], [4], [0]))
        c = gl.inline_asm_elementwise("mov.u32 $0, %clock;", "=r,r", [t], dtype=gl.int32, is_pure=False, pack=1)
        gl.store(dbg + ((gl.program_id(0) * 3 + w) * 64 + it) * 8 + k + t * 0, c, mask=(t == 0) & (it < 64))


@gluon.jit
def _field(x, ix, k: gl.constexpr):
    return gl.sum(gl.where(ix == k, x, 0), 0)


@gluon.jit
def _scores(q, kbuf, R: gl.constexpr, SL: gl.constexpr):
    return warpgroup_mma(q, kbuf.permute((1, 0)), gl.zeros([64, R], gl.float32, SL), use_acc=False, is_async=True)


@gluon.jit
def _tail(q, ks, vs, kf, ke, vf, ve, cnt, o, m, l, r, scale2, ST: gl.constexpr, R: gl.constexpr, D: gl.constexpr,
          OL: gl.constexpr):
    """One block of R keys of which the first r are real; both products are waited for."""
    SL: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, R, 16])
    PL: gl.constexpr = gl.DotOperandLayout(0, OL, 2)
    KL: gl.constexpr = gl.NVMMASharedLayout(128, 16, rank=2)
    VL: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    slot = cnt % ST
    ph = (cnt // ST) & 1
    mbarrier.wait(kf.index(slot), ph)
    s = _scores(q, ks.index(slot)._reinterpret(ks.dtype, [R, D], KL), R, SL)
    # rows of V past the end may hold NaN, which zero weights would not stop
    mbarrier.wait(vf.index(slot), ph)
    vb = vs.index(slot)._reinterpret(vs.dtype, [R, D], KL)
    v = vb.load(VL)
    real = gl.arange(0, R, layout=gl.SliceLayout(1, VL)) < r
    vb.store(gl.where(real[:, None], v, gl.zeros_like(v)))
    fence_async_shared()
    s = warpgroup_mma_wait(0, deps=[s])
    mbarrier.arrive(ke.index(slot), count=1)
    cols = gl.arange(0, R, layout=gl.SliceLayout(0, SL))
    s = gl.where((cols < r)[None, :], s, float("-inf"))
    new = gl.maximum(m, gl.convert_layout(gl.max(s, 1), m.type.layout) * scale2)
    p = _exp2(s * scale2 - gl.convert_layout(new, gl.SliceLayout(1, SL))[:, None])
    alpha = _exp2(m - new)
    l = l * alpha + gl.convert_layout(gl.sum(p, 1), m.type.layout)
    o = o * gl.convert_layout(alpha, gl.SliceLayout(1, OL))[:, None]
    o = warpgroup_mma(gl.convert_layout(p.to(vs.dtype), PL), vb, o, is_async=True)
    o = warpgroup_mma_wait(0, deps=[o])
    mbarrier.arrive(ve.index(slot), count=1)
    return o, new, l


@gluon.jit
def consumer(O, L, dbg, H, N, sob, soh, son, scale2, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve,
             w: gl.constexpr, M: gl.constexpr, D: gl.constexpr, BN: gl.constexpr, T1: gl.constexpr, T2: gl.constexpr,
             C: gl.constexpr, ST: gl.constexpr, QB: gl.constexpr, PP: gl.constexpr, PROF: gl.constexpr, ABL: gl.constexpr):
    SL: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BN, 16])
    OL: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    PL: gl.constexpr = gl.DotOperandLayout(0, OL, 2)
    RL: gl.constexpr = gl.SliceLayout(1, SL)
    ROL: gl.constexpr = gl.SliceLayout(1, OL)
    ML: gl.constexpr = gl.BlockedLayout([16], [32], [4], [0])
    BL: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    ix = gl.arange(0, 16, layout=ML)
    it = 0
    cnt = 0
    live = True
    if w == C - 1:
        _next(w, C, PP)
    while live:
        qb = it % QB
        _clk(dbg, it, w, 0, PROF)
        mbarrier.wait(qf.index(qb), (it // QB) & 1)
        x = msg.index(qb).load(ML)
        b = _field(x, ix, 0)
        live = b >= 0
        if live:
            h = _field(x, ix, 1)
            row = _field(x, ix, 2) + 64 * w
            left = _field(x, ix, 3) - 64 * w
            size = _field(x, ix, 4) - 64 * w
            blocks = _field(x, ix, 5)
            q = qs.index(qb * C + w)
            m = gl.full([64], -1e38, gl.float32, RL)
            l = gl.zeros([64], gl.float32, RL)
            o = gl.zeros([64, D], gl.float32, OL)
            _clk(dbg, it, w, 1, PROF)
            if left > 0:
                for s_ in gl.static_range(M):
                    r = _field(x, ix, 8 + s_)
                    if r > 0:
                        if r <= T1:
                            o, m, l = _tail(q, ks, vs, kf, ke, vf, ve, cnt, o, m, l, r, scale2, ST, T1, D, OL)
                        elif r <= T2:
                            o, m, l = _tail(q, ks, vs, kf, ke, vf, ve, cnt, o, m, l, r, scale2, ST, T2, D, OL)
                        else:
                            o, m, l = _tail(q, ks, vs, kf, ke, vf, ve, cnt, o, m, l, r, scale2, ST, BN, D, OL)
                        cnt += 1
                _clk(dbg, it, w, 2, PROF)
                if blocks > 0:
                    slot = cnt % ST
                    mbarrier.wait(kf.index(slot), (cnt // ST) & 1)
                    _turn(w, C, PP)
                    s = _scores(q, ks.index(slot), BN, SL)
                    _next(w, C, PP)
                    s = warpgroup_mma_wait(0, deps=[s])
                    mbarrier.arrive(ke.index(slot), count=1)
                    new = gl.maximum(m, gl.max(s, 1) * scale2)
                    p32 = _exp2(s * scale2 - new[:, None])
                    alpha = _exp2(m - new)
                    m = new
                    l = l * alpha + gl.sum(p32, 1)
                    o = o * gl.convert_layout(alpha, ROL)[:, None]
                    p = gl.convert_layout(p32.to(ks.dtype), PL)
                    _clk(dbg, it, w, 3, PROF)
                    for n in range(1, blocks):
                        vslot = cnt % ST
                        vph = (cnt // ST) & 1
                        cnt += 1
                        slot = cnt % ST
                        mbarrier.wait(kf.index(slot), (cnt // ST) & 1)
                        _turn(w, C, PP)
                        s = _scores(q, ks.index(slot), BN, SL)
                        mbarrier.wait(vf.index(vslot), vph)
                        if ABL != 2:
                            o = warpgroup_mma(p, vs.index(vslot), o, is_async=True)
                        _next(w, C, PP)
                        s = warpgroup_mma_wait(0 if ABL == 2 else 1, deps=[s])
                        mbarrier.arrive(ke.index(slot), count=1)
                        new = gl.maximum(m, gl.max(s, 1) * scale2)
                        if ABL == 1:
                            p32 = s * scale2 - new[:, None]
                        else:
                            p32 = _exp2(s * scale2 - new[:, None])
                        alpha = _exp2(m - new)
                        m = new
                        l = l * alpha + gl.sum(p32, 1)
                        if ABL != 2:
                            o, p = warpgroup_mma_wait(0, deps=[o, p])
                        mbarrier.arrive(ve.index(vslot), count=1)
                        o = o * gl.convert_layout(alpha, ROL)[:, None]
                        p = gl.convert_layout(p32.to(ks.dtype), PL)
                    _clk(dbg, it, w, 4, PROF)
                    slot = cnt % ST
                    mbarrier.wait(vf.index(slot), (cnt // ST) & 1)
                    o = warpgroup_mma(p, vs.index(slot), o, is_async=True)
                    cnt += 1
                    o = warpgroup_mma_wait(0, deps=[o])
                    mbarrier.arrive(ve.index(slot), count=1)
            else:
                tails = 0
                for s_ in gl.static_range(M):
                    tails += gl.where(_field(x, ix, 8 + s_) > 0, 1, 0)
                for n in range(0, blocks + tails):
                    slot = cnt % ST
                    if n >= tails:
                        _turn(w, C, PP)
                        _next(w, C, PP)
                    ph = (cnt // ST) & 1
                    mbarrier.wait(kf.index(slot), ph)
                    mbarrier.arrive(ke.index(slot), count=1)
                    mbarrier.wait(vf.index(slot), ph)
                    mbarrier.arrive(ve.index(slot), count=1)
                    cnt += 1
            _clk(dbg, it, w, 5, PROF)
            mbarrier.arrive(qe.index(qb), count=1)
            if (size > 0) & ((ABL != 3) | (scale2 < 0)):
                rows = gl.arange(0, 64, layout=RL)
                ok = (l > 0) & (rows < left)
                safe = gl.where(l > 0, l, 1.0)
                inv = gl.where(ok, 1.0 / safe, 0.0)
                b64 = b.to(gl.int64)
                gl.store(L + (b64 * H + h) * N + row + rows, gl.where(ok, m + gl.log2(safe), float("inf")), mask=rows < size)
                okd = gl.convert_layout(ok, ROL)
                out = gl.where(okd[:, None], o * gl.convert_layout(inv, ROL)[:, None], 0.0)
                out = gl.convert_layout(out.to(ks.dtype), BL)
                orow = gl.arange(0, 64, layout=gl.SliceLayout(1, BL))
                ocol = gl.arange(0, D, layout=gl.SliceLayout(0, BL))
                at = O + b64 * sob + h * soh + row.to(gl.int64) * son
                gl.store(at + orow[:, None] * son + ocol[None, :], out, mask=(orow < size)[:, None])
        _clk(dbg, it, w, 6, PROF)
        it += 1


@gluon.jit
def fwd(O, L, dbg, dq, dk, dv, dk1, dv1, dk2, dv2, tiles, order, work, lens, slen, H, N, T, per, sob, soh, son, scale2,
        M: gl.constexpr, D: gl.constexpr, BN: gl.constexpr, T1: gl.constexpr, T2: gl.constexpr, C: gl.constexpr,
        ST: gl.constexpr, QB: gl.constexpr, CR: gl.constexpr, PR: gl.constexpr, PP: gl.constexpr, DYN: gl.constexpr, PROF: gl.constexpr = 0, ABL: gl.constexpr = 0):
    KL: gl.constexpr = gl.NVMMASharedLayout(128, 16, rank=2)
    dt: gl.constexpr = O.dtype.element_ty
    qs = gl.allocate_shared_memory(dt, [QB * C, 64, D], KL)
    ks = gl.allocate_shared_memory(dt, [ST, BN, D], KL)
    vs = gl.allocate_shared_memory(dt, [ST, BN, D], KL)
    msg = gl.allocate_shared_memory(gl.int32, [QB, 16], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    qf = gl.allocate_shared_memory(gl.int64, [QB, 1], mbarrier.MBarrierLayout())
    qe = gl.allocate_shared_memory(gl.int64, [QB, 1], mbarrier.MBarrierLayout())
    kf = gl.allocate_shared_memory(gl.int64, [ST, 1], mbarrier.MBarrierLayout())
    ke = gl.allocate_shared_memory(gl.int64, [ST, 1], mbarrier.MBarrierLayout())
    vf = gl.allocate_shared_memory(gl.int64, [ST, 1], mbarrier.MBarrierLayout())
    ve = gl.allocate_shared_memory(gl.int64, [ST, 1], mbarrier.MBarrierLayout())
    for a in gl.static_range(QB):
        mbarrier.init(qf.index(a), count=1)
        mbarrier.init(qe.index(a), count=C)
    for a in gl.static_range(ST):
        mbarrier.init(kf.index(a), count=1)
        mbarrier.init(ke.index(a), count=C)
        mbarrier.init(vf.index(a), count=1)
        mbarrier.init(ve.index(a), count=C)
    fence_async_shared()
    if C == 1:
        gl.warp_specialize([
            (consumer, (O, L, dbg, H, N, sob, soh, son, scale2, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, 0, M, D, BN, T1, T2, C, ST, QB, PP, PROF, ABL)),
            (producer, (dq, dk, dv, dk1, dv1, dk2, dv2, tiles, order, work, lens, slen, T, per, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, M, D, BN, T1, T2, C, ST, QB, DYN)),
        ], [1], [PR])
    elif C == 2:
        gl.warp_specialize([
            (consumer, (O, L, dbg, H, N, sob, soh, son, scale2, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, 0, M, D, BN, T1, T2, C, ST, QB, PP, PROF, ABL)),
            (consumer, (O, L, dbg, H, N, sob, soh, son, scale2, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, 1, M, D, BN, T1, T2, C, ST, QB, PP, PROF, ABL)),
            (producer, (dq, dk, dv, dk1, dv1, dk2, dv2, tiles, order, work, lens, slen, T, per, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, M, D, BN, T1, T2, C, ST, QB, DYN)),
        ], [4, 1], [CR, PR])
    else:
        gl.warp_specialize([
            (consumer, (O, L, dbg, H, N, sob, soh, son, scale2, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, 0, M, D, BN, T1, T2, C, ST, QB, PP, PROF, ABL)),
            (consumer, (O, L, dbg, H, N, sob, soh, son, scale2, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, 1, M, D, BN, T1, T2, C, ST, QB, PP, PROF, ABL)),
            (consumer, (O, L, dbg, H, N, sob, soh, son, scale2, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, 2, M, D, BN, T1, T2, C, ST, QB, PP, PROF, ABL)),
            (producer, (dq, dk, dv, dk1, dv1, dk2, dv2, tiles, order, work, lens, slen, T, per, qs, ks, vs, msg, qf, qe, kf, ke, vf, ve, M, D, BN, T1, T2, C, ST, QB, DYN)),
        ], [4, 4, 1], [CR, CR, PR])


def plan(lengths, seen, B, C, workers, BN, dyn):
    """tiles: one row of int32 per (head, query modality, group of C * 64 rows); order: each worker's list of
    sample * T + tile, ended by -1, balanced for full samples (longest first)."""
    M = len(lengths)
    starts = [sum(lengths[:i]) for i in range(M)]
    tiles, cost = [], []
    for h, per in enumerate(seen):
        for i, js in enumerate(per):
            keys = sum(lengths[j] // BN * BN + min(BN, (lengths[j] % BN + 63) // 64 * 64) for j in js)
            for r in range(0, lengths[i], 64 * C):
                n = min(C, (lengths[i] - r + 63) // 64)
                pad = [x for j in js for x in (j, starts[j])] + [0, 0] * (M - len(js))
                tiles.append([h, i, r, starts[i], lengths[i], len(js), 0, 0] + pad)
                cost.append((keys + 96) * (.35 + .65 * n / C) + 60)
    T = len(tiles)
    work = sorted(((-cost[t], b, t) for b in range(B) for t in range(T)))
    if dyn:
        return tiles, [[b * T + t for c, b, t in work] + [-1] * max(1, workers - len(work))], T, len(work)
    heap = [(0.0, w) for w in range(workers)]
    lists = [[] for _ in range(workers)]
    for c, b, t in work:
        load, w = heapq.heappop(heap)
        lists[w].append(b * T + t)
        heapq.heappush(heap, (load - c, w))
    per = max(map(len, lists)) + 1
    return tiles, [x + [-1] * (per - len(x)) for x in lists], T, per


if __name__ == "__main__":  # offline: registers, spills and shared memory on sm_90
    import re, subprocess, sys, tempfile
    from triton.backends.compiler import GPUTarget
    from triton.experimental.gluon._runtime import GluonASTSource

    def comp(dump=None, dt="bf16", **c):
        D = c["D"]
        lay = gl.NVMMASharedLayout(128, 16, rank=4)
        P = {"O": "*" + dt, "L": "*fp32", "tiles": "*i32", "dbg": "*i32", "order": "*i32", "work": "*i32", "lens": "*i32"}
        box = {"dq": 64, "dk": c["BN"], "dv": c["BN"], "dk1": c["T1"], "dv1": c["T1"], "dk2": c["T2"], "dv2": c["T2"]}
        sig, attrs = {}, {}
        for n, a in enumerate(fwd.arg_names):
            if a in c: sig[a] = "constexpr"
            elif a in box: sig[a] = f"tensordesc<{dt}[1, 1, {box[a]}, {D}],{lay!r}>"
            elif a in P: sig[a] = P[a]; attrs[(n,)] = [["tt.divisibility", 16]]
            elif a == "scale2": sig[a] = "fp32"
            else:
                sig[a] = "i32"
                if a in ("sob", "soh", "son"): attrs[(n,)] = [["tt.divisibility", 16]]
        x = triton.compile(GluonASTSource(fwd, sig, constexprs=dict(c), attrs=attrs), target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
        with tempfile.NamedTemporaryFile(suffix=".cubin") as f:
            f.write(x.asm["cubin"]); f.flush()
            r = subprocess.run([triton.knobs.nvidia.cuobjdump.path, "-res-usage", f.name], capture_output=True, text=True).stdout
            if dump:
                open(dump + ".sass", "w").write(subprocess.run([triton.knobs.nvidia.cuobjdump.path, "-sass", f.name], capture_output=True, text=True).stdout)
                for k in ("ptx", "ttgir"): open(dump + "." + k, "w").write(x.asm[k])
        m = re.search(r"REG:(\d+) STACK:(\d+)", r)
        print(c, "reg", m[1], "stack", m[2], "smem", x.metadata.shared, "warps", x.metadata.num_warps, flush=True)

    A = dict(M=2, D=64, BN=128, T1=32, T2=64, C=3, ST=4, QB=2, CR=160, PR=32, PP=1, DYN=1, PROF=0, ABL=0)
    comp("gluon_forward_c3", **A)
    if "all" in sys.argv:
        comp("gluon_forward_c2", **(A | dict(C=2, CR=232, PR=40)))
        comp("gluon_forward_d128", **(A | dict(D=128, C=2, ST=2, QB=1, CR=232, PR=40)))
