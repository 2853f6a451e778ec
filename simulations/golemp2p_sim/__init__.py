"""Whole networks in one process, decided by a seed.

scenario + seed ── case.py ──> faults and wishes, explicit ── run.py ──> world, judges ──> result ──> report, shrinker

randomness trace units            what everything stands on
node                              what the world asks of a simulated node, and of the protocol that makes it
world host network disk           the machine: one ordered loop, machines, wires, disks
faults profiles atlas injector byzantine     what goes wrong, how much, how far it may go, how it is done
workload model_worker history     what clients ask, and what they saw
checkers/                         the judges
toy*                              a small protocol that can be broken on purpose, to judge the judges
subjects case run                 protocols by name; one run, explicit; playing it
scenario growth runner shrink     files, who is born when, many seeds, small failures
stopwatch measured figures        what a run measures, and what many come to
report plots scales               a page to look at
"""
