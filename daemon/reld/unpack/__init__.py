"""What runs as the app's user to put a release in place. Only the standard library, and itself."""
