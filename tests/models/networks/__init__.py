"""Networks that are no models of Transformers, each in a file of its own, as people have them."""
