"""The pages the district sees."""
