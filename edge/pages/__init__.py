"""The pages a box serves on its LAN."""
