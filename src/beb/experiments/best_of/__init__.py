"""Best of n: does showing the best of several responses protect, and for how long?"""
