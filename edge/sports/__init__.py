"""Exercise sessions with wristbands, and fitness tests."""
