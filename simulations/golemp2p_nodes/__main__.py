"""``python -m golemp2p_nodes [--guests KIND] [--storage KIND] < case.json``: play one case with whole nodes and print its trace hash,
nothing else."""

import argparse
import json
import sys

from golemp2p_nodes import guests, stores
from golemp2p_nodes.run import run_case
from golemp2p_sim.case import case_from_json

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m golemp2p_nodes")
    parser.add_argument("--guests", choices=guests.KINDS, default=guests.SCRIPTED)
    parser.add_argument("--storage", choices=stores.KINDS, default=stores.MEMORY)
    print(run_case(case_from_json(json.load(sys.stdin)), **vars(parser.parse_args())).trace_hash)
