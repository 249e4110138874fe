"""Layer 7: the command line, one module per verb; heavy imports happen inside the verb that needs them."""

import sys
from pathlib import Path

from robusteval.core.errors import RobustevalError

INTERRUPTED = 130


def main() -> None:
    """Run the command line: bad input is one line and exit code 2, anything else that is raised is a bug."""
    from robusteval.cli.app import Abort, UsageError, app

    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)  # where `python:` finds the user's factories; last, so that it shadows nothing
    try:
        code = app(standalone_mode=False) or 0
    except (Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except RobustevalError as error:
        code = _refused(str(error))
    except UsageError as error:
        place = "robusteval" if error.ctx is None else error.ctx.command_path
        code = _refused(f"{error.format_message()} (see {place} --help)")
    if code == INTERRUPTED:
        print("robusteval: stopped; what was finished is kept, and the same command goes on there", file=sys.stderr)
    sys.exit(code)


def _refused(reason: str) -> int:
    print(f"robusteval: {' '.join(reason.splitlines())}", file=sys.stderr)
    return 2
