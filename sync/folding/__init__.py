"""What came in becomes rows: verified, merged, clamped, parked or folded again."""
