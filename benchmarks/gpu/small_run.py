"""Every kernel once or twice on small inputs, for compute-sanitizer."""

from __future__ import annotations

import torch

from .__main__ import all_cases


def main() -> None:
    for case in all_cases("cuda", small=True):
        inputs = case.build()
        case.check(inputs, case.call(case.expected, inputs))
    torch.cuda.synchronize()
    print("every op ran")


if __name__ == "__main__":
    main()
