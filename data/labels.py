"""What a label means: from the names and codes of diagnoses to the classes of HAM10000."""

import functools
import re
import unicodedata

# Codes of the classes in the ISIC challenges, 2018: https://challenge.isic-archive.com/landing/2018/,
# 2019: https://challenge.isic-archive.com/landing/2019/. HAM10000's akiec are actinic keratoses and
# carcinomas in situ; an invasive squamous cell carcinoma (SCC) is neither.
ISIC_CLASSES: dict[str, str | None] = {
    "MEL": "mel",
    "NV": "nv",
    "BCC": "bcc",
    "AKIEC": "akiec",
    "AK": "akiec",
    "BKL": "bkl",
    "DF": "df",
    "VASC": "vasc",
    "SCC": None,
    "UNK": None,
}

# The classes as Tschandl et al. describe them, doi:10.1038/sdata.2018.161, with the codes of
# PAD-UFES-20 (ack, sek, nev). Phrases are compared after `_words`.
_PHRASES = {
    "akiec": (
        "akiec, ak, ack, iec, actinic keratosis, solar keratosis, bowen, bowen disease,"
        "intraepithelial carcinoma, intraepidermal carcinoma, carcinoma in situ, scc in situ,"
        "squamous cell carcinoma in situ, in situ squamous cell carcinoma"
    ),
    "bcc": "bcc, basal cell carcinoma, basal cell cancer, basal cell epithelioma, basalioma",
    "bkl": (
        "bkl, sek, sk, seborrheic keratosis, benign keratosis, benign keratosis like,"
        "pigmented benign keratosis, lentigo, solar lentigo, actinic lentigo, senile lentigo,"
        "lichen planus like keratosis, lichenoid keratosis, lplk"
    ),
    "df": "df, dermatofibroma, fibrous histiocytoma",
    "mel": "mel, melanoma, lentigo maligna",
    "nv": "nv, nev, nevus, melanocytic nevus, mole",
    "vasc": (
        "vasc, vascular, vascular lesion, angioma, hemangioma, angiokeratoma, pyogenic granuloma,"
        "granuloma pyogenic, granuloma pyogenicum, hemorrhage"
    ),
}
# Words that may stand beside such a phrase, if it is one of these classes.
_QUALIFIERS = {
    "akiec": "actinic keratosis carcinoma cell pigmented malignant cancer in situ morbus",
    "bcc": (
        "basal cell carcinoma malignant cancer pigmented nodular superficial invasive infiltrative"
        " morpheaform sclerosing"
    ),
    "bkl": "benign keratosis seborrheic pigmented irritated reticulated",
    "df": "benign fibroma pigmented",
    "mel": (
        "malignant cancer melanocytic pigmented in situ invasive nodular superficial spreading"
        " acral lentiginous amelanotic desmoplastic"
    ),
    "nv": (
        "benign melanocytic pigmented dysplastic atypical typical common acquired congenital blue"
        " spitz reed clark halo compound junctional dermal intradermal combined recurrent"
        " persistent lentiginous acral"
    ),
    "vasc": "benign cherry senile spider thrombosed",
}
# Words of which a subtype has some that the diagnosis itself has not.
_SUBTYPES = {
    "bcc": "nodular superficial invasive infiltrative morpheaform sclerosing",
    "mel": (
        "in situ invasive nodular superficial spreading acral lentiginous amelanotic desmoplastic"
        " maligna"
    ),
    "nv": (
        "dysplastic atypical congenital blue spitz reed clark halo compound junctional dermal"
        " intradermal combined recurrent persistent lentiginous acral"
    ),
}
# Words that say nothing about the class.
_FILLERS = (
    "and or the of with skin cutaneous lesion tumor disease class category label type diagnosis dx"
    " nos image img photo data dataset set ham isic original augmented train training val valid"
    " validation test testing"
)
_NOT_IN_HAM10000 = "scc, unk, unknown, other, none of the other, squamous cell carcinoma, normal"
_APOSTROPHES = "['`\u2019\u00b4]"
_DOUBT = re.compile(r"[?!¬~≠<>]")
_PLURALS = (
    (r"(nev|nevuse)[is]$", "nevus"),
    (r"keratoses$", "keratosis"),
    (r"(lentig)(ines|os|oes)$", r"\1o"),
    (r"(oma)(ta|s)$", r"\1"),
    (r"classes$", "class"),
    (r"diagnoses$", "diagnosis"),
    (r"categories$", "category"),
    (r"(?<=[a-z]{3})(?<![isu])s$", ""),
)


@functools.cache
def find_class(name: str) -> str | None:
    """Return the class of HAM10000 that a label stands for.

    Case, punctuation, numbers, plurals and British spelling do not count. Each word has to be
    known, and all have to agree: `nv - melanocytic nevi` is a nevus, but `non-melanoma`, `nevus or
    melanoma` and `benign` are nothing.

    Args:
        name: a name or code, such as of a folder, a column or a diagnosis in a table.

    Returns:
        One of `CLASS_NAMES`; None if the label is no class, or it is not sure which.
    """
    if _DOUBT.search(name):
        return None
    words = _words(name)
    found, others = set(), []
    while words:
        for length in range(len(words), 0, -1):
            if label := _CLASS_OF.get("".join(words[:length])):
                found.add(label)
                words = words[length:]
                break
        else:
            others.append(words.pop(0))
    if len(found) != 1:
        return None
    (label,) = found
    allowed = {*_QUALIFIERS[label].split(), *_FILLERS.split()}
    return label if allowed.issuperset(others) else None


def is_diagnosis(name: str) -> bool:
    """Tell whether a label is a class of HAM10000, or a diagnosis known to be none of them."""
    return find_class(name) is not None or "".join(_words(name)) in _OTHERS


def is_subtype(name: str, other: str) -> bool:
    """Tell whether a diagnosis is a subtype of another that a second one need not be.

    Args:
        name: such as `melanoma in situ`.
        other: a label of the same class of HAM10000, such as `melanoma` or `nodular melanoma`.
    """
    words = _SUBTYPES.get(find_class(name) or "", "").split()
    return not {*_words(name)} & {*words} <= {*_words(other)}


def plain_name(name: str) -> str:
    """Return the words of a label that say something, as `find_class` compares them, joined.

    Args:
        name: a name or code, such as `Benign lesions`.

    Returns:
        Such as `benign`; empty if the label expresses doubt.
    """
    if _DOUBT.search(name):
        return ""
    fillers = _FILLERS.split()
    return "".join(word for word in _words(name) if word not in fillers)


def _words(name: str) -> list[str]:
    """Split a name into words: lower case, singular, American spelling, without numbers."""
    text = unicodedata.normalize("NFKD", re.sub(_APOSTROPHES, "", name))
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    # `MelanocyticNevi`, and `NVMelanocytic`
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{3})", " ", text)
    return [_singular(word) for word in re.findall(r"[^\W\d_]+", text.casefold())]


def _singular(word: str) -> str:
    word = word.replace("ae", "e").replace("oe", "e").replace("tumour", "tumor")
    for plural, singular in _PLURALS:
        changed = re.sub(plural, singular, word)
        if changed != word:
            return changed
    return word


# Without spaces, so that `basalcellcarcinoma` is found as well.
_CLASS_OF = {
    "".join(_words(phrase)): label
    for label, phrases in _PHRASES.items()
    for phrase in phrases.split(",")
}
_OTHERS = {"".join(_words(name)) for name in _NOT_IN_HAM10000.split(",")}
