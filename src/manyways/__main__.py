"""`python -m manyways` is the command `manyways`."""

from manyways.cli import main

main()
