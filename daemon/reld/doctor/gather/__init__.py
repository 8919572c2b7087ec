"""Looks at the world for the doctor. Nothing in here changes anything."""
