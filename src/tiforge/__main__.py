"""`python -m tiforge` is `tiforge`."""

from tiforge.cli import main

main()
