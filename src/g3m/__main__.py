"""`python -m g3m` is `g3m`."""

from g3m.ui.cli import main

main()
