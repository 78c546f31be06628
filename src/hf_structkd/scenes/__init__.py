"""The embedded scenes: ray-cast rooms with classes, depth and boxes, for demonstrations and tests."""
