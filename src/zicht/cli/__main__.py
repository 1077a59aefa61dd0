"""Lets ``python -m zicht.cli`` run the command line."""

from zicht.cli import main

main()
