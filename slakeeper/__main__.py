"""``python -m slakeeper`` is the command line."""

from slakeeper.cli import main

main(prog_name="slakeeper")
