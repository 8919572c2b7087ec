"""What an app's own database says, asked past the app."""

from __future__ import annotations

import json
from typing import Any

from tests.stacks.story import Story


def rows(story: Story, query: str) -> list[list[Any]]:
    """As the database tells it; times are ISO 8601."""
    asked = f"SELECT json_build_array({query.replace(' FROM', ') FROM', 1)}"
    said = story.box.sh(f'sudo -u postgres psql --tuples-only --no-align web -c "{asked}"')
    return [json.loads(line) for line in said.splitlines()]
