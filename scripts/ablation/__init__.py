"""The parts of `scripts/ablate.py`: what is run, one run, many runs, their statistics, and the report."""
