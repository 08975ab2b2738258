"""A node's own logs: rows numbered, sealed, receipted, and reissued after a restore."""
