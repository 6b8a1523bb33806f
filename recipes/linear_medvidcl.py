"""What a linear model makes of the same texts: TF-IDF and logistic regression, chosen by the validation split.

    python recipes/linear_medvidcl.py data/medvidcl --column title

FOLDER is what `prepare_medvidcl.py` wrote. The words' and the characters' n-grams, the strength of the regularisation
and whether classes are weighted by their frequency are tried in turn; the test split is scored for the plain words
with scikit-learn's defaults and for the choice with the best validation F1.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline, make_union

WORDS = {"ngram_range": (1, 2), "sublinear_tf": True}
CHARACTERS = {"analyzer": "char_wb", "ngram_range": (2, 5), "sublinear_tf": True}


def main() -> None:
    parser = argparse.ArgumentParser(description="TF-IDF and logistic regression on MedVidCL's texts.")
    parser.add_argument("folder", type=Path, help="with manifest.csv")
    parser.add_argument("--column", default="text", choices=("title", "subtitles", "text"))
    args = parser.parse_args()
    with (args.folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts = {s: [row[args.column] for row in rows if row["split"] == s] for s in ("train", "val", "test")}
    labels = {s: [row["label"] for row in rows if row["split"] == s] for s in texts}

    scores = {}
    for name, model in models():
        model.fit(texts["train"], labels["train"])
        scores[name] = {
            split: f1_score(labels[split], model.predict(texts[split]), average="macro") for split in ("val", "test")
        }
    best = max(scores, key=lambda name: scores[name]["val"])
    for what, name in (("defaults", next(iter(scores))), ("best of validation", best)):
        print(f"{what}: {name}: macro-F1 {scores[name]['val']:.3f} validation, {scores[name]['test']:.3f} test")


def models() -> Iterator[tuple[str, Any]]:
    """Name and untrained model; scikit-learn's defaults first."""
    yield "words", make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=3000))
    vectors = {"words 1-2": [WORDS], "characters 2-5": [CHARACTERS], "both": [WORDS, CHARACTERS]}
    for (name, kinds), strength, weight in product(vectors.items(), (1, 10, 100), (None, "balanced")):
        vector = make_union(*(TfidfVectorizer(**kind) for kind in kinds))
        regression = LogisticRegression(C=strength, class_weight=weight, max_iter=3000)
        yield f"{name}, C {strength}, {weight or 'plain'}", make_pipeline(vector, regression)


if __name__ == "__main__":
    main()
