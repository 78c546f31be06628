"""From a command line to a trained, compared and saved student."""
