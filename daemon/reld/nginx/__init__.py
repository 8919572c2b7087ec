"""The gate: an nginx of reld's own between the site's nginx and the app."""
