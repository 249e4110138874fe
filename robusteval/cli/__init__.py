"""Layer 7: the command line, one module per verb; heavy imports happen inside the verb that needs them."""

import sys

from robusteval.core.errors import RobustevalError


def main() -> None:
    """Run the command line: bad input is one line and exit code 2, anything else that is raised is a bug."""
    from robusteval.cli.app import app

    try:
        app()
    except RobustevalError as error:
        print(f"robusteval: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("robusteval: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
