"""What may be personal data, and so never reaches a log."""

import unicodedata

# Spellings of @: percent-encoding (%40), HTML entities (&#64;), escapes (\u0040) and quoted-printable (=40).
_SPELLINGS_OF_AT = frozenset("@%&\\=")


def may_hold_email(text: str) -> bool:
    """Returns whether a text could hold an e-mail address, however it is written: ``%40``, full width, an entity."""
    return not _SPELLINGS_OF_AT.isdisjoint(unicodedata.normalize("NFKC", text))
