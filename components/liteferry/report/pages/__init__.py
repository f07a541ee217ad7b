"""The HTML pages: their content, charts and tables, and the renderer of the templates."""
