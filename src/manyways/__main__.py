"""`python -m manyways` is the command `manyways`."""

from manyways.cli.main import main

main()
