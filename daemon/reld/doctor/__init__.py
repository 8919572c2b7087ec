"""`relctl check`: facts are gathered, rules make findings of them, each with what to type."""
