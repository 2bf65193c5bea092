"""`python -m tiforge_mimecast.emulator`: run the emulator until it is interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tiforge import ConfigurationError
from tiforge.testing.serving import serving


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    try:
        from tiforge_mimecast.emulator import Emulator, Ending, credentials, make_rows
    except ConfigurationError as error:
        sys.exit(str(error))
    parser = argparse.ArgumentParser(prog="python -m tiforge_mimecast.emulator", description="A local Mimecast.")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--rows", type=int, default=1000, help="how many rows each feed holds")
    parser.add_argument("--seed", type=int, default=0, help="other seeds make other hashes")
    parser.add_argument("--hashes", type=Path, help="a file of SHA-256 values, one a line, to make the feed from")
    parser.add_argument("--page-size", type=int, default=5000, help="rows an answer")
    parser.add_argument("--ending", choices=[ending.name.lower() for ending in Ending], default="absent")
    parser.add_argument("--quota", type=int, help="feed requests a minute")
    options = parser.parse_args(arguments)
    hashes = options.hashes.read_text(encoding="ascii").split() if options.hashes else ()
    emulator = Emulator(
        make_rows(options.rows, options.seed, hashes=hashes),
        page_size=options.page_size,
        ending=Ending[options.ending.upper()],
        quota=options.quota,
    )
    # Blocked before the server's thread starts, which inherits it: only `sigwait` sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends := {signal.SIGINT, signal.SIGTERM})
    with serving(emulator.app, port=options.port) as url:
        sys.stdout.write(
            f"Mimecast emulator on {url}\n\n"
            f'[sources.mimecast]\ntype = "mimecast"\nbase_url = "{url}"\n'
            f'client_id = "{credentials.CLIENT_ID}"\nclient_secret = "{credentials.CLIENT_SECRET}"\n\n'
            f'# or, for API 1.0:\n# api = "1.0"\n# app_id = "{credentials.APP_ID}"\n'
            f'# app_key = "{credentials.APP_KEY}"\n# access_key = "{credentials.ACCESS_KEY}"\n'
            f'# secret_key = "{credentials.SECRET_KEY}"\n# email = "{credentials.EMAIL}"\n'
            f'# password = "{credentials.PASSWORD}"\n'
        )
        sys.stdout.flush()
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
