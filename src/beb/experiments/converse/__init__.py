"""Conversations: does a model misalign turn by turn, and do its own replies hold it back?"""
