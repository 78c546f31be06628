"""Trained models of any task, ours or not: load, show images, score and measure them."""
