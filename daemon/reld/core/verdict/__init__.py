"""Is the new release worse? Per-second counts of live traffic in, a verdict with its evidence out. Pure."""
