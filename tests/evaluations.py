"""Made-up evaluations of two classes, as the tests of report, card and page share them."""

import numpy as np

from metrics.artifacts import artifact_metrics
from metrics.evaluation import Evaluation
from metrics.occlusion import Occlusion, occlusion_metrics

NAMES = ("mel", "nv")


def probabilities(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of images that are all predicted correctly, and the probabilities."""
    y_true = np.arange(count) % 2
    return y_true, np.eye(2)[y_true] * 0.6 + 0.2


def make_evaluation(count: int, wrong: slice | int, **fields) -> Evaluation:
    """Return an evaluation in which some melanomas are predicted as nevi, confidently."""
    y_true, y_prob = probabilities(count)
    y_prob[wrong] = [0.12, 0.88]
    return Evaluation(
        class_names=NAMES,
        y_true=y_true,
        y_prob=y_prob,
        uncalibrated=y_prob,
        temperature=1.25,
        lesion_ids=[str(i) for i in range(count)],
        **fields,
    )


def measure_parts(count: int, artifact: str, present: int) -> dict:
    """Return the metrics of an artifact of the first images, and of occlusion."""
    (y_true, y_prob), groups = probabilities(count), range(count)
    artifacts = artifact_metrics(
        *(y_true, y_prob, NAMES),
        melanoma="mel",
        artifacts={artifact: [i < present for i in range(count)]},
        groups=groups,
    )
    occlusion = occlusion_metrics(
        *(y_true, y_prob, NAMES),
        occlusion=Occlusion(np.arange(count), y_prob, y_prob[:, ::-1], available=count),
        groups=groups,
    )
    return {"artifacts": artifacts, "occlusion": occlusion}
