"""How small the files of a fleet get: today's variants beside `auto`, over generated models and published ones."""
