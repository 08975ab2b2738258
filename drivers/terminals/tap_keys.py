"""Names for taps: one that is told again is known by it, and it tells nothing of the person."""

import hashlib
import secrets

SECRET_BYTES = 16


class TapKeys:
    """Keyed, because numbers and cards are few enough to be guessed from a plain hash of them."""

    def __init__(self, secret_hex: str) -> None:
        self._secret = bytes.fromhex(secret_hex) or secrets.token_bytes(SECRET_BYTES)

    @property
    def secret_hex(self) -> str:
        """What has to be kept before the first name is used."""
        return self._secret.hex()

    def name(self, *facts: str) -> str:
        text = "|".join(facts).encode()
        return hashlib.blake2b(text, key=self._secret, digest_size=12).hexdigest()
