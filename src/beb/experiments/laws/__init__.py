"""Which law do a run's curves follow?"""
