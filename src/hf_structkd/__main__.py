"""`python -m hf_structkd` is the command `structkd`, also behind `accelerate launch -m`."""

from __future__ import annotations

from .cli.main import main

if __name__ == "__main__":
    main()
