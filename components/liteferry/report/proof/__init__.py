"""Makes the files that accompany a model's artifacts, from its report: a statement with their digests, a bill of materials and
a card.
"""
