"""What the browser gets: templates, static files, and the charts that are drawn here."""
