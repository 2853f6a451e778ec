"""The command line: one group per noun. Commands talk REST to a node; only ``node run`` and ``storage`` touch a data directory.

    app          the root command, what every command shares, exit codes
    framework    commands that accept --format anywhere; failures of two lines
    api          the node's REST API as this command line needs it
    output       tables and JSON; text from strangers made safe for terminals
    component, worker, node, storage, sim, completion      the groups

Start-up time is a feature: modules here import click and the standard library only; httpx and rich are imported where used.
"""

from golemp2p_node.cli.app import main

__all__ = ["main"]
