"""A rollout as a person watches it: `frame` says which lines there are, `painter` brings them on."""
