"""What the diagnoses of the ISIC Archive mean: from its vocabulary to the classes of HAM10000.

The vocabulary is that of `isic-metadata` 4.12 (PyPI), https://www.isic-archive.com/data-dictionary.
The classes are those of Tschandl et al., doi:10.1038/sdata.2018.161. A group has a class if all
that stands below it has this class. So all values of a row agree, and the last one decides.
"""

import re
from collections.abc import Sequence

from data.tables import find_columns

# The names of the diagnoses, as the Archive spells them, with `;` between them. None of them stands
# at two places of its hierarchy.
_OF_CLASS = {
    # Precursors and carcinomas in situ. Actinic cheilitis is the actinic keratosis of the lip.
    "akiec": """
        Indeterminate epidermal proliferations; Solar or actinic cheilitis;
        Solar or actinic keratosis; Actinic keratosis, Acantholytic; Actinic keratosis, Atrophic;
        Actinic keratosis, Bowenoid; Actinic keratosis, Hypertrophic; Actinic keratosis, Lichenoid;
        Squamous cell carcinoma in situ; Squamous cell carcinoma in situ, Bowens disease
    """,
    "bcc": """
        Basal cell carcinoma; Basal cell carcinoma with adnexal differentiation;
        Basal cell carcinoma with sarcomatoid differentiation;
        Basal cell carcinoma, Combined subtypes; Basal cell carcinoma, Fibroeipthelial;
        Basal cell carcinoma, Infiltrating; Basal cell carcinoma, Micronodular;
        Basal cell carcinoma, Nodular; Basal cell carcinoma, Sclerosing or morpheaform;
        Basal cell carcinoma, Superficial
    """,
    # Melanoacanthoma is a pigmented seborrheic keratosis, ink-spot lentigo a black solar lentigo.
    # A lentigo without further description counts as solar, as in `data.labels`.
    "bkl": """
        Lichen planus like keratosis; Melanoacanthoma; Pigmented benign keratosis;
        Seborrheic keratosis; Seborrheic keratosis, Clonal; Solar lentigo; Ink-spot lentigo;
        Lentigo NOS
    """,
    "df": """
        Dermatofibroma; Dermatofibroma, Aneurysmal; Dermatofibroma, Atypical;
        Dermatofibroma, Cellular; Dermatofibroma, Epithelioid; Dermatofibroma, Hemosiderotic
    """,
    # Primary melanomas, in situ and invasive.
    "mel": """
        Melanoma Invasive; Melanoma Invasive, Acral or Acral-lentiginous;
        Melanoma Invasive, Arising in a congenital nevus;
        Melanoma Invasive, Associated with a nevus; Melanoma Invasive, Blue nevus-like;
        Melanoma Invasive, originating from blue nevus; Melanoma Invasive, resembling blue nevus;
        Melanoma Invasive, Desmoplastic; Melanoma Invasive, Heavily pigmented; Melanoma Invasive,
        Heavily pigmented, resembling epithelioid blue nevus or melanoma developing in animals;
        Melanoma Invasive, Mucosal; Melanoma Invasive, Neurotropic; Melanoma Invasive, Nevoid;
        Melanoma Invasive, Nodular;
        Melanoma Invasive, On chronically sun-exposed skin or lentigo maligna melanoma;
        Melanoma Invasive, Pigmented spindle cell nevus like;
        Melanoma Invasive, Recurrent or persistent; Melanoma Invasive, Spitzoid;
        Melanoma Invasive, Superficial spreading; Melanoma in situ;
        Melanoma in situ, Acral or acral-lentiginous; Melanoma in situ, Lentigo maligna type;
        Melanoma in situ, Mucosal; Melanoma in situ, Recurrent or persistent;
        Melanoma in situ, Superficial spreading; Melanoma in situ, associated with a nevus;
        Melanoma, NOS
    """,
    "nv": """
        Nevus; Blue nevus; Blue nevus, Cellular; Blue nevus, Common; Blue nevus, Epithelioid;
        Blue nevus, Plaque type; Blue nevus, Sclerosing; Nevus, Acral; Nevus, Agminated;
        Nevus, Atypical, Dysplastic, or Clark; Nevus, Atypical; Nevus, Clark; Nevus, Dysplastic;
        Nevus, BAP-1 deficient; Nevus, Balloon cell; Nevus, Combined; Nevus, Congenital;
        Nevus, Congenital, by histopathological pattern; Nevus, Congenital, by history;
        Nevus, Congenital, by history and histopathological pattern; Nevus, Deep penetrating;
        Nevus, Halo; Nevus, Lentiginous; Nevus, Meyerson; Nevus, NOS, Compound; Nevus, NOS, Dermal;
        Nevus, NOS, Junctional; Nevus, Of special anatomic site; Nevus, Recurrent or persistent;
        Nevus, Reed; Nevus, Spilus; Nevus, Spitz
    """,
    # All that the Archive calls benign and vascular: its vascular lesions of HAM10000 and BCN_20000
    # have no diagnosis below the group. Hemorrhage is part of this class of HAM10000.
    "vasc": """
        Benign soft tissue proliferations - Vascular; Acquired elastotic hemangioma;
        Acroangiodermatitis of Mali; Angiokeratoma; Angiolymphoid hyperplasia with eosinophilia;
        Arterio-venous malformation; Capillary vascular malformation; Glomangiomyoma;
        Glomeruloid hemangioma; Glomus tumor; Hemangioma; Hemangioma, Cherry; Hemangioma, Hobnail;
        Hemangioma, Infantile; Hemangioma, Tufted; Lymphangioma; Lymphangioma, deep;
        Lymphangioma, superficial; Nevus anemicus; Noninvoluting congenital hemangioma;
        Other vascular or lymphatic malformation or hamartoma; Pyogenic granuloma;
        Rapidly involuting congenital hemangioma; Telangiectasia; Vascular spider; Venous lake;
        Venous malformation; Verrucous hemangioma; Hemorrhagic lesions; Hemorrhage;
        Dermal and subcutaneous hemorhage; Mucosal hemorrhage;
        Subcorneal and intracorneal hemorrhage; Subungual hemorrhage
    """,
}
# Those of no class, by what they are.
_OF_NO_CLASS = {
    # A group that holds more than one class, or a collision of two diagnoses.
    "too general": """
        Benign; Indeterminate; Malignant; Benign - Other; Collision - Only benign proliferations;
        Collision - At least one malignant proliferation
    """,
    # A nevus comedonicus or sebaceus is no melanocytic nevus.
    "benign, adnexal": """
        Benign adnexal epithelial proliferations - Apocrine or Eccrine; Apocrine tubular adenoma;
        Cylindoma; Cystadenoma; Fibroadenoma; Hidradenoma; Hidradenoma papilliferum;
        Hidradenoma, Apocrine; Hidradenoma, Apocrine, Predominantly with clear cells;
        Hidradenoma, Poroid; Mixed tumor; Mixed tumor, Apocrine type; Mixed tumor, Eccrine type;
        Poroma; Spiradenoma; Supernumerary nipple; Syringocystadenoma papilliferum;
        Syringofibroadenoma; Syringoma; Benign adnexal epithelial proliferations - Follicular;
        Folliculosebaceous cystic hamartoma; Nevus comedonicus; Panfolliculoma;
        Pilar sheath acanthoma; Pilomatricoma; Proliferating tricholemmal tumor; Trichoblastoma;
        Trichoepithelioma; Trichoepithelioma, Desmoplastic; Trichofolliculoma; Tricholemmoma;
        Tricholemmoma, Desmoplastic; Tumor of follicular infundibulum; Warty dyskeratoma;
        Benign adnexal epithelial proliferations - Sebaceous; Fibrofolliculoma; Fordyce spots;
        Nevus sebaceus; Sebaceoma; Sebaceous adenoma; Sebaceous hyperplasia; Trichodiscoma
    """,
    # Keratinocytic, but not what HAM10000 calls a benign keratosis.
    "benign, epidermal": """
        Benign epidermal proliferations; Acantholytic acanthoma; Clear cell acanthoma;
        Epidermal nevus; Epidermolytic acanthoma; Large cell acanthoma; Porokeratosis
    """,
    # Not what the Archive calls a nevus, or not known to be benign or malignant.
    "melanocytic": """
        Benign melanocytic proliferations; Dermal melanocytosis; Mongolian spot; Nevus of Ito;
        Nevus of Ota; Lentiginous melanocytic proliferation; Lentigo simplex;
        Pigmented epithelioid melanocytoma;
        Proliferative nodule in congenital melanocytic nevi without atypia;
        Flat melanotic pigmentations - not melanocytic nevus; Cafe au lait macule or patch; Ephelis;
        Mucosal melanotic macule; Indeterminate melanocytic proliferations; Atypical Spitz tumor;
        Atypical Spitz tumor, Compound; Atypical Spitz tumor, Dermal;
        Atypical Spitz tumor, Junctional; Atypical intraepithelial melanocytic proliferation;
        Atypical melanocytic neoplasm; Atypical pigmented spindle cell tumor;
        Atypical proliferative nodules in congenital melanocytic nevus;
        Melanocytic tumor of uncertain malignant potential;
        Superficial atypical melanocytic proliferation of uncertain significance
    """,
    # A scar is no dermatofibroma.
    "benign, of soft tissue": """
        Benign soft tissue proliferations - Adipocytic; Angiolipoma; Fibrolipoma; Lipoma;
        Lipoma, Pleomorphic; Lipoma, Spindle cell; Lipomatous nevus;
        Benign soft tissue proliferations - Cartilagenous and ossifying; Accessory tragus;
        Extraskeletal chondroma; Osteoma cutis; Subungual osteochodroma;
        Benign soft tissue proliferations - Fibro-histiocytic; Angiofibroma; Angiofibroma, Facial;
        Angiofibroma, Penile; Angiofibroma, Periungual; Cutaneous Myxoma; Fibroepithelial polyp;
        Fibroma; Fibroma, Pleomorphic; Fibroma, Sclerotic; Giant cell tumor of the tendon sheath;
        Juvenile xanthogranuloma; Non-Langerhans histiocytosis; Reticulohistiocytosis;
        Rosai-Dorfman disease; Scar; Scar, Hypertrophic; Scar, Keloid;
        Benign soft tissue proliferations - Muscle tissue or myofibroblastic; Angioleiomyoma;
        Dartoic muscle leiomyoma; Dermatomyofibroma; Nodular Fasciitis; Piloleiomyoma;
        Smooth muscle hamartoma; Benign soft tissue proliferations - Myoepithelial; Myoepithelioma;
        Benign soft tissue proliferations - Neural; Granular cell tumor;
        Granular cell tumor, neural and s100 positive;
        Granular cell tumor, non-neural and s100 negative; Nerve sheath myxoma; Neurofibroma;
        Neuroma; Neuroma, Palisaded and encapsulated; Neuroma, Traumatic; Perineurioma;
        Plexiform Neurofibroma; Schwannoma
    """,
    "cysts, inflammation, histiocytes, mast cells": """
        Cysts; Comedo; Digital mucous cyst; Dilated pore; Infundibular or epidermal cyst;
        Keratinous cyst; Epidermal, Keratinous; Infundibular, Keratinous; Milium; Sebaceous cyst;
        Epidermal, Sebaceous; Infundibular, Sebaceous; Steatocystoma;
        Trichilemmal or isthmic-catagen or pilar cyst; Isthmic-catagen cyst; Pilar cyst;
        Trichilemmal cyst; Exogenous; Foreign body granuloma; Tattoo;
        Inflammatory or infectious diseases; Molluscum; Verruca; Langerhans cell proliferations;
        Erdheim Chester disease; Indeterminate cell histiocytosis; Langerhans cell histiocytosis;
        Langerhans cell histiocytosis, Diffuse or multifocal;
        Langerhans cell histiocytosis, Solitary or unifocal;
        Mixed Langerhans cell histiocytosis and Erdheim Chester disease; Mast cell proliferations;
        Maculopapular mastocytoma; Mastocytoma, Solitary or unifocal; Mastocytosis;
        Mastocytosis, Diffuse or multifocal; Mastocytosis, Diffuse cutaenous;
        Telangiectasia macularis eruptiva perstans
    """,
    "lymphomas": """
        Lymphocytic proliferations - B-Cell; EBV positive mucocutaneous ulcer;
        Intravascular large B-cell lymphoma; Lymphocytic proliferation, B-Cell, other;
        Primary cutaneous follicle center lymphoma; Primary cutaneous large B-Cell lymphoma;
        Primary cutaneous marginal zone lymphoma; Lymphocytic proliferations - T-Cell/NK;
        Adult T-cell leukemia or lymphoma; Chronic active EBV infection;
        Extranodal T-cell/NK lymphoma; Extranodal T-cell/NK lymphoma, Nasal type;
        Lymphocytic proliferation, T-Cell/NK; Mycosis fungoides; Mycosis fungoides, Folliculotropic;
        Mycosis fungoides, Granulomatous slack skin; Mycosis fungoides, Pagetoid reticulosis;
        Mycosis fungoides, With large cell transformation;
        Primary cutaneous CD30+ lymphoproliferative disease;
        Cutanous anaplastic large cell lymphoma; Lymphomatoid papulosis;
        Primary cutaneous CD4+ small or medium T-cell lymphoproliferative disorder;
        Primary cutaneous peripheral T-cell lymphoma;
        Primary cutaneous peripheral T-cell lymphoma, Rare subtype; Sezary syndrome;
        Subcutaneous panniculitis-like T-cell lymphoma
    """,
    "malignant, adnexal": """
        Malignant adnexal epithelial proliferations - Apocrine or Eccrine; Adenoid cystic carcinoma;
        Adnexal adenocarcinoma arising in association with spiradenoma, cylindroma, or
        spiradenocylindroma; Apocrine carcinoma; Digital papillary carcinoma; Hidradenocarcinoma;
        Malignant mixed tumor; Microcystic adnexal carcinoma; Mucinous carcinoma; Paget disease;
        Paget disease, Extra-mammary; Paget disease, Mammary; Porocarcinoma; Tubular carcinoma;
        Malignant adnexal epithelial proliferations - Follicular; Baso-squamous carcinoma;
        Matrical or pilomatrical carcinoma; Proliferating trichilemmal carcinoma;
        Malignant adnexal epithelial proliferations - Sebaceous; Sebaceous carcinoma
    """,
    # Carcinomas that are invasive, or may be; see `find_class` for those of HAM10000.
    "malignant, epidermal": """
        Malignant epidermal proliferations; Bowenoid papulosis; Keratoacanthoma;
        Squamous cell carcinoma, NOS; Squamous cell carcinoma, Invasive;
        Squamous cell carcinoma, Invasive, NOS, well differentiated;
        Squamous cell carcinoma, Invasive, NOS, moderately differentiated;
        Squamous cell carcinoma, Invasive, NOS, poorly differentiated; Verrucous carcinoma;
        Verrucous carcinoma, Carcinoma cuniculatum type; Verrucous carcinoma, Giant condyloma type;
        Verrucous carcinoma, Oral florid papilomatosis type
    """,
    # A metastasis is no primary melanoma: it grows from below and looks different. The group holds
    # both.
    "melanoma metastasis": """
        Malignant melanocytic proliferations (Melanoma); Melanoma metastasis
    """,
    "other malignant tumors": """
        Malignant soft tissue proliferations - Adipocytic; Liposarcoma;
        Liposarcoma, Undifferentiated; Liposarcoma, Well differentiated;
        Malignant soft tissue proliferations - Cartilagenous and ossifying;
        Extraskeletal osteosarcoma; Malignant soft tissue proliferations - Fibro-histiocytic;
        Atypical fibroxanthoma; Dermatofibrosarcoma protuberans; Epithelioid sarcoma; Fibrosarcoma;
        Pleomorphic undifferntiated sarcoma;
        Malignant soft tissue proliferations - Muscle tissue or myofibroblastic;
        Atypical intradermal smooth muscle tumor; Leiomyosarcoma, Cutaneous;
        Rhabdomyoscaroma, Cutaneous; Malignant soft tissue proliferations - Myoepithelial;
        Myoepithelial sarcoma; Malignant soft tissue proliferations - Neural;
        Malignant granular cell tumor; Malignant peripheral nerve sheath tumor;
        Malignant soft tissue proliferations - Unknown or other histiogenesis;
        Ewing sarcoma, Primary cutaenous; Malignant soft tissue proliferations - Vascular;
        Angiosarcoma cutaneous; Angiosarcoma cutaneous, Epithelioid;
        Angiosarcoma cutaneous, Face and scalp of elderly patients;
        Angiosarcoma cutaneous, Post-irradiation;
        Angiosarcoma cutaneous, With associated lymphedema; Hemangioendothelioma;
        Hemangioendothelioma, Kaposiform; Kaposi sarcoma; Malignant glomus tumor;
        Merkel cell proliferation; Merkel cell carcinoma;
        Skin metastasis of internal solid cancer - non-hematological
    """,
}
_INVASIVE = "Squamous cell carcinoma, Invasive"
_KINDS = (
    "Acantholytic",
    "Adeno-squamous",
    "Clear cell",
    "Keratoacanthoma-type",
    "Sarcomatoid",
    "Spindle cell",
    "Verrucous",
)
_GRADES = ("", ", well differentiated", ", moderately differentiated", ", poorly differentiated")


def _split(names: str) -> list[str]:
    return [" ".join(name.split()) for name in names.split(";")]


# Each diagnosis of the vocabulary, groups included, and its class; None: none of the seven.
CLASS_OF: dict[str, str | None] = {
    **{name: label for label, names in _OF_CLASS.items() for name in _split(names)},
    **{name: None for names in _OF_NO_CLASS.values() for name in _split(names)},
    **{f"{_INVASIVE}, {kind}{grade}": None for kind in _KINDS for grade in _GRADES},
}
# Names of the column `diagnosis` of older downloads that are of a class, but not of the vocabulary.
_OLDER = {
    "actinic keratosis": "akiec",
    "lichenoid keratosis": "bkl",
    "melanoma": "mel",
    "nevus spilus": "nv",
    "angioma": "vasc",
    "vascular lesion": "vasc",
}
_FOLDED = _OLDER | {name.casefold(): label for name, label in CLASS_OF.items()}

# ISIC_0024306 to ISIC_0034320 are HAM10000; the images of validation and test of its challenge of
# 2018 follow.
_HAM10000_IDS = range(24306, 36065)
_HAM10000_IN_SITU = ("squamous cell carcinoma, nos", "squamous cell carcinoma")


def find_class(diagnosis: str, *, image_id: str = "") -> str | None:
    """Return the class of HAM10000 that a diagnosis of the Archive stands for.

    Args:
        diagnosis: a value of `diagnosis_1` to `diagnosis_5`, or several joined by `:`, the most
            specific last; of these, the last that is known decides. Case and outer spaces do not
            count.
        image_id: as in `isic_id`. The Archive has the carcinomas in situ of HAM10000 as squamous
            cell carcinomas that are not otherwise specified (NOS). Elsewhere, such as in BCN_20000,
            these may be invasive, and are of no class.

    Returns:
        One of `CLASS_NAMES`; None if it is none of them, or not known.
    """
    for part in reversed(diagnosis.split(":")):
        name = part.strip().casefold()
        if name in _HAM10000_IN_SITU and _is_ham10000(image_id):
            return "akiec"
        if name in _FOLDED:
            return _FOLDED[name]
    return None


def row_labels(values: Sequence[str]) -> list[str]:
    """Return the diagnoses of a row, most specific first.

    Args:
        values: of `diagnosis_1`, `diagnosis_2`, ... in this order; empty where a row ends.

    Returns:
        Those that are not empty, without outer spaces.
    """
    return [value.strip() for value in reversed(values) if value.strip()]


def is_archive(header: Sequence[str]) -> bool:
    """Tell whether a table is one of the Archive, as its client writes it.

    Args:
        header: names of its columns.

    Returns:
        Whether it has the columns `isic_id` and `diagnosis_1`.
    """
    return all(find_columns(header, name) for name in ("isic_id", "diagnosis_1"))


def _is_ham10000(image_id: str) -> bool:
    number = re.match(r"ISIC_(\d{7})(?!\d)", image_id.strip(), re.IGNORECASE)
    return number is not None and int(number[1]) in _HAM10000_IDS
