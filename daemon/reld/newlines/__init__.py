"""Which kinds of log lines a release writes that another one never did. Pure."""
