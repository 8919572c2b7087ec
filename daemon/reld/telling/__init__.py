"""Telling others what happens: webhooks and commands of `[[notify]]`."""
