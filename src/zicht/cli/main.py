"""The command line ``zicht``: finds a command, runs it, turns our errors into an exit status.

A command's module is imported when the command is asked for: ``zicht protect`` does not wait for
what only refreshes need.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_group

import zicht
from zicht.errors import StorageError, ZichtError

MODULES = {
    "status": "operate",
    "deliveries": "operate",
    "releases": "operate",
    "refresh": "operate",
    "gates": "operate",
    "intake": "operate",
    "requeue": "operate",
    "demo": "operate",
    "up": "operate",
    "statline": "operate",
    "calendar": "calendar",
    "backfill": "backfill",
    "upkeep": "upkeep",
    "synth": "synth",
    "protect": "protect",
    "attack": "attack",
    "forecast": "forecast",
}
"""Every command or group, and the module below :mod:`zicht.cli` that has it.

Such a module has an ``app`` of several commands, or one function with the name of the command.
"""


def _app_of(name: str) -> typer.Typer:
    module = import_module(f"zicht.cli.{MODULES[name]}")
    if hasattr(module, "app"):
        return cast(typer.Typer, module.app)
    single = typer.Typer(rich_markup_mode=None)
    single.command()(getattr(module, name))
    return single


class _Commands(MutableMapping[str, Any]):
    """The commands by name, each loaded when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        return get_group(_app_of(name)).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)

    def __setitem__(self, name: str, command: Any) -> None:
        raise TypeError("commands are declared in MODULES")

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands are declared in MODULES")


class _Group(TyperGroup):
    """A group whose commands are not imported before they are needed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()


app = typer.Typer(
    name="zicht",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zicht {zicht.__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """From slow, uneven government deliveries to indicator tables that disclose nobody."""


def _tell_stderr(line: str) -> None:
    typer.echo(line, err=True)


def main() -> None:
    """Entry point: turns our errors into a message, a remedy and an exit status."""
    # What is confidential is not for everybody on this machine to read.
    os.umask(0o027)
    try:
        # Without click's own ending, a command that leaves with a status returns it.
        sys.exit(app(standalone_mode=False) or 0)
    except ZichtError as error:
        _tell_stderr(f"{error.code}: {error.message}")
        if error.remedy:
            _tell_stderr(f"remedy: {error.remedy}")
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _tell_stderr(f"{StorageError.default_code}: {error.strerror or error}{where}")
        _tell_stderr("remedy: is ZICHT_HOME right, may you write there, and is the disk not full?")
        sys.exit(StorageError.exit_status)
    except typer.Abort:
        sys.exit(130)
    except Exception as error:
        # click's own complaints about arguments carry a show method and an exit code.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            sys.exit(error.exit_code)
        traceback.print_exc()
        _tell_stderr("Z-000: a fault in the program; please report the lines above.")
        sys.exit(1)
