"""What travels with a model's files: a statement that vouches for them, a bill of materials and a card, made of its report."""
