"""`python -m tests.support.google_cloud --port PORT`: a Google Cloud project on this machine, until terminated."""

from __future__ import annotations

import argparse
import asyncio

from tests.support.google_cloud.api import Api
from tests.support.serving import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.google_cloud", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(Api().application(), parser.parse_args().port))


if __name__ == "__main__":
    main()
