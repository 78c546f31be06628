"""Structured knowledge distillation for dense prediction on Hugging Face Transformers."""
