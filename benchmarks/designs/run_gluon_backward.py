"""Device runner: run_gluon_backward.py worker CASE VARIANT... | all"""
import sys, os, subprocess, time
HERE = os.path.dirname(os.path.abspath(__file__))
VAR = {  # name: (ST, RQ, RP, RC, KREG, VREG, AT)
    "k0": (4, 96, 32, 192, 0, 0, 1),
    "k1": (4, 96, 32, 192, 1, 0, 1),
    "s1": (4, 96, 32, 192, 1, 0, 0),
}
def setup(p, var):
    import torch, gluon_backward, triton
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GTD
    from triton.experimental.gluon.language._layouts import NVMMASharedLayout as NL
    ST, RQ, RP, RC, KR, VR, AT = VAR[var]
    masks = list(p.layer.masks)
    tab, qmap = gluon_backward.tables(p.Ls, masks, p.H, p.B, "cuda")
    NQB = len(qmap)
    S = torch.empty(p.B * p.H * NQB * 128, device="cuda")
    A = torch.empty(p.B * p.H * NQB * 64 * p.D, device="cuda")
    L4 = NL(128, 16, 4)
    td = lambda t: GTD(t, list(t.shape), list(t.stride()), [1, 1, 64, p.D], L4)
    sd = GTD(S, [S.numel()], [1], [128], NL(0, 32, 1))
    qd, kd, vd, gd = map(td, (p.q, p.k, p.v, p.g))
    W = tab.shape[0]; nsm = torch.cuda.get_device_properties(0).multi_processor_count
    n = p.B * p.H * NQB
    lens, slen = p.lens, 0 if p.lens.shape[0] == 1 else p.lens.stride(0)
    plan = torch.empty_like(tab); assert n >= W
    def pre(): gluon_backward.gpre[(n,)](p.o, p.g, p.l, S, A, qmap, tab, plan, lens, slen, W, p.H, p.N, NQB, *p.o.stride()[:3], *p.g.stride()[:3], M=p.m, D=p.D, num_warps=4)
    def main(): gluon_backward.gbwd[(min(nsm, W),)](qd, kd, vd, gd, sd, A, p.dk, p.dv, plan, W, *p.dk.stride()[:3], p.scale, p.s2, M=p.m, D=p.D, ST=ST, RQ=RQ, RP=RP, RC=RC, KREG=KR, VREG=VR, AT=AT, num_warps=4)
    def post(): gluon_backward.gpost[(n,)](A, p.dq, qmap, p.H, p.N, NQB, *p.dq.stride()[:3], p.scale, D=p.D, num_warps=4)
    def run(): pre(); main(); post()
    return run, pre, main, post
def poison(p):
    for t in (p.dq, p.dk, p.dv, p.dl, p.a): t.fill_(float("nan"))
def pad(variants):
    """Random lens incl. 0 and NaN padding, several shapes, against a dense fp32 computation per sample."""
    import torch, math
    from problems import P
    for D, dt, lengths, views, B in ((64, "bf16", {"a": 200, "b": 77}, "self:1 a~b:1 full:1", 5), (64, "fp16", {"a": 300, "b": 130, "c": 64}, "self:1 a~b:1 b~c:1", 4)):
        try: p = P(B, D, lengths, views)
        except Exception as ex:
            views = views.replace(" full:1", ""); p = P(B, D, lengths, views)
        if dt == "fp16":
            for n in ("q", "k", "v", "g", "o", "dq", "dk", "dv"): setattr(p, n, getattr(p, n).half())
        g = torch.Generator().manual_seed(1)
        lens = torch.stack([torch.randint(0, n + 1, (B,), generator=g) for n in p.Ls], 1).int()
        lens[0] = torch.tensor(p.Ls); lens[1, 0] = 0; lens[2, 1] = 0
        p.lens = lens.cuda()
        off = list(p.layout.offsets)
        real = torch.zeros(B, p.N, dtype=torch.bool)
        mod = torch.zeros(p.N, dtype=torch.long)
        for b in range(B):
            for i, n in enumerate(p.Ls):
                real[b, off[i]:off[i] + int(lens[b, i])] = True; mod[off[i]:off[i] + n] = i
        real = real.cuda(); mod = mod.cuda(); masks = list(p.layer.masks)
        allow = torch.zeros(p.H, p.N, p.N, dtype=torch.bool, device="cuda")
        for h in range(p.H):
            for i in range(p.m):
                for j in range(p.m):
                    if masks[h * p.m + i] >> j & 1: allow[h] |= (mod[:, None] == i) & (mod[None] == j)
        ok = allow[None] & real[:, None, :, None] & real[:, None, None, :]
        X = [t.detach().float().requires_grad_() for t in (p.q, p.k, p.v)]
        s = (X[0] @ X[1].transpose(-1, -2) * p.scale).masked_fill(~ok, -1e30)
        any_ = ok.any(-1, keepdim=True)
        pr = torch.where(any_, s.softmax(-1) * ok, 0.0)
        o = pr @ X[2]
        ref = torch.autograd.grad(o, X, p.g.float())
        p.o = o.detach().to(p.q.dtype).transpose(1, 2).contiguous().transpose(1, 2)
        lse = torch.logsumexp(s.detach().masked_fill(~ok, float("-inf")), -1) * math.log2(math.e)
        p.l = torch.where(any_[..., 0], lse, float("inf")).contiguous()
        for t in (p.q, p.k, p.v, p.g):
            t.masked_fill_(~real[:, None, :, None], float("nan"))
        for v in variants:
            try:
                poison(p); run = setup(p, v)[0]; run(); torch.cuda.synchronize()
                es = [float((a.float() - b).norm() / b.norm()) for a, b in zip((p.dq, p.dk, p.dv), ref)]
                zer = all(bool((t.masked_select(~real[:, None, :, None]) == 0).all()) for t in (p.dq, p.dk, p.dv))
                a0 = [t.clone() for t in (p.dk, p.dv)]; run(); torch.cuda.synchronize()
                print(f"pad D{D} {dt} {views} {v} err {es[0]:.4f} {es[1]:.4f} {es[2]:.4f} padding zero {zer} finite {all(bool(t.isfinite().all()) for t in (p.dq, p.dk, p.dv))} repeat {all(bool((a == b).all()) for a, b in zip(a0, (p.dk, p.dv)))}", flush=True)
            except Exception as ex: print("pad", v, "FAILED", repr(ex)[-400:], flush=True)
def worker(case, variants):
    sys.argv = sys.argv[:1]
    import torch
    from problems import P, CASES, ms
    if case == -1:
        return pad(variants)
    p = P(*CASES[case])
    t0 = time.time()
    p.fwd(64, 64, 4, 2, 0)(); p.ref(); torch.cuda.synchronize()
    f, bb = p.dense(); db = ms(bb)
    print(f"== case {case} dense bwd {db:.3f} fwd err {p.err([(p.o, p.ro)]):.4f} setup {time.time()-t0:.1f}s", flush=True)
    for v in variants:
        try:
            run, pre, main, post = setup(p, v)
            poison(p); t0 = time.time(); run(); torch.cuda.synchronize()
            es = [p.err([(a, b)]) for a, b in zip((p.dq, p.dk, p.dv), p.rg)]
            fin = all(bool(t.isfinite().all()) for t in (p.dq, p.dk, p.dv))
            t = ms(run)
            print(f"case {case} {v} {t:.3f} ms ratio {t/db:.3f} (goal {p.ratio:.3f}) pre {ms(pre):.3f} main {ms(main):.3f} post {ms(post):.3f} "
                  f"{p.flops*2.5/t/1e9:.0f} TFLOP/s err dq dk dv {es[0]:.4f} {es[1]:.4f} {es[2]:.4f} finite {fin} compile {time.time()-t0:.1f}s", flush=True)
        except Exception as ex:
            print("case", case, v, "FAILED", repr(ex)[-600:], flush=True)
if __name__ == "__main__":
    sys.path.insert(0, HERE)
    if sys.argv[1] == "worker":
        worker(int(sys.argv[2]), sys.argv[3:])
    else:
        for c in sys.argv[1].split(","):
            try:
                subprocess.run([sys.executable, "-u", __file__, "worker", c] + sys.argv[2:], timeout=45)
            except subprocess.TimeoutExpired:
                print("case", c, "TIMEOUT", flush=True)
