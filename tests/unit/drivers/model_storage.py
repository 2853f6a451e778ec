"""Scratch: storage made of core.replica_durable, until the real memory adapter is there."""
from __future__ import annotations
import hashlib
from collections import deque
import trio
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.errors import DataDamaged
from golemp2p.model.replication import LogSegment, Election, Configuration, Deletion
from golemp2p.ports import LogHead, StoredReplica, StoredSegment
from golemp2p.wire.description import decode_description
from types import SimpleNamespace

class Faults:
    def __init__(self, again): self.held=False; self.failing=deque(); self.again=again
    def hold(self): self.held=True
    def release(self): self.held=False; self.again()
    def fail_next(self,*errors): self.failing.extend(errors)

class MemoryStorage:
    def __init__(self):
        self.d={}; self.h={}; self.blobs={}; self.meta={}; self.q=deque(); self.token=trio.lowlevel.current_trio_token(); self.sched=False
        self.faults=Faults(self._schedule)
        self.crashed=False
    def crash(self):
        n=MemoryStorage(); n.d,n.h,n.blobs,n.meta=self.d,self.h,self.blobs,self.meta
        self.crashed=True; self.d={k:v.copy() for k,v in self.d.items()}; self.h=dict(self.h); self.q.clear(); return n
    def submit(self,batch,done):
        self.q.append((batch,done))
        self._schedule()
    def _schedule(self):
        if self.q and not self.sched and not self.faults.held: self.sched=True; self.token.run_sync_soon(self._commit)
    def _commit(self):
        self.sched=False
        if self.faults.held: return
        g,self.q=self.q,deque()
        out=[]
        for b,done in g:
            if self.faults.failing: out.append((done,self.faults.failing.popleft())); continue
            for w in b.replicas:
                d=self.d.setdefault(w.shard,ReplicaDurable())
                before=set(self._logs(d))
                d.apply(w)
                for e in w.entries:
                    if isinstance(e.content,LogSegment) and e.content.description:
                        s=e.content; x=decode_description(s.description,s.log)
                        self.h[s.log]=LogHead(s.log,x.kind,x.identity,w.shard,s.first+s.count,s.hash,x.has_open_work,x.wake_ns,x.summary)
                for log in before|set(self._logs(d)):
                    segs=d.read(log)
                    if not segs: self.h.pop(log,None); continue
                    t=(segs[-1].first+segs[-1].count,segs[-1].hash)
                    h=self.h.get(log)
                    if h is None or (h.tail,h.head_hash)!=t: self.h[log]=LogHead(log,"","",w.shard,*t,False,None,b"")
            for h in b.heads:
                o=self.h.get(h.key)
                if o and (o.tail,o.head_hash)==(h.tail,h.head_hash): self.h[h.key]=h
            out.append((done,None))
        for done,e in out: done(e)
    def _logs(self,d):
        yield from d.history
        for e in d.entries:
            if isinstance(e.content,(LogSegment,Deletion)): yield e.content.log
    async def replicas(self):
        return {k:StoredReplica(d.record,d.base,d.heads,list(d.entries),d.staged,d.damaged_logs) for k,d in self.d.items()}
    async def replica_segments(self,shard,log,*,first,tail,position,bytes_max):
        return self.d[shard].read_for(SimpleNamespace(position=position,log=log,first=first,tail=tail))
    async def read_segments(self,log,first=1,count=None):
        await trio.lowlevel.checkpoint()
        for d in self.d.values():
            s=d.read(log)
            if s:
                r=[StoredSegment(log,x.first,x.count,x.term,0,x.data) for x in s if x.first+x.count>first]
                return r if count is None else r[:count]
        return []
    async def head(self,log):
        await trio.lowlevel.checkpoint(); return self.h.get(log)
    async def heads(self,kind,*,shards,prefix="",after="",count=100):
        return sorted([h for h in self.h.values() if h.kind==kind and h.shard in shards and h.identity.startswith(prefix) and h.identity>after],key=lambda h:h.identity)[:count]
    async def heads_with_open_work(self,shard): return [h for h in self.h.values() if h.shard==shard and h.has_open_work]
    async def heads_due(self,before,count,shards): return sorted([h for h in self.h.values() if h.wake_ns is not None and h.wake_ns<=before and h.shard in shards],key=lambda h:h.wake_ns)[:count]
    async def next_wake_ns(self,shards): return min((h.wake_ns for h in self.h.values() if h.wake_ns is not None and h.shard in shards),default=None)
    async def undescribed_heads(self): return [h for h in self.h.values() if h.kind==""]
    async def put_blob(self,data):
        k=hashlib.sha256(data).digest(); self.blobs[k]=data; return k
    async def get_blob(self,k):
        if k not in self.blobs: raise DataDamaged("blob","missing")
        return self.blobs[k]
    async def has_blob(self,k): return k in self.blobs
    def blob_path(self,k): return None
    async def get_meta(self,n): return self.meta.get(n)
    async def put_meta(self,n,v): self.meta[n]=v
    async def aclose(self): pass
