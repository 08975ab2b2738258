"""What a lesson came to, second by second and signed."""
