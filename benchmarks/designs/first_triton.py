"""Candidate kernels."""
import triton
import triton.language as tl


@triton.jit
def _attend(acc, m, l, q, k, v, cols_left, BN: tl.constexpr, MASKED: tl.constexpr, scale2):
    s = tl.dot(q, tl.trans(k))
    if MASKED:
        s = tl.where(tl.arange(0, BN)[None, :] < cols_left, s, float("-inf"))
    new = tl.maximum(m, tl.max(s, 1) * scale2)
    p = tl.exp2(s * scale2 - new[:, None])
    alpha = tl.exp2(m - new)
    l = l * alpha + tl.sum(p, 1)
    acc = acc * alpha[:, None]
    acc = tl.dot(p.to(v.dtype), v, acc)
    return acc, new, l


@triton.jit
def fwd(Q, K, V, O, L, dk, dv, tiles, segments, counts, starts, lens, slen, H, N, T,
        sqb, sqh, sqn, skb, skh, skn, svb, svh, svn, sob, soh, son, scale2,
        M: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, TAIL: tl.constexpr, ST: tl.constexpr,
        TMA: tl.constexpr):
    pid = tl.program_id(0)
    tile = pid % T
    bh = pid // T
    h = bh % H
    b = (bh // H).to(tl.int64)
    i = tl.load(tiles + 2 * tile)
    row0 = tl.load(tiles + 2 * tile + 1)
    qlen = tl.load(lens + b * slen + i)
    qstart = tl.load(starts + i)
    qsize = tl.load(starts + i + 1) - qstart
    rows = row0 + tl.arange(0, BM)
    d = tl.arange(0, D)
    q = tl.load(Q + b * sqb + h * sqh + (qstart + rows)[:, None] * sqn + d[None, :], mask=(rows < qlen)[:, None], other=0.0)
    m = tl.full([BM], -1e38, tl.float32)
    l = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    count = tl.load(counts + h * M + i)
    Kb = K + b * skb + h * skh
    Vb = V + b * svb + h * svh
    bi = b.to(tl.int32)
    for seg in range(0, count):
        j = tl.load(segments + (h * M + i) * M + seg)
        lo = tl.load(starts + j)
        n = tl.load(lens + b * slen + j)
        full = n // BN * BN
        for c in tl.range(0, full, BN, num_stages=ST):
            if TMA:
                k = dk.load([bi, h, lo + c, 0]).reshape(BN, D)
                v = dv.load([bi, h, lo + c, 0]).reshape(BN, D)
            else:
                cols = lo + c + tl.arange(0, BN)
                k = tl.load(Kb + cols[:, None] * skn + d[None, :])
                v = tl.load(Vb + cols[:, None] * svn + d[None, :])
            acc, m, l = _attend(acc, m, l, q, k, v, 0, BN, False, scale2)
        for c in tl.range(full, n, TAIL, num_stages=1):
            cols = c + tl.arange(0, TAIL)
            k = tl.load(Kb + (lo + cols)[:, None] * skn + d[None, :], mask=(cols < n)[:, None], other=0.0)
            v = tl.load(Vb + (lo + cols)[:, None] * svn + d[None, :], mask=(cols < n)[:, None], other=0.0)
            acc, m, l = _attend(acc, m, l, q, k, v, n - c, TAIL, True, scale2)
    ok = (l > 0) & (rows < qlen)
    out = tl.where(ok[:, None], acc / tl.where(l > 0, l, 1.0)[:, None], 0.0)
    lse = tl.where(ok, m + tl.log2(tl.where(l > 0, l, 1.0)), float("inf"))
    inside = rows < qsize
    tl.store(O + b * sob + h * soh + (qstart + rows)[:, None] * son + d[None, :], out.to(O.dtype.element_ty), mask=inside[:, None])
    tl.store(L + bh.to(tl.int64) * N + qstart + rows, lse, mask=inside)


@triton.jit
def pre(O, G, Dl, A, H, N, sob, soh, son, sgb, sgh, sgn, D: tl.constexpr, BM: tl.constexpr, ATOMIC: tl.constexpr):
    pid = tl.program_id(0)
    blocks = tl.cdiv(N, BM)
    bh = pid // blocks
    rows = pid % blocks * BM + tl.arange(0, BM)
    h = bh % H
    b = (bh // H).to(tl.int64)
    d = tl.arange(0, D)
    inside = (rows < N)[:, None]
    o = tl.load(O + b * sob + h * soh + rows[:, None] * son + d[None, :], mask=inside, other=0.0).to(tl.float32)
    g = tl.load(G + b * sgb + h * sgh + rows[:, None] * sgn + d[None, :], mask=inside, other=0.0).to(tl.float32)
    at = bh.to(tl.int64) * N + rows
    tl.store(Dl + at, tl.sum(o * g, 1), mask=rows < N)
    if ATOMIC:
        tl.store(A + at[:, None] * D + d[None, :], tl.zeros([BM, D], tl.float32), mask=inside)


@triton.jit
def post(A, DQ, H, N, sb, sh, sn, scale, D: tl.constexpr, BM: tl.constexpr):
    pid = tl.program_id(0)
    blocks = tl.cdiv(N, BM)
    bh = pid // blocks
    rows = pid % blocks * BM + tl.arange(0, BM)
    h = bh % H
    b = (bh // H).to(tl.int64)
    d = tl.arange(0, D)
    inside = (rows < N)[:, None]
    a = tl.load(A + (bh.to(tl.int64) * N + rows)[:, None] * D + d[None, :], mask=inside)
    tl.store(DQ + b * sb + h * sh + rows[:, None] * sn + d[None, :], (a * scale).to(DQ.dtype.element_ty), mask=inside)


@triton.jit
def _back(dk, dv, k, v, q, g, lse, delta, cols_left, scale2, BN: tl.constexpr, MASKED: tl.constexpr):
    s = tl.dot(k, tl.trans(q))
    p = tl.exp2(s * scale2 - lse[None, :])
    if MASKED:
        p = tl.where(tl.arange(0, BN)[:, None] < cols_left, p, 0.0)
    dv = tl.dot(p.to(g.dtype), g, dv)
    dp = tl.dot(v, tl.trans(g))
    ds = (p * (dp - delta[None, :])).to(q.dtype)
    dk = tl.dot(ds, q, dk)
    return dk, dv, ds


@triton.jit
def bwd(Q, K, V, G, L, Dl, A, DK, DV, dq_, dg_, da_, tiles, seers, counts, starts, lens, slen, H, N, T,
        sqb, sqh, sqn, skb, skh, skn, svb, svh, svn, sgb, sgh, sgn, sdb, sdh, sdn, scale, scale2,
        M: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, ST: tl.constexpr, TMA: tl.constexpr,
        ATOMIC: tl.constexpr):
    pid = tl.program_id(0)
    tile = pid % T
    bh = pid // T
    h = bh % H
    b = (bh // H).to(tl.int64)
    bi = b.to(tl.int32)
    j = tl.load(tiles + 2 * tile)
    col0 = tl.load(tiles + 2 * tile + 1)
    klen = tl.load(lens + b * slen + j)
    kstart = tl.load(starts + j)
    ksize = tl.load(starts + j + 1) - kstart
    cols = col0 + tl.arange(0, BN)
    d = tl.arange(0, D)
    k = tl.load(K + b * skb + h * skh + (kstart + cols)[:, None] * skn + d[None, :], mask=(cols < klen)[:, None], other=0.0)
    v = tl.load(V + b * svb + h * svh + (kstart + cols)[:, None] * svn + d[None, :], mask=(cols < klen)[:, None], other=0.0)
    dk = tl.zeros([BN, D], tl.float32)
    dv = tl.zeros([BN, D], tl.float32)
    count = tl.load(counts + h * M + j)
    Qb = Q + b * sqb + h * sqh
    Gb = G + b * sgb + h * sgh
    Lb = L + bh.to(tl.int64) * N
    Db = Dl + bh.to(tl.int64) * N
    Ab = A + bh.to(tl.int64) * N * D
    for seg in range(0, count):
        i = tl.load(seers + (h * M + j) * M + seg)
        lo = tl.load(starts + i)
        n = tl.load(lens + b * slen + i)
        full = n // BM * BM
        for r in tl.range(0, full, BM, num_stages=ST):
            rows = lo + r + tl.arange(0, BM)
            if TMA:
                q = dq_.load([bi, h, lo + r, 0]).reshape(BM, D)
                g = dg_.load([bi, h, lo + r, 0]).reshape(BM, D)
            else:
                q = tl.load(Qb + rows[:, None] * sqn + d[None, :])
                g = tl.load(Gb + rows[:, None] * sgn + d[None, :])
            lse = tl.load(Lb + rows)
            delta = tl.load(Db + rows)
            dk, dv, ds = _back(dk, dv, k, v, q, g, lse, delta, klen - col0, scale2, BN, True)
            if ATOMIC == 1:
                tl.atomic_add(Ab + rows[:, None] * D + d[None, :], tl.dot(tl.trans(ds), k), sem="relaxed")
            if ATOMIC == 2:
                da_.atomic_add([bh, lo + r, 0], tl.dot(tl.trans(ds), k).reshape(1, BM, D))
        if full < n:
            rows = full + tl.arange(0, BM)
            real = rows < n
            q = tl.load(Qb + (lo + rows)[:, None] * sqn + d[None, :], mask=real[:, None], other=0.0)
            g = tl.load(Gb + (lo + rows)[:, None] * sgn + d[None, :], mask=real[:, None], other=0.0)
            lse = tl.load(Lb + lo + rows, mask=real, other=float("inf"))
            delta = tl.load(Db + lo + rows, mask=real, other=0.0)
            dk, dv, ds = _back(dk, dv, k, v, q, g, lse, delta, klen - col0, scale2, BN, True)
            if ATOMIC:
                tl.atomic_add(Ab + (lo + rows)[:, None] * D + d[None, :], tl.dot(tl.trans(ds), k), mask=real[:, None], sem="relaxed")
    inside = (cols < ksize)[:, None]
    at = b * sdb + h * sdh + (kstart + cols)[:, None] * sdn + d[None, :]
    tl.store(DK + at, (dk * scale).to(DK.dtype.element_ty), mask=inside)
    tl.store(DV + at, dv.to(DV.dtype.element_ty), mask=inside)


@triton.jit
def bwdq(Q, K, V, G, L, Dl, DQ, dk_, dv_, tiles, segments, counts, starts, lens, slen, H, N, T,
         sqb, sqh, sqn, skb, skh, skn, svb, svh, svn, sgb, sgh, sgn, sdb, sdh, sdn, scale, scale2,
         M: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, TAIL: tl.constexpr, ST: tl.constexpr, TMA: tl.constexpr):
    pid = tl.program_id(0)
    tile = pid % T
    bh = pid // T
    h = bh % H
    b = (bh // H).to(tl.int64)
    bi = b.to(tl.int32)
    i = tl.load(tiles + 2 * tile)
    row0 = tl.load(tiles + 2 * tile + 1)
    qlen = tl.load(lens + b * slen + i)
    qstart = tl.load(starts + i)
    qsize = tl.load(starts + i + 1) - qstart
    rows = row0 + tl.arange(0, BM)
    real = rows < qlen
    d = tl.arange(0, D)
    q = tl.load(Q + b * sqb + h * sqh + (qstart + rows)[:, None] * sqn + d[None, :], mask=real[:, None], other=0.0)
    g = tl.load(G + b * sgb + h * sgh + (qstart + rows)[:, None] * sgn + d[None, :], mask=real[:, None], other=0.0)
    lse = tl.load(L + bh.to(tl.int64) * N + qstart + rows, mask=real, other=float("inf"))
    delta = tl.load(Dl + bh.to(tl.int64) * N + qstart + rows, mask=real, other=0.0)
    dq = tl.zeros([BM, D], tl.float32)
    count = tl.load(counts + h * M + i)
    Kb = K + b * skb + h * skh
    Vb = V + b * svb + h * svh
    for seg in range(0, count):
        j = tl.load(segments + (h * M + i) * M + seg)
        lo = tl.load(starts + j)
        n = tl.load(lens + b * slen + j)
        full = n // BN * BN
        for c in tl.range(0, full, BN, num_stages=ST):
            if TMA:
                k = dk_.load([bi, h, lo + c, 0]).reshape(BN, D)
                v = dv_.load([bi, h, lo + c, 0]).reshape(BN, D)
            else:
                cols = lo + c + tl.arange(0, BN)
                k = tl.load(Kb + cols[:, None] * skn + d[None, :])
                v = tl.load(Vb + cols[:, None] * svn + d[None, :])
            p = tl.exp2(tl.dot(q, tl.trans(k)) * scale2 - lse[:, None])
            ds = p * (tl.dot(g, tl.trans(v)) - delta[:, None])
            dq = tl.dot(ds.to(k.dtype), k, dq)
        for c in tl.range(full, n, TAIL, num_stages=1):
            cols = c + tl.arange(0, TAIL)
            k = tl.load(Kb + (lo + cols)[:, None] * skn + d[None, :], mask=(cols < n)[:, None], other=0.0)
            v = tl.load(Vb + (lo + cols)[:, None] * svn + d[None, :], mask=(cols < n)[:, None], other=0.0)
            p = tl.exp2(tl.dot(q, tl.trans(k)) * scale2 - lse[:, None])
            p = tl.where((cols < n)[None, :], p, 0.0)
            ds = p * (tl.dot(g, tl.trans(v)) - delta[:, None])
            dq = tl.dot(ds.to(k.dtype), k, dq)
    inside = (rows < qsize)[:, None]
    tl.store(DQ + b * sdb + h * sdh + (qstart + rows)[:, None] * sdn + d[None, :], (dq * scale).to(DQ.dtype.element_ty), mask=inside)
