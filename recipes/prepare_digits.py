"""Audio-visual digits: spoken and handwritten digits in pairs, noise on both so that neither alone is enough.

    python recipes/prepare_digits.py ../shared/data/fsdd data/digits

SOURCE is the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0); the images are
scikit-learn's. `locomt.studies.datasets.digits` says how they are divided, paired and made noisy.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from locomt.studies.datasets import DataSetError
from locomt.studies.datasets.digits import make_digits


def main() -> None:
    parser = argparse.ArgumentParser(description="Noisy pairs of spoken and handwritten digits, and their manifest.")
    parser.add_argument("source", type=Path, help="the Free Spoken Digit Dataset, or its folder recordings/")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--snr", type=float, default=-8.0, help="of the recordings, dB (default: -8)")
    parser.add_argument("--blur", type=float, default=0.35, help="noise of the images, in 0 to 1 (default: 0.35)")
    parser.add_argument("--hole", type=int, default=3, help="pixels blanked, along each side (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of pairs and noise (default: 0)")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    try:
        rows = make_digits(args.source, args.out, snr=args.snr, blur=args.blur, hole=args.hole, seed=args.seed)
    except DataSetError as error:
        raise SystemExit(str(error)) from None
    for split, count in Counter(row["split"] for row in rows).items():
        print(f"{split}: {count} pairs")


if __name__ == "__main__":
    main()
