"""Figures of herb rankings: precision, recall and NDCG at k, as SMGCN measures them (ICDE 2020)."""

from __future__ import annotations

from typing import Final

import numpy as np

from training.tcm.herb_data import Floats

TOP_K: Final = 5
IDEAL_K: Final = 20
"""Length of the list whose hits are sorted for NDCG's ideal order, as in SMGCN and NGCF."""


def measure(scores: Floats, herbs: Floats) -> dict[str, float]:
    """Return the means of P@5, R@5 and NDCG@5 over N prescriptions. scores, herbs: [N, H]."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :IDEAL_K]
    hits = np.take_along_axis(herbs, order, axis=1)
    first = hits[:, :TOP_K]
    discount = 1 / np.log2(np.arange(2, TOP_K + 2))
    best = -np.sort(-hits, axis=1)[:, :TOP_K] @ discount
    gain = np.divide(first @ discount, best, out=np.zeros_like(best), where=best > 0)
    return {
        "precision": float(first.mean()),
        "recall": float((first.sum(axis=1) / herbs.sum(axis=1)).mean()),
        "ndcg": float(gain.mean()),
    }


def ridge(symptoms: Floats, herbs: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Fit a ridge regression of herbs on symptoms: weights [S, H] and offset [H]."""
    mean = herbs.mean(axis=0)
    gram = symptoms.T @ symptoms + penalty * np.eye(symptoms.shape[1], dtype=np.float32)
    return np.linalg.solve(gram, symptoms.T @ (herbs - mean)).astype(np.float32), mean


def single_symptom_counts(symptoms: Floats, herbs: Floats) -> tuple[Floats, Floats]:
    """Count each herb in the prescriptions for a single symptom, [S, H], and these prescriptions, [S]."""
    single = symptoms.sum(axis=1) == 1
    return (symptoms[single].T @ herbs[single]).astype(np.float32), symptoms[single].sum(axis=0)
