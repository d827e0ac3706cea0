"""Behavior Expectation Bounds: how far a language model is from misbehaving, and what it would take."""
