"""The HTML pages: what stands in them, their charts and tables, and the templates' renderer."""
