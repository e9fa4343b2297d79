"""Labels as the tests of data sets write them."""

import zlib

import numpy as np
import pytest
from PIL import Image

from data.classes import ClassScheme
from data.sources import Dataset

HAM_LABELS = {
    "ISIC_0000001": "nv",
    "ISIC_0000002": "mel",
    "ISIC_0000003": "bkl",
    "ISIC_0000004": "nv",
}
HEADER_2018 = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
HEADER_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
LABELS = {"ISIC_1": "NV", "ISIC_2": "MEL", "ISIC_3": "VASC", "ISIC_4": "NV"}
PAD = (
    "patient_id,lesion_id,smoke,age,gender,region,diagnostic,biopsed,img_id\n"
    "PAT_1,7,,63,,ARM,ACK,False,PAT_1_7_1.png\nPAT_2,7,False,40,FEMALE,FACE,SCC,True,PAT_2_7_2.png\n"
    "PAT_2,7,False,40,FEMALE,FACE,SCC,True,PAT_2_7_3.png\nPAT_3,9,,,MALE,,NEV,False,PAT_3_9_4.png\n"
)
MALIGNANCY = ClassScheme(
    ("malignant", "benign"), aliases={"mel": "malignant", "bcc": "malignant", "nv": "benign"}
)

without_lesions = pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")


def ground_truth(labels: dict[str, str], header: str = HEADER_2018, one: str = "1.0") -> str:
    names = header.split(",")[1:]
    zero = one.replace("1", "0")
    lines = [header]
    for image, label in labels.items():
        lines.append(",".join([image, *(one if name == label else zero for name in names)]))
    return "\n".join(lines) + "\n"


def write_images(folder, images) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Different in each folder, as real images are.
    rng = np.random.default_rng(zlib.crc32(str(folder).encode()))
    for image in images:
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(folder / f"{image}.jpg")


def labels(dataset: Dataset) -> dict[str, str]:
    return dict(zip(dataset.frame["image_id"], dataset.frame["label"], strict=True))
