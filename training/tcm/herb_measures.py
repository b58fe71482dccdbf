"""How good a ranking of herbs is: precision, recall and NDCG of the first k, as SMGCN measures them (ICDE 2020)."""

from __future__ import annotations

from typing import Final

import numpy as np

from training.tcm.herb_data import Floats

CUT: Final = 5
LISTED: Final = 20
"""Herbs of the longest list: for the best possible order NDCG sorts the hits in it, as SMGCN and NGCF before it do."""


def measure(scores: Floats, herbs: Floats) -> dict[str, float]:
    """scores and herbs [N, H] -> means over the N of P@5, R@5 and NDCG@5."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :LISTED]
    hits = np.take_along_axis(herbs, order, axis=1)
    first = hits[:, :CUT]
    discount = 1 / np.log2(np.arange(2, CUT + 2))
    best = -np.sort(-hits, axis=1)[:, :CUT] @ discount
    gain = np.divide(first @ discount, best, out=np.zeros_like(best), where=best > 0)
    return {
        "precision": float(first.mean()),
        "recall": float((first.sum(axis=1) / herbs.sum(axis=1)).mean()),
        "ndcg": float(gain.mean()),
    }


def ridge(symptoms: Floats, herbs: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Ridge regression of herbs on symptoms: weights [S, H] and offset [H]."""
    mean = herbs.mean(axis=0)
    gram = symptoms.T @ symptoms + penalty * np.eye(symptoms.shape[1], dtype=np.float32)
    return np.linalg.solve(gram, symptoms.T @ (herbs - mean)).astype(np.float32), mean


def lone(symptoms: Floats, herbs: Floats) -> tuple[Floats, Floats]:
    """Of the prescriptions for a symptom alone: how often each herb was in one [S, H], and how many there were [S]."""
    alone = symptoms.sum(axis=1) == 1
    return (symptoms[alone].T @ herbs[alone]).astype(np.float32), symptoms[alone].sum(axis=0)
