"""`structkd ablate` with the folders of this repository: its results and its page are those of docs/.

    python scripts/ablate.py examples/ablations/camvid.yaml --processes 2
    python scripts/ablate.py examples/ablations/*.yaml --report

`docs/command.md` describes the plan and the options.
"""

from __future__ import annotations

import sys

from hf_structkd.cli.ablation.command import ablate
from hf_structkd.cli.endings import one_sentence

if __name__ == "__main__":
    with one_sentence(sys.argv):
        ablate(
            sys.argv[1:],
            command="python scripts/ablate.py",
            results="docs/results/runs",
            page="docs/results.md",
        )
