"""What Python calls in place of the command line: `export`, `export_fleet`, `compare`, and a callback for `Model.fit`."""
