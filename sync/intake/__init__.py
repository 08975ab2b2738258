"""What a peer brings: judged, stored, opened and folded, or refused and set aside."""
