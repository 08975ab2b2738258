"""The district server: enrolment, exchange, schedule, lesson relay, pages."""
