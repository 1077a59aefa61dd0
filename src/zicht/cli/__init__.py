"""The command line ``zicht``: for those who operate refreshes and those who look at deliveries."""

from zicht.cli.main import main

__all__ = ["main"]
