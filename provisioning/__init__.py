"""Identity, certificates and enrolment of boxes."""
