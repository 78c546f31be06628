"""Ray-cast rooms with classes, depth and boxes, for demonstrations and tests."""
