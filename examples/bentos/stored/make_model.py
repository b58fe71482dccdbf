"""Puts a new version of the model ``languages`` into BentoML's model store: trained in a moment on a few sentences."""

from __future__ import annotations

import bentoml
import numpy as np

from service import trigrams

BUCKETS = 4096
SMOOTHING = 0.1
"""Occurrences that a run of three characters has before it is seen."""
TEXTS = {  # the first sentences of the Universal Declaration of Human Rights
    "de": """Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen
        begabt und sollen einander im Geist der Brüderlichkeit begegnen. Jeder hat das Recht auf Leben, Freiheit und
        Sicherheit der Person. Niemand darf in Sklaverei oder Leibeigenschaft gehalten werden.""",
    "en": """All human beings are born free and equal in dignity and rights. They are endowed with reason and
        conscience and should act towards one another in a spirit of brotherhood. Everyone has the right to life,
        liberty and the security of person. No one shall be held in slavery or servitude.""",
    "es": """Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y
        conciencia, deben comportarse fraternalmente los unos con los otros. Todo individuo tiene derecho a la vida, a
        la libertad y a la seguridad de su persona. Nadie estará sometido a esclavitud ni a servidumbre.""",
    "fr": """Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de
        conscience et doivent agir les uns envers les autres dans un esprit de fraternité. Tout individu a droit à la
        vie, à la liberté et à la sûreté de sa personne. Nul ne sera tenu en esclavage ni en servitude.""",
}


def main() -> None:
    """Train, and save."""
    counts = np.full((len(TEXTS), BUCKETS), SMOOTHING, np.float32)
    for row, text in zip(counts, TEXTS.values(), strict=True):
        np.add.at(row, trigrams(text, BUCKETS), 1)
    with bentoml.models.create("languages") as model:
        np.savez(
            model.path_of("weights.npz"),
            languages=np.array(list(TEXTS)),
            log_likelihoods=np.log(counts / counts.sum(axis=1, keepdims=True)),
        )


if __name__ == "__main__":
    main()
