"""How devices speak and how they are found and driven."""
