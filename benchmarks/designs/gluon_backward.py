"""One-pass view-attention backward for Hopper in Gluon (persistent, warp specialised)."""
import triton
import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    tma, mbarrier, fence_async_shared, warpgroup_mma, warpgroup_mma_wait, warpgroup_mma_init)


# ---------------------------------------------------------------- helpers (plain Triton)
@triton.jit
def gpre(O, G, L, S, A, qmap, tab, plan, lens, slen, W, H, N, NQB, sob, soh, son, sgb, sgh, sgn, M: tl.constexpr, D: tl.constexpr):
    """delta = rowsum(o * dO); packs (lse, delta) per block of 64 queries; zeroes the fp32 dQ blocks; resolves the work list
    row [b, h, first key row, tile's first key, keys, modality, segments, 0, (modality, row, query block, 0) * M] into
    [b, h, first key row, tile's first key, keys, valid keys, segments, blocks, (valid queries, row, block, 0) * M]."""
    pid = tl.program_id(0)
    ROW: tl.constexpr = 8 + 4 * M
    if pid < W:
        e = tab + pid * ROW
        pb = tl.load(e)
        ph = tl.load(e + 1)
        col0 = tl.load(e + 3)
        count = tl.load(e + 6)
        kv = tl.load(lens + pb * slen + tl.load(e + 5)) - col0
        nblk = 0
        for s in range(M):
            i_ = tl.load(e + 8 + 4 * s)
            n_ = tl.load(lens + pb * slen + i_)
            n_ = tl.where((s < count) & (kv > 0), n_, 0)
            nblk += (n_ + 63) // 64
            tl.store(plan + pid * ROW + 8 + 4 * s, n_)
            tl.store(plan + pid * ROW + 9 + 4 * s, tl.load(e + 9 + 4 * s))
            tl.store(plan + pid * ROW + 10 + 4 * s, (pb * H + ph) * NQB + tl.load(e + 10 + 4 * s))
        tl.store(plan + pid * ROW, pb)
        tl.store(plan + pid * ROW + 1, ph)
        tl.store(plan + pid * ROW + 2, tl.load(e + 2))
        tl.store(plan + pid * ROW + 3, col0)
        tl.store(plan + pid * ROW + 4, tl.load(e + 4))
        tl.store(plan + pid * ROW + 5, kv)
        tl.store(plan + pid * ROW + 6, count)
        tl.store(plan + pid * ROW + 7, nblk)
    qb = pid % NQB
    bh = pid // NQB
    h = bh % H
    b = (bh // H).to(tl.int64)
    i = tl.load(qmap + 4 * qb)
    start = tl.load(qmap + 4 * qb + 1)
    r0 = tl.load(qmap + 4 * qb + 2)
    n = tl.load(lens + b * slen + i)
    r = tl.arange(0, 64)
    d = tl.arange(0, D)
    real = r0 + r < n
    rows = start + r0 + r
    o = tl.load(O + b * sob + h * soh + rows[:, None] * son + d[None, :], mask=real[:, None], other=0.0).to(tl.float32)
    g = tl.load(G + b * sgb + h * sgh + rows[:, None] * sgn + d[None, :], mask=real[:, None], other=0.0).to(tl.float32)
    lse = tl.load(L + bh.to(tl.int64) * N + rows, mask=real, other=float("inf"))
    at = pid.to(tl.int64) * 128
    tl.store(S + at + r, lse)
    tl.store(S + at + 64 + r, tl.sum(o * g, 1))
    if True:
        tl.store(A + pid.to(tl.int64) * (64 * D) + tl.arange(0, 64 * D), tl.zeros([64 * D], tl.float32))


@triton.jit
def gpost(A, DQ, qmap, H, N, NQB, sb, sh, sn, scale, D: tl.constexpr):
    pid = tl.program_id(0)
    qb = pid % NQB
    bh = pid // NQB
    h = bh % H
    b = (bh // H).to(tl.int64)
    start = tl.load(qmap + 4 * qb + 1)
    r0 = tl.load(qmap + 4 * qb + 2)
    size = tl.load(qmap + 4 * qb + 3)
    x = tl.load(A + pid.to(tl.int64) * (64 * D) + tl.arange(0, 64 * D))
    x = (x * scale).to(DQ.dtype.element_ty)
    # memory order: (mrep, c, w, lh, ll, r1, r0): d = mrep*64 + w*16 + r1*8 + lh, q = c*8 + ll*2 + r0
    x = x.reshape(D // 64, 8, 4, 8, 4, 2, 2)
    x = x.permute(1, 4, 6, 0, 2, 5, 3).reshape(64, D)
    r = tl.arange(0, 64)
    d = tl.arange(0, D)
    tl.store(DQ + b * sb + h * sh + (start + r0 + r)[:, None] * sn + d[None, :], x, mask=(r0 + r < size)[:, None])


# ---------------------------------------------------------------- device pieces
@gluon.jit
def _clean(buf, valid, D: gl.constexpr, NW: gl.constexpr, CH: gl.constexpr):
    """Zero the rows >= valid of a [64, D] tile."""
    L: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [NW, 1], [1, 0])
    for c in gl.static_range(64 // CH):
        if valid < CH * (c + 1):
            part = buf.slice(CH * c, CH, 0)
            x = part.load(L)
            r = CH * c + gl.arange(0, CH, gl.SliceLayout(1, L))
            x = gl.where((r < valid)[:, None], x, gl.zeros_like(x))
            part.store(x)


@gluon.jit
def _producer(qd, kd, vd, gd, sd, qs, gs, ks, vs, st, full, empty, kvfull, kvempty, raw, tab, total,
              M: gl.constexpr, D: gl.constexpr, ST: gl.constexpr, NW: gl.constexpr):
    ROW: gl.constexpr = 8 + 4 * M
    TB: gl.constexpr = 64 * D * 2
    CH: gl.constexpr = 1024 // D
    cnt = 0
    rp = 0
    t = 0
    for w in range(gl.program_id(0), total, gl.num_programs(0)):
        e = tab + w * ROW
        b = gl.load(e)
        h = gl.load(e + 1)
        krow = gl.load(e + 2)
        kv = gl.load(e + 5)
        count = gl.load(e + 6)
        u = t % 2
        mbarrier.wait(kvempty.index(u), ((t // 2) & 1) ^ 1)
        kvf = kvfull.index(u)
        if kv >= 128:
            mbarrier.expect(kvf, 4 * TB)
            for x in gl.static_range(2):
                tma.async_copy_global_to_shared(kd, [b, h, krow + 64 * x, 0], kvf, ks.index(2 * u + x))
                tma.async_copy_global_to_shared(vd, [b, h, krow + 64 * x, 0], kvf, vs.index(2 * u + x))
        else:
            mbarrier.expect(raw, 4 * TB)
            for x in gl.static_range(2):
                tma.async_copy_global_to_shared(kd, [b, h, krow + 64 * x, 0], raw, ks.index(2 * u + x))
                tma.async_copy_global_to_shared(vd, [b, h, krow + 64 * x, 0], raw, vs.index(2 * u + x))
            mbarrier.wait(raw, rp)
            rp ^= 1
            for x in gl.static_range(2):
                _clean(ks.index(2 * u + x).reshape([64, D]), kv - 64 * x, D, NW, CH)
                _clean(vs.index(2 * u + x).reshape([64, D]), kv - 64 * x, D, NW, CH)
            fence_async_shared()
            gl.thread_barrier()
            mbarrier.arrive(kvfull.index(u), count=1)
        for s in range(0, count):
            n = gl.load(e + 8 + 4 * s)
            lo = gl.load(e + 9 + 4 * s)
            qb = gl.load(e + 10 + 4 * s)
            for r in range(0, n, 64):
                x = cnt % ST
                mbarrier.wait(empty.index(x), ((cnt // ST) & 1) ^ 1)
                if n - r >= 64:
                    bar = full.index(x)
                    mbarrier.expect(bar, 2 * TB + 512)
                    tma.async_copy_global_to_shared(qd, [b, h, lo + r, 0], bar, qs.index(x))
                    tma.async_copy_global_to_shared(sd, [(qb + r // 64) * 128], bar, st.index(x))
                    tma.async_copy_global_to_shared(gd, [b, h, lo + r, 0], bar, gs.index(x))
                else:
                    mbarrier.expect(raw, 2 * TB + 512)
                    tma.async_copy_global_to_shared(qd, [b, h, lo + r, 0], raw, qs.index(x))
                    tma.async_copy_global_to_shared(sd, [(qb + r // 64) * 128], raw, st.index(x))
                    tma.async_copy_global_to_shared(gd, [b, h, lo + r, 0], raw, gs.index(x))
                    mbarrier.wait(raw, rp)
                    rp ^= 1
                    _clean(qs.index(x).reshape([64, D]), n - r, D, NW, CH)
                    _clean(gs.index(x).reshape([64, D]), n - r, D, NW, CH)
                    fence_async_shared()
                    gl.thread_barrier()
                    mbarrier.arrive(full.index(x), count=1)
                cnt += 1
        t += 1


@gluon.jit
def _half(s, dp, dk, dv, kf, vf, valid, qs, gs, st, dss, full, empty, dsfull, dsempty, cnt, scale2,
          HALF: gl.constexpr, D: gl.constexpr, ST: gl.constexpr, NEXT: gl.constexpr):
    """Consume block cnt (its S and dP are in flight), optionally issue S and dP of block cnt + 1."""
    ms: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    mo: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    ao: gl.constexpr = gl.DotOperandLayout(0, mo, 2)
    col: gl.constexpr = gl.SliceLayout(0, ms)
    x = cnt % ST
    q = qs.index(x).reshape([64, D])
    g = gs.index(x).reshape([64, D])
    stat = st.index(x)
    lse = stat.slice(0, 64, 0).load(col)
    p = gl.exp2(s * scale2 - lse[None, :])
    p = gl.where(valid[:, None], p, 0.0)
    p16 = gl.convert_layout(p.to(qs.dtype), ao)
    delta = stat.slice(64, 64, 0).load(col)
    dp = warpgroup_mma_wait(0, deps=(dp,))
    dv = warpgroup_mma(p16, g, dv, is_async=True)
    ds = p * (dp - delta[None, :])
    ds16 = ds.to(qs.dtype)
    y = cnt % 2
    mbarrier.wait(dsempty.index(y), ((cnt // 2) & 1) ^ 1)
    dss.index(2 * y + HALF).store(ds16)
    fence_async_shared()
    mbarrier.arrive(dsfull.index(2 * y + HALF), count=1)
    dv = warpgroup_mma_wait(0, deps=(dv,))
    dk = warpgroup_mma(gl.convert_layout(ds16, ao), q, dk, is_async=True)
    if NEXT:
        n = cnt + 1
        x2 = n % ST
        mbarrier.wait(full.index(x2), (n // ST) & 1)
        z = gl.zeros([64, 64], gl.float32, ms)
        s = warpgroup_mma(kf, qs.index(x2).reshape([64, D]).permute((1, 0)), z, use_acc=False, is_async=True)
        dp = warpgroup_mma(vf, gs.index(x2).reshape([64, D]).permute((1, 0)), z, use_acc=False, is_async=True)
        s, dk = warpgroup_mma_wait(1, deps=(s, dk))
        mbarrier.arrive(empty.index(x), count=1)
        return s, dp, dk, dv
    else:
        dk = warpgroup_mma_wait(0, deps=(dk,))
        mbarrier.arrive(empty.index(x), count=1)
        return dk, dv


@gluon.jit
def _row(tab, w, total, ROW: gl.constexpr):
    e = tab + gl.minimum(w, total - 1) * ROW
    return gl.load(e), gl.load(e + 1), gl.load(e + 2), gl.load(e + 4) - gl.load(e + 3), gl.load(e + 5), gl.load(e + 7)


@gluon.jit
def _consumer(HALF: gl.constexpr, qs, gs, ks, vs, st, dss, full, empty, kvfull, kvempty, dsfull, dsempty, DK, DV, tab,
              sdb, sdh, sdn, scale, scale2, total,
              M: gl.constexpr, D: gl.constexpr, ST: gl.constexpr, KREG: gl.constexpr, VREG: gl.constexpr):
    ROW: gl.constexpr = 8 + 4 * M
    ms: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    mo: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    as_: gl.constexpr = gl.DotOperandLayout(0, ms, 2)
    OL: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    cnt = 0
    t = 0
    b, h, krow, left, kv, nblk = _row(tab, gl.program_id(0), total, ROW)
    for w in range(gl.program_id(0), total, gl.num_programs(0)):
        b2, h2, krow2, left2, kv2, nblk2 = _row(tab, w + gl.num_programs(0), total, ROW)
        u = t % 2
        mbarrier.wait(kvfull.index(u), (t // 2) & 1)
        if KREG:
            kf = ks.index(2 * u + HALF).reshape([64, D]).load(as_)
        else:
            kf = ks.index(2 * u + HALF).reshape([64, D])
        if VREG:
            vf = vs.index(2 * u + HALF).reshape([64, D]).load(as_)
        else:
            vf = vs.index(2 * u + HALF).reshape([64, D])
        dk = gl.zeros([64, D], gl.float32, mo)
        dv = gl.zeros([64, D], gl.float32, mo)
        valid = gl.arange(0, 64, gl.SliceLayout(1, ms)) + 64 * HALF < kv
        if nblk > 0 and (HALF == 0 or kv > 64):
            x = cnt % ST
            mbarrier.wait(full.index(x), (cnt // ST) & 1)
            z = gl.zeros([64, 64], gl.float32, ms)
            dk, dv = warpgroup_mma_wait(0, deps=(dk, dv))
            s = warpgroup_mma(kf, qs.index(x).reshape([64, D]).permute((1, 0)), z, use_acc=False, is_async=True)
            dp = warpgroup_mma(vf, gs.index(x).reshape([64, D]).permute((1, 0)), z, use_acc=False, is_async=True)
            s = warpgroup_mma_wait(1, deps=(s,))
            for it in range(0, nblk - 1):
                s, dp, dk, dv = _half(s, dp, dk, dv, kf, vf, valid, qs, gs, st, dss, full, empty, dsfull, dsempty,
                                      cnt, scale2, HALF, D, ST, True)
                cnt += 1
            dk, dv = _half(s, dp, dk, dv, kf, vf, valid, qs, gs, st, dss, full, empty, dsfull, dsempty,
                           cnt, scale2, HALF, D, ST, False)
            cnt += 1
        elif HALF == 1:  # a last tile of at most 64 keys: nothing to do but to keep the barriers going
            for it in range(0, nblk):
                mbarrier.wait(full.index(cnt % ST), (cnt // ST) & 1)
                mbarrier.arrive(empty.index(cnt % ST), count=1)
                mbarrier.wait(dsempty.index(cnt % 2), ((cnt // 2) & 1) ^ 1)
                mbarrier.arrive(dsfull.index(2 * (cnt % 2) + 1), count=1)
                cnt += 1
        mbarrier.arrive(kvempty.index(u), count=1)
        r = gl.arange(0, 64, gl.SliceLayout(1, OL)) + 64 * HALF
        d = gl.arange(0, D, gl.SliceLayout(0, OL))
        at = b.to(gl.int64) * sdb + h * sdh + (krow + r)[:, None] * sdn + d[None, :]
        inside = (r < left)[:, None]
        gl.store(DK + at, gl.convert_layout((dk * scale).to(qs.dtype), OL), mask=inside)
        gl.store(DV + at, gl.convert_layout(dv.to(qs.dtype), OL), mask=inside)
        b, h, krow, left, kv, nblk = b2, h2, krow2, left2, kv2, nblk2
        t += 1


@gluon.jit
def _dq_blocks(cnt, n, qb, k0, k1, dss, dsfull, dsempty, A, D: gl.constexpr, AT: gl.constexpr, BOTH: gl.constexpr):
    mq: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    for r in range(0, n, 64):
        y = cnt % 2
        ph = (cnt // 2) & 1
        z = gl.zeros([D, 64], gl.float32, mq)
        mbarrier.wait(dsfull.index(2 * y), ph)
        acc = warpgroup_mma(k0, dss.index(2 * y), z, use_acc=False, is_async=True)
        mbarrier.wait(dsfull.index(2 * y + 1), ph)
        if BOTH:
            acc = warpgroup_mma(k1, dss.index(2 * y + 1), acc, is_async=True)
        acc = warpgroup_mma_wait(0, deps=(acc,))
        mbarrier.arrive(dsempty.index(y), count=1)
        v = acc.reshape([D // 64, 4, 2, 8, 8, 4, 2]).permute((0, 4, 1, 3, 5, 2, 6)).reshape([64 * D])
        a = A + (qb + r // 64).to(gl.int64) * (64 * D) + gl.arange(0, 64 * D, v.type.layout)
        if AT:
            gl.atomic_add(a, v, sem="relaxed")
        else:  # timing experiment only
            gl.store(a, v)
        cnt += 1
    return cnt


@gluon.jit
def _dq(ks, dss, kvfull, kvempty, dsfull, dsempty, A, tab, total, M: gl.constexpr, D: gl.constexpr, AT: gl.constexpr):
    ROW: gl.constexpr = 8 + 4 * M
    mq: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    aq: gl.constexpr = gl.DotOperandLayout(0, mq, 2)
    cnt = 0
    t = 0
    for w in range(gl.program_id(0), total, gl.num_programs(0)):
        e = tab + w * ROW
        kv = gl.load(e + 5)
        count = gl.load(e + 6)
        u = t % 2
        mbarrier.wait(kvfull.index(u), (t // 2) & 1)
        k0 = ks.index(2 * u).reshape([64, D]).permute((1, 0)).load(aq)
        k1 = ks.index(2 * u + 1).reshape([64, D]).permute((1, 0)).load(aq)
        mbarrier.arrive(kvempty.index(u), count=1)
        for s in range(0, count):
            n = gl.load(e + 8 + 4 * s)
            qb = gl.load(e + 10 + 4 * s)
            if kv > 64:
                cnt = _dq_blocks(cnt, n, qb, k0, k1, dss, dsfull, dsempty, A, D, AT, True)
            else:
                cnt = _dq_blocks(cnt, n, qb, k0, k1, dss, dsfull, dsempty, A, D, AT, False)
        t += 1


@gluon.jit
def gbwd(qd, kd, vd, gd, sd, A, DK, DV, tab, total, sdb, sdh, sdn, scale, scale2,
         M: gl.constexpr, D: gl.constexpr, ST: gl.constexpr, RQ: gl.constexpr, RP: gl.constexpr, RC: gl.constexpr,
         KREG: gl.constexpr, VREG: gl.constexpr, AT: gl.constexpr):
    dt: gl.constexpr = qd.dtype
    bl: gl.constexpr = mbarrier.MBarrierLayout()
    qs = gl.allocate_shared_memory(dt, [ST, 1, 1, 64, D], qd.layout)
    gs = gl.allocate_shared_memory(dt, [ST, 1, 1, 64, D], gd.layout)
    ks = gl.allocate_shared_memory(dt, [4, 1, 1, 64, D], kd.layout)
    vs = gl.allocate_shared_memory(dt, [4, 1, 1, 64, D], vd.layout)
    st = gl.allocate_shared_memory(gl.float32, [ST, 128], sd.layout)
    dl: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    dss = gl.allocate_shared_memory(dt, [4, 64, 64], dl)
    full = gl.allocate_shared_memory(gl.int64, [ST, 1], bl)
    empty = gl.allocate_shared_memory(gl.int64, [ST, 1], bl)
    dsfull = gl.allocate_shared_memory(gl.int64, [4, 1], bl)
    dsempty = gl.allocate_shared_memory(gl.int64, [2, 1], bl)
    kvfull = gl.allocate_shared_memory(gl.int64, [2, 1], bl)
    kvempty = gl.allocate_shared_memory(gl.int64, [2, 1], bl)
    raw = gl.allocate_shared_memory(gl.int64, [1], bl)
    for x in gl.static_range(ST):
        mbarrier.init(full.index(x), count=1)
        mbarrier.init(empty.index(x), count=2)
    for x in gl.static_range(4):
        mbarrier.init(dsfull.index(x), count=1)
    for x in gl.static_range(2):
        mbarrier.init(dsempty.index(x), count=1)
        mbarrier.init(kvfull.index(x), count=1)
        mbarrier.init(kvempty.index(x), count=3)
    mbarrier.init(raw, count=1)
    fence_async_shared()
    gl.thread_barrier()
    gl.warp_specialize([
        (_consumer, (0, qs, gs, ks, vs, st, dss, full, empty, kvfull, kvempty, dsfull, dsempty, DK, DV, tab,
                     sdb, sdh, sdn, scale, scale2, total, M, D, ST, KREG, VREG)),
        (_consumer, (1, qs, gs, ks, vs, st, dss, full, empty, kvfull, kvempty, dsfull, dsempty, DK, DV, tab,
                     sdb, sdh, sdn, scale, scale2, total, M, D, ST, KREG, VREG)),
        (_dq, (ks, dss, kvfull, kvempty, dsfull, dsempty, A, tab, total, M, D, AT)),
        (_producer, (qd, kd, vd, gd, sd, qs, gs, ks, vs, st, full, empty, kvfull, kvempty, raw, tab, total,
                     M, D, ST, 1)),
    ], [4, 4, 1], [RC, RQ, RP])


# ---------------------------------------------------------------- host
def tables(lengths, masks, H, B, device):
    """Packed work list (heaviest first) and the query-block map."""
    import torch
    M = len(lengths)
    starts = [sum(lengths[:i]) for i in range(M)]
    nb = [(n + 63) // 64 for n in lengths]
    qb0 = [sum(nb[:i]) for i in range(M)]
    rows = []
    for h in range(H):
        for j in range(M):
            see = [i for i in range(M) if masks[h * M + i] >> j & 1]
            seg = sum(([i, starts[i], qb0[i], 0] for i in see), [])
            seg += [0] * (4 * (M - len(see)))
            for c in range(0, lengths[j], 128):
                rows.append((-sum(nb[i] for i in see), [0, h, starts[j] + c, c, lengths[j], j, len(see), 0] + seg))
    out = []
    for k in sorted({r[0] for r in rows}):
        t = torch.tensor([r[1] for r in rows if r[0] == k], dtype=torch.int32)
        t = t[None].repeat(B, 1, 1)
        t[:, :, 0] = torch.arange(B, dtype=torch.int32)[:, None]
        out.append(t.flatten(0, 1))
    qmap = torch.tensor([[i, starts[i], 64 * c, lengths[i]] for i in range(M) for c in range(nb[i])], dtype=torch.int32)
    return torch.cat(out).contiguous().to(device), qmap.to(device)
