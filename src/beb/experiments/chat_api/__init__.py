"""Behavior curves of a chat API, with prompts from a local component."""
