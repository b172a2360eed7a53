"""`python -m augmint` is the command line."""

from augmint.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
