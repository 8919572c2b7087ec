"""Ask an app whether it can serve: over HTTP, TCP or by a command."""
