"""`python run.py …` is `slakeeper …`."""

from slakeeper.cli import main

if __name__ == "__main__":
    main()
