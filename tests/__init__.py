"""Tests; the garbage collector rests until all is imported, as it would take a third of that time."""

import gc

gc.disable()
