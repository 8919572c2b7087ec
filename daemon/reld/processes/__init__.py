"""Start, recognise, watch and end processes; their ports, logs and appetite."""
