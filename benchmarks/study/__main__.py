"""The studies behind the page "What has been reproduced".

    python -m benchmarks.study STUDY [--help]

ablations: what every part of a detector brings, beside its paper. lengths: whether a second stage needs a longer
training to pay. peers: other people's detectors on the same data in the same time. fractions: accuracy over the number
of training images. judge: the original code's rules by test vectors. page: the tables and plots of docs/studies, from
the results that are there.
"""

from __future__ import annotations

import importlib
import sys

STUDIES = ("ablations", "lengths", "peers", "fractions", "judge", "page")


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in STUDIES:
        print(f"STUDY: expected one of {', '.join(STUDIES)}, got {name}", file=sys.stderr)
        return 2
    status: int = importlib.import_module(f".{name}", __package__).main(rest)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
