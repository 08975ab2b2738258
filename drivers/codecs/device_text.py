"""Texts as devices send them: in whichever encoding, with whatever signs."""


def decode_text(body: bytes) -> str:
    """Return what a body in UTF-8 or GB 18030 says; what is in neither is replaced."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    return body.decode("utf-8", errors="replace")


def shown(text: str, chars_max: int) -> str:
    """Return what a person can be shown of a text from outside."""
    return "".join(sign for sign in text if sign.isprintable()).strip()[:chars_max]
