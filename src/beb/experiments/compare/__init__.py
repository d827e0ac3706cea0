"""Two or more measurements beside each other: what differs, by how much, and how sure that is."""
