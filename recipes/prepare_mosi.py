"""CMU-MOSI as a manifest: a video a sample, three sequences of utterance features, a label an utterance.

    python recipes/prepare_mosi.py ../shared/data/mosi data/mosi

SOURCE holds the utterance features of the bc-LSTM authors (github.com/declare-lab/multimodal-deep-learning,
bc-LSTM/data). `locomt.studies.datasets.mosi` says what is made of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from locomt.studies.datasets import DataSetError
from locomt.studies.datasets.mosi import make_mosi


def main() -> None:
    parser = argparse.ArgumentParser(description="CMU-MOSI utterance features to a manifest.")
    parser.add_argument("source", type=Path, help="folder with transcripts.csv and text/, audio/, video/")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--val-videos", type=int, default=12, help="of the 62 training videos (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    try:
        videos = make_mosi(args.source, args.out, val_videos=args.val_videos, seed=args.seed)
    except DataSetError as error:
        raise SystemExit(str(error)) from None
    for split, members in videos.items():
        print(f"{split}: {len(members)} videos, {sum(len(video['label']) for video in members.values())} utterances")


if __name__ == "__main__":
    main()
