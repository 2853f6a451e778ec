"""Level 1 of the simulation: whole nodes, drivers and transport and storage and guests, under trio's virtual clock.

golemp2p_sim  scenario, seed ──draw──> case ──┐                     level 0 plays it with cores in its own ordered loop,
              wires, injector, clients        ├──> run.py           level 1 with nodes as ``golemp2p node run`` puts them together
golemp2p      drivers, mesh, storage ─────────┘                     with scripted guests, or the engine and WebAssembly;
                                                                    with storage in memory, or SQLite

run         one case: grow, let faults play, heal, demand progress, judge
mesh        the world: machines, wires, clients' network, who is born, who leads
machine     one machine: a process (a whole node, its tasks held back when it is frozen), a disk, a clock
streams     TCP over the wires of level 0: in order, sent again when lost, broken when it takes too long
stores      which kind of storage a run has
disk        a disk that takes time, fails, and forgets what a crash interrupts; storage in memory on it
disk_sqlite the real storage on it; files: an SQLite VFS that knows what was not synced
gateway     clients' requests as calls of the node's client
guests      which kind of guests a run has
workers     scripts that clients invoke, and what they should answer
guests_wasm the same as WebAssembly, on the real engine; the only file that knows it
judges      what must hold
loop        seeded scheduling, threads inline, tasks of a frozen node held back; the only file that knows trio's insides
clockwork   what happens at which moment
fitting     which scenarios and faults make sense here
"""
