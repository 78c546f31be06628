"""Many runs from one plan: what is run, one run, many runs, their statistics, and the report."""
