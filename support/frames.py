"""How pandas holds text; it is handed over, as only the standard library is imported here."""

from types import ModuleType


def hold_any_text(pandas: ModuleType) -> None:
    """Let pandas hold names of files that are no valid text.

    Python has surrogates for their bytes. Where PyArrow is installed, pandas would hold text in its
    columns, which take none.

    Args:
        pandas: the package.
    """
    pandas.set_option("mode.string_storage", "python")
