"""Names and texts as SQL writes them."""


def quoted(identifier: str) -> str:
    """A SQL identifier in quotation marks."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A SQL text literal."""
    return "'" + value.replace("'", "''") + "'"
