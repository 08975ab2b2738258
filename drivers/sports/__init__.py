"""Gateways that tell what wristbands and fitness-test stations measure."""
