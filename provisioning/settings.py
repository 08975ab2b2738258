"""What stands as text in a configuration file and is more than text: paths and addresses."""


def decode_setting(kind: type, value: object) -> object:
    """Return a setting as ``kind``, which is made of one text; for ``msgspec``'s ``dec_hook``.

    Raises ValueError or TypeError, which msgspec tells with the key, for what is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")  # as msgspec says it
    made: object = kind(value)
    return made
