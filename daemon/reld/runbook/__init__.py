"""The team's page about releases, made of the live config and state: `relctl runbook`."""
