"""Records what the reference libraries say about generated cases, for the tests of the metrics.

    uv run --no-project --with scikit-learn==1.9.1 --with seqeval==1.2.2 --with nltk==3.10.4 \
        python tests/golden/downstream/record_scores.py

The libraries are large and none is needed to use the metrics, so the tests read this record. The
version of each is written into it.
"""

from __future__ import annotations

import json
import warnings
from importlib import metadata
from pathlib import Path
from random import Random

from nltk.tokenize import NLTKWordTokenizer
from seqeval.metrics import f1_score as entity_f1
from seqeval.metrics import precision_score as entity_precision
from seqeval.metrics import recall_score as entity_recall
from seqeval.metrics.sequence_labeling import get_entities
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

TARGET = Path(__file__).with_name("scores.json")
PIECES = (
    "cannot gimme gonna gotta lemme more'n wanna 'tis 'twas d'ye don't it's we'll they've i'd x "
    "1,000 3.5 u.s. iphone6s e.g. a n't '' \" ' , . ... .. ( ) [ ] < > { } ; @ # $ % & ? ! « » ‘ "
    "„ – — é 한 あ 1 the km/h 【 】"
).split() + [" ", "  ", "\u3000", "\t"]
TAGS = [prefix + kind for prefix in ("B-", "I-", "E-", "S-") for kind in ("PER", "LOC")]


def build_classification_cases(rng: Random, n_cases: int) -> list:
    """References and predictions of 1 to 5 classes, with what scikit-learn says."""
    cases = []
    for _ in range(n_cases):
        n_classes, n_examples = rng.randint(1, 5), rng.randint(1, 30)
        accuracy = rng.random()
        references = [rng.randrange(n_classes) for _ in range(n_examples)]
        predictions = [
            r if rng.random() < accuracy else rng.randrange(n_classes) for r in references
        ]
        cases.append(
            {
                "references": references,
                "predictions": predictions,
                "accuracy": float(accuracy_score(references, predictions)),
                "f1_macro": float(f1_score(references, predictions, average="macro")),
                "f1_micro": float(f1_score(references, predictions, average="micro")),
                "mcc": float(matthews_corrcoef(references, predictions)),
            }
        )
    return cases


def build_entity_cases(rng: Random, n_cases: int) -> list:
    """Sentences of any tags, broken ones too, with what seqeval says."""
    cases = []
    for i in range(n_cases):
        # Half of them BIO only, as conlleval was made for.
        tags = ["O", "O", *(TAGS[:4] if i % 2 else TAGS)]
        references, predictions = [], []
        for _ in range(rng.randint(1, 4)):
            sentence = [rng.choice(tags) for _ in range(rng.randint(1, 12))]
            references.append(sentence)
            predictions.append([t if rng.random() < 0.7 else rng.choice(tags) for t in sentence])
        cases.append(
            {
                "references": [" ".join(sentence) for sentence in references],
                "predictions": [" ".join(sentence) for sentence in predictions],
                "entities": [[list(e) for e in get_entities(s)] for s in references],
                "precision": float(entity_precision(references, predictions, zero_division=0)),
                "recall": float(entity_recall(references, predictions, zero_division=0)),
                "f1": float(entity_f1(references, predictions, zero_division=0)),
            }
        )
    return cases


def build_word_cases(rng: Random, n_cases: int) -> list:
    """Lower-case texts with the words that NLTK cuts each into, as one sentence."""
    tokenizer = NLTKWordTokenizer()
    texts = ["".join(rng.choice(PIECES) for _ in range(rng.randint(0, 9))) for _ in range(n_cases)]
    return [{"text": text, "words": tokenizer.tokenize(text)} for text in texts]


def main() -> None:
    """Writes the record beside this file."""
    rng = Random("downstream scores")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes without examples
        record = {
            "libraries": {n: metadata.version(n) for n in ("scikit-learn", "seqeval", "nltk")},
            "classification": build_classification_cases(rng, 200),
            "entities": build_entity_cases(rng, 200),
            "words": build_word_cases(rng, 600),
        }
    lines = [f'"libraries": {json.dumps(record.pop("libraries"))}']
    for name, cases in record.items():
        rows = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
        lines.append(f'"{name}": [\n{rows}\n]')
    TARGET.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
