"""``golemp2p completion``: the script that teaches a shell to complete our commands."""

from __future__ import annotations

import click

from golemp2p_node.cli.framework import Command, fail


@click.command(
    "completion",
    cls=Command,
    examples="""
        $ eval "$(golemp2p completion bash)"       in ~/.bashrc
        $ eval "$(golemp2p completion zsh)"        in ~/.zshrc
        $ golemp2p completion fish > ~/.config/fish/completions/golemp2p.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    if completion is None:
        fail(f"no completion for {shell}")
    root = context.find_root().command
    maker = completion(root, {}, "golemp2p", "_GOLEMP2P_COMPLETE")
    click.echo(maker.source_template % maker.source_vars())
