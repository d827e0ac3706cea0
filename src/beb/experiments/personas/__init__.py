"""Personas as components: their weights in the model, how distinct each is, and how long its way is."""
