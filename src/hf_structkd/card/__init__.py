"""The model card of a student."""
