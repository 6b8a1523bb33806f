import sys, json, math, torch, triton, time, traceback
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, 'src')
import first_triton as K
from triton.tools.tensor_descriptor import TensorDescriptor as TD
from locomt import TokenLayout, LayerViews, view_attention
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.nn.attention import SDPBackend, sdpa_kernel
aten=torch.ops.aten
dev="cuda"
AV={"video":1569,"audio":401}
CASES=[(32,64,AV,"self:6 video~audio:6"),(32,64,AV,"video~audio:12"),(32,64,AV,"self:12"),(1,64,AV,"self:6 video~audio:6"),
 (8,64,{"video":6272,"audio":1024,"text":512},"self:3 video~audio:3 video~text:3 audio~text:3"),(8,128,{"video":4096,"audio":1024},"self:4 video~audio:4")]
class P:
    def __init__(s,B,D,lengths,views):
        s.layout=TokenLayout(lengths); s.layer=LayerViews.parse(views,tuple(lengths)); s.H=H=len(s.layer.heads); s.B=B;s.D=D;s.N=N=s.layout.total
        torch.manual_seed(0)
        p=torch.randn(B,N,3,H,D,device=dev,dtype=torch.bfloat16)
        s.q,s.k,s.v=(t.transpose(1,2) for t in p.unbind(2))
        s.g=torch.randn(B,N,H,D,device=dev,dtype=torch.bfloat16).transpose(1,2)
        s.m=m=len(lengths); L=list(lengths.values())
        masks=list(s.layer.masks)
        seg=[[ [j for j in range(m) if masks[h*m+i]>>j&1] for i in range(m)] for h in range(H)]
        see=[[ [i for i in range(m) if masks[h*m+i]>>j&1] for j in range(m)] for h in range(H)]
        pad=lambda x:[[r+[-1]*(m-len(r)) for r in hh] for hh in x]
        I=lambda x:torch.tensor(x,dtype=torch.int32,device=dev)
        s.seg,s.segc=I(pad(seg)),I([[len(r) for r in hh] for hh in seg])
        s.see,s.seec=I(pad(see)),I([[len(r) for r in hh] for hh in see])
        s.starts=I(list(s.layout.offsets)); s.lens=I([L]); s.Ls=L
        s.scale=D**-.5; s.s2=s.scale*math.log2(math.e)
        s.C=s.layer.score_pairs(lengths); s.flops=4*B*D*s.C
        s.ratio=s.C/(H*N*N)
        s.o=torch.empty(B,N,H,D,device=dev,dtype=torch.bfloat16).transpose(1,2)
        s.l=torch.empty(B,H,N,device=dev); s.dl=torch.empty(B,H,N,device=dev); s.a=torch.empty(B,H,N,D,device=dev)
        s.dk,s.dv,s.dq=(torch.empty(B,N,H,D,device=dev,dtype=torch.bfloat16).transpose(1,2) for _ in range(3))
        s.tl={}
    def tiles(s,b):
        if b not in s.tl:
            s.tl[b]=torch.tensor([[i,r] for i,n in enumerate(s.Ls) for r in range(0,n,b)],dtype=torch.int32,device=dev)
        return s.tl[b]
    def td(s,t,b): return TD(t,list(t.shape),list(t.stride()),[1,1,b,s.D])
    def fwd(s,BM,BN,W,ST,TMA,TAIL=32,nreg=None):
        t=s.tiles(BM); T=len(t)
        dk,dv=(s.td(s.k,BN),s.td(s.v,BN)) if TMA else (None,None)
        kw={"maxnreg":nreg} if nreg else {}
        return lambda: K.fwd[(T*s.B*s.H,)](s.q,s.k,s.v,s.o,s.l,dk,dv,t,s.seg,s.segc,s.starts,s.lens,0,s.H,s.N,T,*s.q.stride()[:3],*s.k.stride()[:3],*s.v.stride()[:3],*s.o.stride()[:3],s.s2,M=s.m,D=s.D,BM=BM,BN=BN,TAIL=TAIL,ST=ST,TMA=TMA,num_warps=W,**kw)
    def bwd(s,BM,BN,W,ST,TMA,AT,dqc=None,nreg=None):
        t=s.tiles(BN); T=len(t)
        dq_,dg_=(s.td(s.q,BM),s.td(s.g,BM)) if TMA else (None,None)
        da_=TD(s.a.view(-1,s.N,s.D),[s.B*s.H,s.N,s.D],[s.N*s.D,s.D,1],[1,BM,s.D]) if AT==2 else None
        kw={"maxnreg":nreg} if nreg else {}
        nb=triton.cdiv(s.N,64)*s.B*s.H
        def run():
            K.pre[(nb,)](s.o,s.g,s.dl,s.a,s.H,s.N,*s.o.stride()[:3],*s.g.stride()[:3],D=s.D,BM=64,ATOMIC=AT>0,num_warps=4)
            K.bwd[(T*s.B*s.H,)](s.q,s.k,s.v,s.g,s.l,s.dl,s.a,s.dk,s.dv,dq_,dg_,da_,t,s.see,s.seec,s.starts,s.lens,0,s.H,s.N,T,*s.q.stride()[:3],*s.k.stride()[:3],*s.v.stride()[:3],*s.g.stride()[:3],*s.dk.stride()[:3],s.scale,s.s2,M=s.m,D=s.D,BM=BM,BN=BN,ST=ST,TMA=TMA,ATOMIC=AT,num_warps=W,**kw)
            if AT: K.post[(nb,)](s.a,s.dq,s.H,s.N,*s.dq.stride()[:3],s.scale,D=s.D,BM=64,num_warps=4)
            else: s.bwdq(*dqc)()
        return run
    def bwdq(s,BM,BN,W,ST,TMA):
        t=s.tiles(BM);T=len(t)
        dk,dv=(s.td(s.k,BN),s.td(s.v,BN)) if TMA else (None,None)
        return lambda: K.bwdq[(T*s.B*s.H,)](s.q,s.k,s.v,s.g,s.l,s.dl,s.dq,dk,dv,t,s.seg,s.segc,s.starts,s.lens,0,s.H,s.N,T,*s.q.stride()[:3],*s.k.stride()[:3],*s.v.stride()[:3],*s.g.stride()[:3],*s.dq.stride()[:3],s.scale,s.s2,M=s.m,D=s.D,BM=BM,BN=BN,TAIL=32,ST=ST,TMA=TMA,num_warps=W)
    def ref(s):
        qkv=[t[:1].detach().float().requires_grad_() for t in (s.q,s.k,s.v)]
        o=view_attention(*qkv,s.layout,s.layer,backend="reference")
        s.ro=o.detach(); s.rg=torch.autograd.grad(o,qkv,s.g[:1].float())
    def err(s,ts):
        return max(float((a[:1].float()-b).norm()/b.norm()) for a,b in ts)
    def dense(s):
        out=aten._scaled_dot_product_cudnn_attention(s.q,s.k,s.v,None,True,0.0,False,False)
        o,l=out[0],out[1]
        seed=torch.empty((),dtype=torch.int64,device=dev)
        if l.dim()==3:l=l[...,None]
        f=lambda: aten._scaled_dot_product_cudnn_attention(s.q,s.k,s.v,None,True,0.0,False,False)
        bb=lambda: aten._scaled_dot_product_cudnn_attention_backward(s.g,s.q,s.k,s.v,o,l.contiguous(),seed,seed,None,None,None,s.N,s.N,0.0,False)
        return f,bb
def ms(f,rep=12):
    f();f();torch.cuda.synchronize()
    ts=[]
    for _ in range(rep):
        a,b=torch.cuda.Event(enable_timing=True),torch.cuda.Event(enable_timing=True)
        a.record();f();b.record();b.synchronize();ts.append(a.elapsed_time(b))
    ts.sort();return ts[len(ts)//2]
