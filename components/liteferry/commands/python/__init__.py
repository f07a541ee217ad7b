"""The library interface, for Python instead of the command line: `export`, `export_fleet`, `compare`, and a callback for
`Model.fit`.
"""
